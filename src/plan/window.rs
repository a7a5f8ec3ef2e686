//! The times in which rotations are welcome: cron schedules in time zones.
//!
//! On the two odd nights of a year: a window that would open in the hour that is left out does not
//! open that night, and one that opens in the hour that comes twice opens twice. How long it stays
//! open is elapsed time, whatever the clock on the wall does meanwhile.
//!
//! A schedule is only ever followed on a clock that is never set: between two changes of a zone's
//! offset, as if the offset were for ever. So no zone, however odd, can lead it in circles.

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions, parse_crontab_with};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::rotation::after;
use crate::api::Window;

/// Nobody needs to be told of a window that opens later than this.
const FARTHEST: SignedDuration = SignedDuration::from_hours(24 * 366 * 5);
/// No window is open for longer.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 7);
/// Beyond this second since 1970 (in the year 9000) nothing is looked for: no calendar reaches
/// further than 9999, and no key lives so long.
const LAST_SECOND: i64 = 221_845_392_000;

/// Windows that can be looked into.
#[derive(Debug, Clone)]
pub struct Windows {
    wish: Vec<Window>,
    windows: Vec<Opening>,
}

/// Two are the same when their manifests are.
impl PartialEq for Windows {
    fn eq(&self, other: &Self) -> bool {
        self.wish == other.wish
    }
}

/// One window.
#[derive(Debug, Clone)]
struct Opening {
    /// Its schedule, on a clock that is never set.
    schedule: Crontab,
    zone: TimeZone,
    length: SignedDuration,
}

impl Windows {
    /// No windows: rotations are always welcome.
    pub fn none() -> Self {
        Self {
            wish: Vec::new(),
            windows: Vec::new(),
        }
    }

    /// Reads the windows of a manifest.
    ///
    /// # Errors
    /// A sentence that names the window that makes no sense: its schedule is none or never comes, or
    /// its time zone is not in the IANA database.
    pub fn read(wish: &[Window]) -> Result<Self, String> {
        let windows = wish.iter().enumerate().map(|(number, window)| {
            Opening::read(window).ok_or_else(|| {
                let Window { schedule, time_zone, .. } = window;
                let zone = time_zone.as_deref().unwrap_or("UTC");
                format!(
                    "spec.rotation.windows[{number}] never opens: {schedule:?} in time zone {zone:?}. Write five cron fields that come to pass, and a name of the IANA time zone database."
                )
            })
        });
        Ok(Self {
            windows: windows.collect::<Result<_, _>>()?,
            wish: wish.to_vec(),
        })
    }

    /// The first moment from then on at which a window is open, and before the end of `until`; `from`
    /// itself when one is open then, or when there are no windows.
    pub fn open_from(&self, from: Timestamp, until: Timestamp) -> Option<Timestamp> {
        if self.windows.is_empty() {
            return Some(from);
        }
        if until.as_second() >= LAST_SECOND {
            return None;
        }
        let open = |opening: &Opening| {
            let since = from.saturating_sub(opening.length).ok()?;
            Some(opening.opens_after(since, until)?.max(from))
        };
        self.windows
            .iter()
            .filter_map(open)
            .min()
            .filter(|at| *at < until)
    }
}

impl Opening {
    fn read(window: &Window) -> Option<Self> {
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let schedule = parse_crontab_with(&window.schedule, options).ok()?;
        // Some day of the next four years, whichever they are.
        schedule.find_next(Timestamp::UNIX_EPOCH).ok()?;
        let zone = window.time_zone.as_deref().unwrap_or("UTC");
        Some(Self {
            schedule,
            zone: TimeZone::get(zone).ok()?,
            length: window.duration.duration().min(LONGEST),
        })
    }

    /// When it opens next, strictly after `since` and before the end of `until`.
    fn opens_after(&self, since: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let until = until.min(after(since, FARTHEST));
        let mut begin = since;
        let mut offset = self.zone.to_offset(since);
        let mut changes = self.zone.following(since);
        loop {
            let change = changes.next();
            let end = change
                .as_ref()
                .map_or(until, |change| change.timestamp().min(until));
            let opens = self.opens_at(offset, begin)?;
            if opens < end {
                return Some(opens);
            }
            let change = change.filter(|_| end < until)?;
            // One that opens at the very moment of the change opens after it.
            begin = after(change.timestamp(), SignedDuration::from_nanos(-1));
            offset = change.offset();
        }
    }

    /// When it opens next on a clock that always has this offset.
    fn opens_at(&self, offset: Offset, since: Timestamp) -> Option<Timestamp> {
        let ahead = SignedDuration::from_secs(i64::from(offset.seconds()));
        let shown = self.schedule.find_next(after(since, ahead)).ok()?;
        Some(after(shown.timestamp(), -ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(all: &[(&str, &str, &str)]) -> Windows {
        let all: Vec<_> = all
            .iter()
            .map(|(schedule, duration, zone)| Window {
                schedule: (*schedule).to_owned(),
                duration: duration.parse().unwrap(),
                time_zone: (!zone.is_empty()).then(|| (*zone).to_owned()),
            })
            .collect();
        Windows::read(&all).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn opens(windows: &Windows, from: &str) -> String {
        let until = at(from) + SignedDuration::from_hours(24 * 40);
        let open = windows.open_from(at(from), until);
        open.map_or_else(|| "never".to_owned(), |at| at.to_string())
    }

    #[test]
    fn a_window_is_open_from_its_schedule_for_its_length() {
        let weekdays = windows(&[("0 2 * * 1-5", "3h", "Europe/Oslo")]);
        for (from, open) in [
            // A Wednesday in winter: 02:00 in Oslo is 01:00 UTC.
            ("2026-11-25T00:59:59Z", "2026-11-25T01:00:00Z"),
            ("2026-11-25T01:00:00Z", "2026-11-25T01:00:00Z"),
            ("2026-11-25T03:59:59Z", "2026-11-25T03:59:59Z"),
            ("2026-11-25T04:00:00Z", "2026-11-26T01:00:00Z"),
            // Friday's is over: Monday's is next.
            ("2026-11-27T04:00:00Z", "2026-11-30T01:00:00Z"),
            // Summer time: 02:00 in Oslo is 00:00 UTC.
            ("2026-07-01T23:00:00Z", "2026-07-02T00:00:00Z"),
        ] {
            assert_eq!(opens(&weekdays, from), open, "from {from}");
        }
    }

    #[test]
    fn the_first_of_several_counts_and_none_is_always() {
        let two = windows(&[("0 12 * * *", "1h", ""), ("30 3 1 * *", "30m", "")]);
        assert_eq!(opens(&two, "2026-11-30T13:00:00Z"), "2026-12-01T03:30:00Z");
        assert_eq!(opens(&two, "2026-12-01T04:00:00Z"), "2026-12-01T12:00:00Z");
        assert_eq!(
            opens(&windows(&[]), "2026-11-30T13:00:00Z"),
            "2026-11-30T13:00:00Z"
        );
    }

    #[test]
    fn an_hour_that_is_left_out_opens_nothing_that_night() {
        // On 29 March 2026 Oslo's clocks go from 02:00 to 03:00.
        let half_past_two = windows(&[("30 2 * * *", "20m", "Europe/Oslo")]);
        assert_eq!(
            opens(&half_past_two, "2026-03-28T12:00:00Z"),
            "2026-03-30T00:30:00Z"
        );
        // One that opens before it stays open as long as ever: until 03:30 on the wall.
        let half_past_one = windows(&[("30 1 * * *", "1h", "Europe/Oslo")]);
        assert_eq!(
            opens(&half_past_one, "2026-03-29T01:29:59Z"),
            "2026-03-29T01:29:59Z"
        );
        assert_eq!(
            opens(&half_past_one, "2026-03-29T01:30:00Z"),
            "2026-03-29T23:30:00Z"
        );
    }

    #[test]
    fn an_hour_that_comes_twice_opens_twice() {
        // On 25 October 2026 Oslo's clocks go from 03:00 back to 02:00.
        let half_past_two = windows(&[("30 2 * * *", "20m", "Europe/Oslo")]);
        assert_eq!(
            opens(&half_past_two, "2026-10-24T12:00:00Z"),
            "2026-10-25T00:30:00Z"
        );
        assert_eq!(
            opens(&half_past_two, "2026-10-25T00:50:00Z"),
            "2026-10-25T01:30:00Z"
        );
        assert_eq!(
            opens(&half_past_two, "2026-10-25T01:50:00Z"),
            "2026-10-26T01:30:00Z"
        );
    }

    #[test]
    fn a_leap_day_comes() {
        let leap = windows(&[("0 0 29 2 *", "1h", "")]);
        let from = at("2027-03-01T00:00:00Z");
        assert_eq!(
            leap.open_from(from, from + SignedDuration::from_hours(24 * 400)),
            Some(at("2028-02-29T00:00:00Z"))
        );
        assert_eq!(opens(&leap, "2027-03-01T00:00:00Z"), "never");
        let far = Timestamp::MAX;
        assert_eq!(leap.open_from(far, far), None);
    }

    /// Lord Howe Island sets its clocks by half an hour.
    #[test]
    fn no_zone_leads_in_circles() {
        let morning = windows(&[("0 5 4 4 *", "1h", "Australia/Lord_Howe")]);
        let from = at("2026-04-05T00:00:00Z");
        let until = from + SignedDuration::from_hours(24 * 400);
        // At 02:00 of that day the clocks go back to 01:30.
        assert_eq!(
            morning.open_from(from, until),
            Some(at("2027-04-03T18:30:00Z"))
        );
        let hourly = windows(&[("*/15 * * * *", "0s", "Australia/Lord_Howe")]);
        let mut now = at("2027-04-03T13:00:00Z");
        for _ in 0..20 {
            let next = hourly.open_from(now, until).unwrap();
            assert_eq!(next.duration_since(now), SignedDuration::from_mins(15));
            now = next;
        }
    }

    #[test]
    fn every_zone_has_its_hours() {
        for name in jiff::tz::db().available() {
            let daily = windows(&[("30 1 * * *", "1h", name.as_str())]);
            let mut now = at("2026-01-01T00:00:00Z");
            for _ in 0..400 {
                let until = now + SignedDuration::from_hours(24 * 3);
                let next = daily.windows[0].opens_after(now, until).unwrap();
                assert!(next > now, "{name}: {next}");
                now = next;
            }
        }
    }

    #[test]
    fn nonsense_is_named() {
        for (schedule, zone) in [
            ("0 25 * * *", "UTC"),
            ("a b c d e", "UTC"),
            ("H 2 * * *", "UTC"),
            ("0 0 31 2,4,6,9,11 *", "UTC"),
            ("0 2 * * *", "Europe/Atlantis"),
            ("0 2 * *", "UTC"),
        ] {
            let window = Window {
                schedule: schedule.to_owned(),
                duration: "1h".parse().unwrap(),
                time_zone: Some(zone.to_owned()),
            };
            let why = Windows::read(&[window]).unwrap_err();
            assert!(why.contains("windows[0]"), "{why}");
        }
    }
}
