//! Keys that were replaced, and keys that nothing records.

use crate::plan::key::status;

use super::{READY, check};
use crate::plan::key::tests::build::*;

#[test]
fn replaced_keys_and_strays() {
    // The second key is current; the first, of this age, is still there.
    let two = |age| {
        seen()
            .settled(2, mins(20))
            .list(secs(30), &[(1, age), (2, mins(20))])
    };
    check(vec![
        (
            "through its overlap",
            two(days(9)).retiring(1, mins(1)).recorded(),
            "Idle",
            READY,
        ),
        (
            "due, seen through a cache",
            two(days(9)).retiring(1, -mins(1)),
            "Refresh",
            READY,
        ),
        (
            "due",
            two(days(9)).retiring(1, -mins(1)).live(),
            "Revoke k1 Retired",
            READY,
        ),
        (
            "due, where a copy of the cluster is at work",
            two(days(9))
                .retiring(1, -mins(1))
                .live()
                .shared()
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "a stray, where a copy of the cluster is at work",
            two(mins(10) + secs(30)).live().shared(),
            "Idle",
            READY,
        ),
        (
            "a key of an attempt that was never opened here",
            seen()
                .settled(2, mins(20))
                .list(secs(30), &[(2, mins(20)), (3, mins(12))])
                .live()
                .with(|s| s.object.status.serial = Some(3)),
            "Idle",
            READY,
        ),
        (
            "a key that was made long after the last attempt",
            seen()
                .settled(2, mins(40))
                .list(secs(0), &[(1, mins(20)), (2, mins(40))])
                .live(),
            "Idle",
            READY,
        ),
        (
            "due by status alone",
            two(days(9)).retiring_in_status(1, -mins(1)).live(),
            "Revoke k1 Retired",
            READY,
        ),
        (
            "due, says status; the Secret says later",
            two(days(9))
                .retiring(1, mins(9))
                .retiring_in_status(1, -mins(1))
                .live()
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "due, but made a moment ago: its Publish may be on its way",
            seen()
                .settled(2, days(1))
                .list(secs(1), &[(3, secs(170)), (2, days(1))])
                .retiring_in_status(3, -mins(1))
                .live()
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "due, and the list is from before the rotation",
            seen()
                .settled(2, mins(4))
                .retiring(1, -mins(1))
                .list(mins(5), &[(1, days(9))])
                .live(),
            "Look",
            READY,
        ),
        (
            "due, and there is no list",
            seen()
                .settled(2, mins(4))
                .retiring(1, -mins(1))
                .retiring_in_status(1, -mins(1))
                .live(),
            "Look",
            READY,
        ),
        (
            "due, and not ours",
            two(days(9))
                .retiring(1, -mins(1))
                .with(|s| {
                    let keys = shown(s);
                    keys[0].text = "somebody's".to_owned();
                })
                .live()
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "the current key, called retiring",
            seen()
                .settled(2, mins(30))
                .retiring_in_status(2, -mins(1))
                .list(secs(30), &[(2, mins(30))])
                .live()
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "due, but the Secret is gone",
            seen()
                .intent(2, mins(30))
                .mirrored(2, mins(30))
                .retiring_in_status(1, -mins(1))
                .list(secs(30), &[(1, days(9)), (2, mins(30))])
                .live(),
            "Open 3",
            "-Ready:Minting +Reconciling:Minting",
        ),
        (
            "due, but the Secret is gone, and it is the turn of what is due",
            seen()
                .intent(2, mins(30))
                .mirrored(2, mins(30))
                .retiring_in_status(1, -mins(1))
                .list(secs(30), &[(1, days(9)), (2, mins(30))])
                .failed(1, "Forbidden", days(1))
                .live(),
            "Open 3",
            "-Ready:Minting +Reconciling:Minting",
        ),
        (
            "due, but the last try failed a moment ago",
            two(days(9))
                .retiring(1, -mins(1))
                .failed(2, "Forbidden", secs(1)),
            "Record",
            "+Ready:Ready -UpToDate:Forbidden",
        ),
        (
            "a stray, seen through a cache",
            two(days(9)),
            "Refresh",
            READY,
        ),
        ("a stray", two(days(9)).live(), "Record", READY),
        (
            "a stray beside a younger key that is retiring",
            seen()
                .settled(5, mins(30))
                .retiring(3, mins(9))
                .list(secs(30), &[(1, days(9)), (3, days(1)), (5, mins(30))])
                .live(),
            "Record",
            READY,
        ),
        (
            "a stray that is not old enough at the beginning of the list",
            two(mins(10) + secs(29)).live(),
            "Idle",
            READY,
        ),
        (
            "a stray that just is",
            two(mins(10) + secs(30)).live(),
            "Record",
            READY,
        ),
        (
            "a stray, on a server whose clock is a quarter behind",
            two(mins(20))
                .with(|s| s.base.server.as_mut().unwrap().skew = -mins(15))
                .live(),
            "Idle",
            READY,
        ),
        (
            "a stray while the list does not show the Secret's key",
            seen()
                .settled(2, secs(50))
                .list(secs(30), &[(1, days(1))])
                .live(),
            "Idle",
            READY,
        ),
        (
            "keys of others",
            seen()
                .settled(2, days(1))
                .list(secs(30), &[(1, days(9)), (3, days(9)), (2, days(1))])
                .with(|s| {
                    let keys = shown(s);
                    keys[0].text = keys[0].text.replace("here", "there");
                    keys[1].text = "by hand".to_owned();
                })
                .live()
                .recorded(),
            "Idle",
            READY,
        ),
    ]);
    let strays = status::wanted(&two(days(9)).live().0).retiring;
    assert_eq!(strays.len(), 1);
    assert!(
        strays[0].revoke_at.0 >= start() + days(1),
        "a stray has the overlap before it"
    );
    assert!(
        status::wanted(&two(days(9)).0).retiring.is_empty(),
        "not on facts from before the list"
    );
}

#[test]
fn keys_that_are_lost_again_and_again() {
    let waits = "-Ready:Minting +Reconciling:Minting";
    // The Secret of the last key is gone, and so many before it still live through their overlap.
    let lost = |living: u8, opened| {
        let last = living + 1;
        let case = seen().intent(last, opened).mirrored(last, opened).live();
        (1..=living).fold(case, |case, n| case.retiring_in_status(n, days(1)))
    };
    check(vec![
        ("once", lost(0, secs(5)), "Open 2", waits),
        ("the third time", lost(2, secs(5)), "Open 4", waits),
        ("the fourth time", lost(3, secs(5)), "Record", waits),
        (
            "the fourth time, waited for",
            lost(3, mins(6)),
            "Open 5",
            waits,
        ),
        ("the fifth time", lost(4, mins(6)), "Record", waits),
        (
            "the fifth time, waited for",
            lost(4, mins(11)),
            "Open 6",
            waits,
        ),
    ]);
    let wake = lost(3, secs(5)).plan().wake;
    assert!(wake <= start() + mins(5));
}

/// Whatever is refused, and whatever else is tried in between, each key has its turn.
#[test]
fn each_replaced_key_has_its_turn() {
    for length in 2..6 {
        let listed: Vec<_> = (1..=length).map(|n| (n, days(9))).collect();
        let due = |failures| {
            let mut seen = seen()
                .settled(9, days(21))
                .list(secs(30), &[&listed[..], &[(9, days(21))]].concat())
                .live();
            for n in 1..=length {
                seen = seen.retiring(n, -mins(1));
            }
            seen.failed(failures, "Forbidden", days(1)).step()
        };
        let steps: std::collections::BTreeSet<_> = (1..30).map(due).collect();
        for n in 1..=length {
            let revoke = format!("Revoke k{n} Retired");
            assert!(steps.contains(&revoke), "{length}: {steps:?}");
        }
        // Nor does the next one wait for all of them.
        let renews = length >= 3 || steps.iter().any(|step| step.starts_with("Open"));
        assert!(renews, "{length}: {steps:?}");
    }
}
