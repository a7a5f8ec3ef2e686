//! A key that is to be replaced.

use crate::api::Window;
use crate::plan::key::{IntentSeen, Secret, Seen, minting, status};
use crate::plan::window::Windows;

use super::{READY, check, ends, stop};
use crate::api::conditions::Reason;
use crate::plan::key::tests::build::*;

/// A window of an hour that opens by this schedule.
fn windows(seen: &mut Seen, schedule: &str) {
    let windows = vec![Window {
        schedule: schedule.to_owned(),
        duration: "1h".parse().unwrap(),
        time_zone: None,
    }];
    seen.object.windows = Windows::read(&windows);
}

#[test]
fn rotation() {
    let old = |age| seen().settled(1, age).list(secs(30), &[(1, age)]);
    let never = |age| {
        seen_with(r#""lifetime": "30d", "rotation": {"mode": "Never"}"#)
            .settled(1, age)
            .list(secs(30), &[(1, age)])
    };
    // The fifth key is due, and three of this age are still there.
    let fifth = |age| {
        let listed = [(5, days(21)), (1, age), (2, age), (3, age)];
        seen().settled(5, days(21)).list(secs(30), &listed)
    };
    let policy = |s: &mut Seen| s.base.bounds.max_lifetime = Some(days(7));
    check(vec![
        (
            "two thirds of its life, less a tenth of the last, are not over",
            old(days(19)).recorded(),
            "Idle",
            READY,
        ),
        (
            "two thirds of its life are over",
            old(days(20)),
            "Open 2",
            READY,
        ),
        (
            "a life of three minutes",
            old(mins(2)).with(|s| {
                s.object.spec.lifetime = Some("3m".parse().unwrap());
                let end = s.now + mins(1);
                let Secret::Ours(held) = &mut s.secret else {
                    panic!()
                };
                held.published.as_mut().unwrap().expires_at = end;
                s.list = None;
            }),
            "Open 2",
            READY,
        ),
        (
            "the key in the second slot has ended, and the server is down",
            old(days(1))
                .published(2, days(1))
                .mirrored(2, days(1))
                .intent(2, days(1))
                .retiring(1, -mins(1))
                .retiring_in_status(1, -mins(1))
                .with(|s| {
                    let Secret::Ours(held) = &mut s.secret else {
                        panic!()
                    };
                    held.previous = Some(id(1));
                    s.list = None;
                    s.base.server = Err(stop(Reason::ServerUnreachable));
                })
                .recorded(),
            "Previous",
            READY,
        ),
        (
            "due, and no window is open",
            old(days(20)).with(|s| windows(s, "0 12 30 6 *")).recorded(),
            "Idle",
            READY,
        ),
        (
            "due, and a window is open",
            old(days(20)).with(|s| windows(s, "0 * * * *")),
            "Open 2",
            READY,
        ),
        (
            "due for so long that windows are not waited for",
            old(days(28)).with(|s| windows(s, "0 12 30 6 *")),
            "Open 2",
            READY,
        ),
        (
            "due, and the windows make no sense",
            old(days(20)).with(|s| windows(s, "a b c d e")),
            "Open 2",
            "+Ready:Ready -UpToDate:Invalid",
        ),
        (
            "asked for, and no window is open",
            old(days(1)).with(|s| {
                windows(s, "0 12 30 6 *");
                s.object.rotate = Some("now".to_owned());
            }),
            "Open 2",
            READY,
        ),
        (
            "asked for",
            old(days(1)).with(|s| s.object.rotate = Some("now".to_owned())),
            "Open 2",
            READY,
        ),
        (
            "asked for, and done",
            old(days(1))
                .with(|s| {
                    s.object.rotate = Some("now".to_owned());
                    let Secret::Ours(held) = &mut s.secret else {
                        panic!()
                    };
                    held.rotate_handled = Some("now".to_owned());
                })
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "the data of the Secret is other",
            old(days(1)).with(|s| s.object.shape = "new".to_owned()),
            "Open 2",
            READY,
        ),
        (
            "the lifetime is shorter now",
            old(days(1)).with(|s| s.object.spec.lifetime = Some("7d".parse().unwrap())),
            "Open 2",
            READY,
        ),
        (
            "due, but the policy allows no longer key than there is",
            old(days(24))
                .with(policy)
                .with(|s| s.base.bounds.max_lifetime = Some(days(6)))
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "due, and the policy clips it",
            old(days(24)).with(policy),
            "Open 2",
            READY,
        ),
        (
            "due, but the operator's own key lives no longer",
            old(days(24))
                .with(|s| s.base.bounds.credential_expires_at = Some(s.now + days(6)))
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "due, and the operator's own key clips it",
            old(days(24)).with(|s| s.base.bounds.credential_expires_at = Some(s.now + days(7))),
            "Open 2",
            READY,
        ),
        (
            "due, and refused",
            old(days(21)).failed(4, "Rejected", secs(1)),
            "Record",
            "+Ready:Ready -UpToDate:Rejected",
        ),
        (
            "due, and suspended",
            old(days(21)).with(|s| s.object.spec.suspend = true),
            "Record",
            "+Ready:Ready -UpToDate:Suspended",
        ),
        (
            "expired",
            old(days(30)),
            "Open 2",
            "-Ready:Minting +Reconciling:Minting",
        ),
        (
            "three are retiring already",
            fifth(days(22))
                .retiring(1, mins(1))
                .retiring(2, mins(1))
                .retiring(3, mins(1)),
            "Record",
            "+Ready:Ready -UpToDate:Minting",
        ),
        (
            "three are retiring, and have expired",
            fifth(days(31))
                .retiring(1, mins(1))
                .retiring(2, mins(1))
                .retiring(3, mins(1)),
            "Open 6",
            READY,
        ),
        (
            "three strays do not hold it up",
            fifth(days(22))
                .retiring_in_status(1, mins(1))
                .retiring_in_status(2, mins(1))
                .retiring_in_status(3, mins(1)),
            "Open 6",
            READY,
        ),
        (
            "Never: its end is put on record",
            never(days(1)),
            "Guard intent",
            READY,
        ),
        (
            "Never, the lifetime left to the policy: its end is put on record",
            never(days(1)).with(|s| s.object.spec.lifetime = None),
            "Guard intent",
            READY,
        ),
        (
            "Never, and the intent was dropped",
            never(days(25)).with(|s| s.object.intent = IntentSeen::Missing),
            "Guard intent",
            READY,
        ),
        (
            "Never, near its end",
            never(days(29)).with(|s| ends(s, days(1))).recorded(),
            "Idle",
            READY,
        ),
        (
            "Never, the lifetime is shorter now",
            never(days(9)).with(|s| {
                ends(s, days(21));
                s.object.spec.lifetime = Some("20d".parse().unwrap());
            }),
            "Guard intent",
            READY,
        ),
        (
            "Never, the lifetime is longer now: the end stays",
            never(days(9))
                .with(|s| {
                    ends(s, days(21));
                    s.object.spec.lifetime = Some("40d".parse().unwrap());
                })
                .with(|s| s.object.status = status::wanted(s)),
            "Idle",
            READY,
        ),
    ]);
}

#[test]
fn a_publication_records_what_it_replaces() {
    let age = days(2);
    // Every attempt was opened ten seconds ago, so no copy of its Publish lands after this:
    let earliest = secs(170);
    let rows = vec![
        (
            "the living key",
            seen().settled(1, age),
            vec![(1, earliest + days(1))],
        ),
        (
            "a key that ends within the overlap",
            seen().settled(1, days(30) - mins(9)),
            vec![(1, mins(9))],
        ),
        (
            "overlap 0",
            seen_with(r#""lifetime": "30d", "rotation": {"overlap": "0s"}"#).settled(1, age),
            vec![(1, earliest)],
        ),
        (
            "a key that has expired",
            seen().settled(1, days(31)),
            vec![(1, earliest)],
        ),
        (
            "a key that is gone is not recorded",
            seen().settled(1, age).list(secs(1), &[]),
            vec![],
        ),
        (
            "the Secret is gone",
            seen().mirrored(1, age),
            vec![(1, earliest + days(1))],
        ),
        (
            "the Secret is gone, and a forged status calls its key due",
            seen().mirrored(1, age).retiring_in_status(1, -mins(1)),
            vec![(1, earliest + days(1))],
        ),
        (
            "the Secret is gone, and a forged status calls a key due",
            seen().mirrored(2, age).retiring_in_status(1, -mins(1)),
            vec![(1, earliest + days(1)), (2, earliest + days(1))],
        ),
        (
            "both remember others",
            seen()
                .settled(3, age)
                .retiring(1, mins(1))
                .retiring_in_status(1, mins(9))
                .retiring_in_status(2, mins(2)),
            vec![(1, mins(1)), (2, mins(2)), (3, earliest + days(1))],
        ),
    ];
    for (situation, case, wanted) in rows {
        let case = case.intent(9, secs(10));
        let intent = case.0.object.intent.ours().unwrap();
        let got = minting::publication(&case.0, intent, &published(9, start())).retiring;
        let wanted: Vec<_> = wanted
            .into_iter()
            .map(|(n, at)| (id(n), start() + at))
            .collect();
        let whole = |at: jiff::Timestamp| at.as_second();
        assert_eq!(
            got.iter()
                .map(|key| (key.id.clone(), whole(key.revoke_at)))
                .collect::<Vec<_>>(),
            wanted
                .into_iter()
                .map(|(id, at)| (id, whole(at)))
                .collect::<Vec<_>>(),
            "{situation}"
        );
    }
}
