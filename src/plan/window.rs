//! The times in which rotations are welcome: cron schedules in time zones.
//!
//! On the two odd nights of a year: a window that would open in the hour that is left out does not
//! open that night, and one that opens in the hour that comes twice opens twice. How long it stays
//! open is elapsed time, whatever the clock on the wall does meanwhile.

use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions, parse_crontab_with};
use jiff::{SignedDuration, Timestamp};

use crate::api::Window;

/// Beyond this second since 1970 (in the year 9000) nothing is looked for: no calendar reaches
/// further than 9999, and no key lives so long.
const LAST_SECOND: i64 = 221_845_392_000;

/// Windows that can be looked into.
#[derive(Debug, Clone)]
pub struct Windows(Vec<(Crontab, SignedDuration)>);

impl Windows {
    /// Reads the windows of a manifest.
    ///
    /// # Errors
    /// A sentence that names the window that makes no sense: its schedule is none, or its time zone
    /// is not in the IANA database.
    pub fn read(windows: &[Window]) -> Result<Self, String> {
        let read = windows.iter().enumerate().map(|(number, window)| {
            let Window {
                schedule,
                duration,
                time_zone,
            } = window;
            let zone = time_zone.as_deref().unwrap_or("UTC");
            let mut options = ParseOptions::default();
            options.fallback_timezone_option = FallbackTimezoneOption::None;
            let crontab = parse_crontab_with(&format!("{schedule} {zone}"), options).map_err(|_| {
                format!(
                    "spec.rotation.windows[{number}] is no schedule: {schedule:?} in time zone {zone:?}. Write five cron fields, and a name of the IANA time zone database."
                )
            })?;
            Ok((crontab, duration.duration()))
        });
        read.collect::<Result<_, _>>().map(Self)
    }

    /// The first moment from then on at which a window is open, and before the end of `until`; `from`
    /// itself when one is open then, or when there are no windows.
    pub fn open_from(&self, from: Timestamp, until: Timestamp) -> Option<Timestamp> {
        if self.0.is_empty() {
            return Some(from);
        }
        if until.as_second() >= LAST_SECOND {
            return None;
        }
        let open = |(crontab, length): &(Crontab, SignedDuration)| {
            let since = from.saturating_sub(*length).ok()?;
            let opens = crontab.find_next(since).ok()?.timestamp();
            Some(opens.max(from))
        };
        self.0
            .iter()
            .filter_map(open)
            .min()
            .filter(|at| *at < until)
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
    fn a_leap_day_comes_and_a_day_that_never_comes_opens_nothing() {
        let leap = windows(&[("0 0 29 2 *", "1h", "")]);
        let from = at("2027-03-01T00:00:00Z");
        assert_eq!(
            leap.open_from(from, from + SignedDuration::from_hours(24 * 400)),
            Some(at("2028-02-29T00:00:00Z"))
        );
        assert_eq!(opens(&leap, "2027-03-01T00:00:00Z"), "never");
        let none = windows(&[("0 0 30 2 *", "1h", "")]);
        assert_eq!(opens(&none, "2026-02-01T00:00:00Z"), "never");
        let far = Timestamp::MAX;
        assert_eq!(leap.open_from(far, far), None);
    }

    #[test]
    fn nonsense_is_named() {
        for (schedule, zone) in [
            ("0 25 * * *", "UTC"),
            ("a b c d e", "UTC"),
            ("H 2 * * *", "UTC"),
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
