//! Keys that are not wanted any more.

use crate::api::conditions::Reason;
use crate::api::{KeyDeletionPolicy, time};
use crate::plan::key::{Finalizer, Freshness, Handling, IntentSeen, Ledger, Secret};

use super::{check, ends, stop};
use crate::plan::key::tests::build::*;

#[test]
fn ends_of_an_api_key() {
    let one = || seen().settled(1, days(1));
    let revoking = "-Ready:Revoking +Reconciling:Revoking";
    let revoked = || {
        seen().intent(1, days(1)).with(|s| {
            s.object.spec.revoked = true;
            s.object.status.observed_generation = 1;
        })
    };
    let never = |ends_in| {
        seen_with(r#""lifetime": "30d", "rotation": {"mode": "Never"}"#)
            .settled(1, days(30))
            .with(|s| ends(s, ends_in))
    };
    let stayed = |case: Case| {
        case.with(|s| {
            s.object.spec.deletion_policy = KeyDeletionPolicy::Retain;
            s.base.server = Err(stop(Reason::ServerUnreachable));
        })
    };
    check(vec![
        ("deleted", one().deleting(secs(1)), "Refresh", revoking),
        (
            "deleted, live",
            one().deleting(secs(1)).live(),
            "Unpublish",
            revoking,
        ),
        (
            "an adopted Secret lets nothing go, and a list shows its key",
            one()
                .deleting(secs(1))
                .live()
                .list(secs(1), &[(1, days(1))])
                .with(|s| {
                    s.pass.secret = Handling::Immovable;
                    s.pass.refreshed_at = Some(s.now - secs(2));
                }),
            "Revoke k1 Ended",
            revoking,
        ),
        (
            "the Secret is gone, and the list is from before",
            seen()
                .intent(1, days(1))
                .mirrored(1, days(1))
                .deleting(secs(1))
                .live()
                .list(secs(9), &[]),
            "Look",
            revoking,
        ),
        (
            "a list shows a key, on facts from before it",
            seen()
                .intent(1, days(1))
                .mirrored(1, days(1))
                .deleting(secs(1))
                .live()
                .with(|s| s.freshness = Freshness::Cached)
                .list(secs(0), &[(1, days(1))]),
            "Refresh",
            revoking,
        ),
        (
            "a list shows a key",
            seen()
                .intent(1, days(1))
                .mirrored(1, days(1))
                .deleting(secs(1))
                .live()
                .list(secs(0), &[(1, days(1))]),
            "Revoke k1 Ended",
            revoking,
        ),
        (
            "an attempt is open: what the list shows goes at once",
            seen()
                .intent(2, secs(9))
                .deleting(secs(1))
                .live()
                .list(secs(0), &[(1, days(1))]),
            "Revoke k1 Ended",
            revoking,
        ),
        (
            "a key that no attempt here can have made",
            seen()
                .intent(1, days(1))
                .mirrored(1, days(1))
                .deleting(secs(1))
                .live()
                .list(secs(0), &[(2, mins(60))])
                .with(|s| s.object.status.serial = Some(2))
                .recorded(),
            "Idle",
            revoking,
        ),
        (
            "where a copy of the cluster is at work, its own key goes first",
            seen()
                .intent(2, days(1))
                .mirrored(2, days(1))
                .deleting(secs(1))
                .live()
                .shared()
                .list(secs(0), &[(1, days(2)), (2, days(1))]),
            "Revoke k2 Ended",
            revoking,
        ),
        (
            "where a copy of the cluster is at work, and its own key is gone",
            seen()
                .intent(2, days(1))
                .mirrored(2, days(1))
                .deleting(secs(1))
                .live()
                .shared()
                .list(secs(0), &[(1, days(2))])
                .recorded(),
            "Idle",
            revoking,
        ),
        (
            "an attempt is open, and nothing shows",
            seen()
                .intent(2, secs(9))
                .deleting(secs(1))
                .live()
                .list(secs(0), &[])
                .recorded(),
            "Idle",
            revoking,
        ),
        (
            "an attempt was open, and the list knows it",
            seen()
                .intent(2, secs(61))
                .deleting(secs(1))
                .live()
                .list(secs(0), &[]),
            "Close",
            revoking,
        ),
        (
            "the intent is missing, a minute is not over",
            seen()
                .intent(1, days(1))
                .with(|s| s.object.intent = IntentSeen::Missing)
                .deleting(secs(60))
                .live()
                .list(secs(0), &[])
                .recorded(),
            "Idle",
            revoking,
        ),
        (
            "the intent is void, a minute is over",
            seen()
                .intent(1, days(1))
                .with(|s| s.object.intent = IntentSeen::Void)
                .deleting(secs(61))
                .live()
                .list(secs(0), &[]),
            "Close",
            revoking,
        ),
        (
            "nothing is left",
            seen()
                .intent(1, days(1))
                .mirrored(1, days(1))
                .deleting(secs(1))
                .live()
                .list(secs(0), &[]),
            "Close",
            revoking,
        ),
        (
            "the Secret is held by somebody's finalizer",
            one()
                .deleting(secs(1))
                .with(|s| {
                    let Secret::Ours(held) = &mut s.secret else {
                        panic!()
                    };
                    held.deleting = true;
                })
                .live()
                .recorded(),
            "Idle",
            revoking,
        ),
        (
            "the server is down",
            seen()
                .intent(1, days(1))
                .deleting(secs(1))
                .with(|s| s.base.server = Err(stop(Reason::ServerUnreachable)))
                .recorded(),
            "Idle",
            revoking,
        ),
        (
            "a failure of the time before the deletion is not waited out",
            one()
                .failed(9, "Rejected", secs(1))
                .deleting(secs(1))
                .with(|s| s.object.generation = 2),
            "Refresh",
            revoking,
        ),
        (
            "retained",
            stayed(one()).deleting(secs(1)).live(),
            "Retain k1",
            revoking,
        ),
        (
            "retained, noted",
            stayed(one())
                .deleting(secs(1))
                .with(|s| s.base.ledger = Ledger::Present(vec![id(1)]))
                .live(),
            "Release",
            revoking,
        ),
        (
            "retained, but that is not granted",
            stayed(seen().intent(1, days(1)))
                .deleting(secs(1))
                .with(|s| s.base.retain = Err(stop(Reason::NotGranted)))
                .recorded(),
            "Idle",
            revoking,
        ),
        (
            "revoked",
            one().with(|s| s.object.spec.revoked = true).live(),
            "Unpublish",
            revoking,
        ),
        (
            "revoked before anything began",
            seen_with(r#""revoked": true"#).live(),
            "Record",
            "-Ready:Revoked +Stalled:Revoked",
        ),
        (
            "revoked, and nothing is left",
            revoked().live().list(secs(0), &[]),
            "Record",
            "-Ready:Revoked +Stalled:Revoked",
        ),
        (
            "revoked and over",
            revoked().list(secs(0), &[]).finished(mins(1)),
            "Idle",
            "-Ready:Revoked +Stalled:Revoked",
        ),
        (
            "revoked and over, long not looked at",
            revoked().list(mins(11), &[]).finished(mins(30)),
            "Look",
            "-Ready:Revoked +Stalled:Revoked",
        ),
        (
            "revoked and over, the server is down",
            revoked()
                .finished(mins(30))
                .with(|s| s.base.server = Err(stop(Reason::ServerUnreachable))),
            "Idle",
            "-Ready:Revoked +Stalled:Revoked",
        ),
        (
            "revoked and over, and a key has come late",
            revoked()
                .live()
                .list(secs(0), &[(1, mins(1))])
                .with(|s| s.object.status.finished_at = Some(time(start()))),
            "Revoke k1 Ended",
            revoking,
        ),
        (
            "revoked and over, and an attempt was opened since",
            revoked().intent(2, mins(2)).finished(mins(3)),
            "Refresh",
            revoking,
        ),
        (
            "revoked, over, to be removed in a second",
            revoked()
                .with(|s| s.object.spec.ttl_after_finished = Some("1h".parse().unwrap()))
                .list(secs(1), &[])
                .finished(mins(60) - secs(1))
                .live(),
            "Idle",
            "-Ready:Revoked +Stalled:Revoked",
        ),
        (
            "revoked, over, to be removed",
            revoked()
                .with(|s| s.object.spec.ttl_after_finished = Some("1h".parse().unwrap()))
                .list(secs(1), &[])
                .finished(mins(60))
                .live(),
            "Remove",
            "-Ready:Revoked +Stalled:Revoked",
        ),
        (
            "revoked, and the finalizer was dropped",
            one().with(|s| {
                s.object.spec.revoked = true;
                s.object.finalizer = Finalizer::Missing;
            }),
            "Guard",
            revoking,
        ),
        (
            "Never, at its end",
            never(secs(0)).live(),
            "Unpublish",
            revoking,
        ),
        (
            "Never, over its end, the intent was dropped",
            never(secs(0)).with(|s| s.object.intent = IntentSeen::Missing),
            "Guard intent",
            "-Ready:Minting +Reconciling:Minting",
        ),
        (
            "Never, ended, and a replaced key lives through its overlap",
            never(-secs(1))
                .with(|s| s.secret = Secret::Absent)
                .retiring_in_status(2, mins(9))
                .live()
                .list(secs(0), &[(2, mins(50))])
                .recorded(),
            "Idle",
            revoking,
        ),
        (
            "Never, ended, nothing left",
            never(-secs(1))
                .with(|s| s.secret = Secret::Absent)
                .live()
                .list(secs(0), &[]),
            "Record",
            "-Ready:Expired +Stalled:Expired",
        ),
    ]);
}
