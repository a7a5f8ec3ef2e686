//! Tables: a situation, the step that follows, and what people read.

use super::build::*;
use crate::api::conditions::Reason;
use crate::plan::Stop;
use crate::plan::fault::Retry;
use crate::plan::key::{
    Done, Dress, Finalizer, IntentSeen, Ledger, Secret, Setback, Stage, Step, fold, plan, status,
};
use crate::plan::port::{AccountId, Effect, Fault, KeyId, NewKey};
use crate::plan::record::{Serial, Uid};

const READY: &str = "+Ready:Ready +UpToDate:Ready";

fn check(rows: Vec<(&str, Case, &str, &str)>) {
    let mut wrong = Vec::new();
    for (situation, case, step, face) in rows {
        let (got_step, got_face) = (case.step(), case.face());
        if (got_step.as_str(), got_face.as_str()) != (step, face) {
            wrong.push(format!(
                "{situation}\n   wanted {step} | {face}\n   got    {got_step} | {got_face}"
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn stop(reason: Reason) -> Stop {
    Stop::plain(reason)
}

#[test]
fn a_first_key() {
    let waits = "-Ready:Minting +Reconciling:Minting";
    let forged = u64::from(u32::MAX - 1);
    check(vec![
        ("new", seen(), "Open 1", waits),
        (
            "no account yet",
            seen().with(|s| s.base.account = None),
            "Record",
            "-Ready:WaitingForAccount +Reconciling:WaitingForAccount",
        ),
        (
            "not granted",
            seen().with(|s| s.base.mint = Err(stop(Reason::NotGranted))),
            "Record",
            "-Ready:NotGranted +Stalled:NotGranted",
        ),
        (
            "no server",
            seen().with(|s| s.base.server = Err(stop(Reason::ServerUnreachable))),
            "Record",
            "-Ready:ServerUnreachable +Reconciling:ServerUnreachable",
        ),
        (
            "policy",
            seen().with(|s| s.base.bounds.max_lifetime = Some(days(7))),
            "Record",
            "-Ready:PolicyViolation +Stalled:PolicyViolation",
        ),
        (
            "policy, after a first attempt that failed",
            seen().intent(1, mins(5)).with(|s| {
                s.object.status.serial = Some(1);
                s.base.bounds.max_lifetime = Some(days(7));
            }),
            "Record",
            "-Ready:PolicyViolation +Stalled:PolicyViolation",
        ),
        (
            "policy, but the manifest leaves the lifetime open",
            seen_with(r#""purpose": "x""#).with(|s| s.base.bounds.max_lifetime = Some(days(7))),
            "Open 1",
            waits,
        ),
        (
            "suspended",
            seen_with(r#""suspend": true"#),
            "Record",
            "-Ready:Suspended +Stalled:Suspended",
        ),
        (
            "a token in the purpose",
            seen_with(r#""purpose": "ako1.x""#),
            "Record",
            "-Ready:Invalid +Stalled:Invalid",
        ),
        (
            "not supported yet",
            seen_with(r#""secret": {"keepPrevious": true}"#),
            "Record",
            "-Ready:NotSupportedYet +Stalled:NotSupportedYet",
        ),
        (
            "a template that does not render",
            seen().with(|s| s.object.templates = Err("bad".to_owned())),
            "Record",
            "-Ready:TemplateFailed +Stalled:TemplateFailed",
        ),
        (
            "a Secret that is not ours",
            seen().with(|s| s.secret = Secret::Foreign("it has no owner".to_owned())),
            "Record",
            "-Ready:SecretConflict +Stalled:SecretConflict",
        ),
        (
            "a void intent: somebody copied the object",
            seen().with(|s| s.object.intent = IntentSeen::Void),
            "Look",
            waits,
        ),
        (
            "a void intent, and a list",
            seen()
                .with(|s| s.object.intent = IntentSeen::Void)
                .list(secs(5), &[(3, mins(30))]),
            "Open 4",
            waits,
        ),
        (
            "an attempt is open",
            seen().intent(1, secs(59)).recorded(),
            "Idle",
            waits,
        ),
        (
            "an attempt was open, its last effect could just have landed",
            seen().intent(1, secs(60)).recorded(),
            "Idle",
            waits,
        ),
        (
            "an attempt was open, and a list may still not know it",
            seen().intent(1, secs(61)).list(secs(1), &[]),
            "Look",
            waits,
        ),
        (
            "an attempt was open, and a list knows it",
            seen().intent(1, mins(3)).list(secs(100), &[(1, mins(3))]),
            "Open 2",
            waits,
        ),
        (
            "an attempt was open, and this process knows that nothing comes of it",
            seen()
                .intent(1, secs(3))
                .with(|s| s.settled = Some(nonce(1))),
            "Open 2",
            waits,
        ),
        (
            "an attempt of the far future: a clock was wrong",
            seen().intent(1, -days(400)),
            "Look",
            waits,
        ),
        (
            "a serial that nobody can have reached",
            seen()
                .intent(1, mins(5))
                .with(|s| s.object.status.serial = Some(forged)),
            "Record",
            "-Ready:Invalid +Stalled:Invalid",
        ),
        (
            "a failure is waited out",
            seen().intent(1, mins(2)).failed(8, "Rejected", secs(100)),
            "Record",
            "-Ready:Rejected +Stalled:Rejected",
        ),
        (
            "a failure was waited out",
            seen()
                .intent(1, mins(9))
                .failed(8, "Rejected", secs(170))
                .list(secs(1), &[]),
            "Open 2",
            waits,
        ),
        (
            "a failure of another spec is not waited out",
            seen()
                .intent(1, mins(9))
                .failed(8, "Rejected", secs(1))
                .list(secs(1), &[])
                .with(|s| s.object.generation = 2),
            "Open 2",
            waits,
        ),
        (
            "a failure of the future is not waited out",
            seen()
                .intent(1, mins(9))
                .failed(8, "Rejected", -days(400))
                .list(secs(1), &[]),
            "Open 2",
            waits,
        ),
        (
            "a Secret that was refused is tried before the next attempt",
            seen()
                .intent(1, mins(9))
                .failed(1, "SecretRefused", mins(8))
                .list(secs(1), &[]),
            "Rehearse",
            waits,
        ),
    ]);
}

#[test]
fn a_living_key() {
    let one = || seen().settled(1, days(1));
    let with_list = || one().list(secs(30), &[(1, days(1))]);
    check(vec![
        ("settled, looked at", with_list().recorded(), "Idle", READY),
        ("settled, never looked at", one(), "Look", READY),
        (
            "looked at long ago",
            one().list(mins(10), &[(1, days(1))]),
            "Look",
            READY,
        ),
        (
            "a list of the future: the clock was set back",
            one().list(-mins(90), &[]),
            "Look",
            READY,
        ),
        (
            "in the Secret, not yet in status",
            seen().intent(1, secs(9)).published(1, secs(5)),
            "Record",
            READY,
        ),
        (
            "status is ahead of the Secret that the cache shows",
            seen()
                .intent(2, secs(9))
                .published(1, days(1))
                .mirrored(2, secs(8)),
            "Refresh",
            READY,
        ),
        (
            "status remembers a key, and the cache shows no Secret",
            seen().intent(1, days(1)).mirrored(1, days(1)),
            "Refresh",
            "-Ready:Minting +Reconciling:Minting",
        ),
        (
            "the Secret was deleted",
            seen().intent(1, days(1)).mirrored(1, days(1)).live(),
            "Open 2",
            "-Ready:Minting +Reconciling:Minting",
        ),
        (
            "the finalizer was dropped",
            with_list().with(|s| s.object.finalizer = Finalizer::Missing),
            "Guard",
            READY,
        ),
        (
            "the finalizer and the intent were dropped",
            with_list().with(|s| {
                s.object.finalizer = Finalizer::Missing;
                s.object.intent = IntentSeen::Missing;
            }),
            "Guard",
            READY,
        ),
        (
            "the key is gone from the server",
            one().list(secs(30), &[]),
            "Open 2",
            "-Ready:Minting +Reconciling:Minting",
        ),
        (
            "the list is too old to know the key",
            seen()
                .settled(1, mins(5))
                .list(mins(4) + secs(10), &[])
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "its marker tells of another attempt: the annotation is forged",
            one()
                .list(secs(30), &[(1, days(1)), (2, days(2))])
                .with(|s| {
                    let Secret::Ours(held) = &mut s.secret else {
                        panic!()
                    };
                    held.published.as_mut().unwrap().id = id(2);
                }),
            "Open 3",
            "-Ready:Minting +Reconciling:Minting",
        ),
        (
            "made under another installation",
            one()
                .list(secs(30), &[(1, days(1))])
                .with(|s| {
                    let Secret::Ours(held) = &mut s.secret else {
                        panic!()
                    };
                    let other = crate::plan::marker::Installation::parse("other").unwrap();
                    held.published.as_mut().unwrap().installation = other;
                    let list = s.list.as_mut().unwrap();
                    list.keys[0].text = list.keys[0].text.replace("here", "other");
                })
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "its account is another one now",
            with_list().with(|s| s.base.account = Some(AccountId::new("Users-2"))),
            "Open 2",
            "-Ready:Minting +Reconciling:Minting",
        ),
        (
            "its account is disabled",
            with_list().with(|s| s.base.works = Err(stop(Reason::AccountDisabled))),
            "Record",
            "-Ready:AccountDisabled +Stalled:AccountDisabled",
        ),
        (
            "the server is down",
            one()
                .with(|s| s.base.server = Err(stop(Reason::ServerUnreachable)))
                .recorded(),
            "Idle",
            READY,
        ),
        ("untidy", with_list().with(dishevel), "Dress", READY),
        (
            "untidy, but the last try failed a moment ago",
            with_list()
                .with(dishevel)
                .failed(3, "SecretRefused", secs(1)),
            "Record",
            "+Ready:Ready -UpToDate:SecretRefused",
        ),
        (
            "an older intent was applied again",
            seen()
                .settled(3, days(1))
                .list(secs(30), &[(3, days(1))])
                .intent(1, days(9))
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "suspended",
            with_list().with(|s| s.object.spec.suspend = true),
            "Record",
            "+Ready:Ready -UpToDate:Suspended",
        ),
    ]);
}

fn dishevel(seen: &mut crate::plan::key::Seen) {
    if let Secret::Ours(held) = &mut seen.secret {
        held.dress = Dress::Untidy;
    }
}

#[test]
fn rotation() {
    let old = |age| seen().settled(1, age).list(secs(30), &[(1, age)]);
    let never = |age| {
        seen_with(r#""lifetime": "30d", "rotation": {"mode": "Never"}"#)
            .settled(1, age)
            .list(secs(30), &[(1, age)])
    };
    let policy = |s: &mut crate::plan::key::Seen| s.base.bounds.max_lifetime = Some(days(7));
    check(vec![
        (
            "two thirds of its life are not over",
            old(days(20) - secs(1)).recorded(),
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
            old(days(21))
                .published(5, days(21))
                .mirrored(5, days(21))
                .intent(5, days(21))
                .list(
                    secs(30),
                    &[(5, days(21)), (1, days(22)), (2, days(22)), (3, days(22))],
                )
                .retiring(1, mins(1))
                .retiring(2, mins(1))
                .retiring(3, mins(1)),
            "Record",
            "+Ready:Ready -UpToDate:Minting",
        ),
        (
            "three strays do not hold it up",
            old(days(21))
                .published(5, days(21))
                .mirrored(5, days(21))
                .intent(5, days(21))
                .list(
                    secs(30),
                    &[(5, days(21)), (1, days(22)), (2, days(22)), (3, days(22))],
                )
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

fn ends(seen: &mut crate::plan::key::Seen, from_now: jiff::SignedDuration) {
    let at = seen.now + from_now;
    if let IntentSeen::Ours(intent) = &mut seen.object.intent {
        intent.ends_at = Some(at);
    }
}

#[test]
fn replaced_keys_and_strays() {
    let two = || {
        seen()
            .settled(2, mins(30))
            .list(secs(30), &[(1, days(9)), (2, mins(30))])
    };
    check(vec![
        (
            "through its overlap",
            two().retiring(1, mins(1)).recorded(),
            "Idle",
            READY,
        ),
        (
            "due, seen through a cache",
            two().retiring(1, -mins(1)),
            "Refresh",
            READY,
        ),
        (
            "due",
            two().retiring(1, -mins(1)).live(),
            "Revoke k1 Retired",
            READY,
        ),
        (
            "due by status alone",
            two().retiring_in_status(1, -mins(1)).live(),
            "Revoke k1 Retired",
            READY,
        ),
        (
            "due, says status; the Secret says later",
            two()
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
            two()
                .retiring(1, -mins(1))
                .with(|s| {
                    let list = s.list.as_mut().unwrap();
                    list.keys[0].text = "somebody's".to_owned();
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
            "due, but the last try failed a moment ago",
            two().retiring(1, -mins(1)).failed(2, "Forbidden", secs(1)),
            "Record",
            "+Ready:Ready -UpToDate:Forbidden",
        ),
        ("a stray, seen through a cache", two(), "Refresh", READY),
        ("a stray", two().live(), "Record", READY),
        (
            "a stray that is not old enough at the beginning of the list",
            seen()
                .settled(2, days(1))
                .list(secs(30), &[(3, mins(10) + secs(29)), (2, days(1))])
                .live()
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "a stray, on a server whose clock is a quarter behind",
            seen()
                .settled(2, days(1))
                .list(secs(30), &[(3, mins(20)), (2, days(1))])
                .with(|s| s.base.server.as_mut().unwrap().skew = -mins(15))
                .live()
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "a stray while the list does not show the Secret's key",
            seen()
                .settled(2, secs(50))
                .list(secs(30), &[(1, days(1))])
                .live()
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "keys of others",
            seen()
                .settled(2, days(1))
                .list(secs(30), &[(1, days(9)), (3, days(9)), (2, days(1))])
                .with(|s| {
                    let list = s.list.as_mut().unwrap();
                    list.keys[0].text = list.keys[0].text.replace("here", "there");
                    list.keys[1].text = "by hand".to_owned();
                })
                .live()
                .recorded(),
            "Idle",
            READY,
        ),
    ]);
    let strays = status::wanted(&two().live().0).retiring;
    assert_eq!(strays.len(), 1);
    assert!(
        strays[0].revoke_at.0 >= start() + days(1),
        "a stray has the overlap before it"
    );
    assert!(
        status::wanted(&two().0).retiring.is_empty(),
        "not on facts from before the list"
    );
}

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
            s.object.spec.deletion_policy = crate::api::KeyDeletionPolicy::Retain;
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
                .with(|s| s.freshness = crate::plan::key::Freshness::Cached)
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
                .with(|s| s.object.status.finished_at = Some(crate::api::time(start()))),
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

/// A pass up to the key that the server has just made.
fn minted(text: String) -> crate::plan::key::Seen {
    let seen = seen().0;
    let step = plan(&seen).step;
    let Step::Open(intent) = step.clone() else {
        panic!("{step:?}")
    };
    let mut object = seen.object.clone();
    object.intent = IntentSeen::Ours(intent);
    object.finalizer = Finalizer::Present;
    let seen = fold(seen, &step, Done::Written(Box::new(object)));
    let base = Box::new(seen.base.clone());
    let seen = fold(
        seen,
        &Step::Rehearse,
        Done::Rehearsed {
            secret: Secret::Absent,
            base,
        },
    );
    let step = plan(&seen).step;
    let Step::Mint(order) = &step else {
        panic!("{step:?}")
    };
    let text = if text.is_empty() {
        order.text.clone()
    } else {
        text
    };
    let expires_at = Some(order.expires_at);
    let created_at = seen.now + mins(40);
    fold(
        seen,
        &step,
        Done::Minted(NewKey {
            id: id(1),
            text,
            created_at,
            expires_at,
        }),
    )
}

#[test]
fn a_key_that_does_not_echo_its_marker_is_revoked() {
    let seen = minted("something else".to_owned());
    assert_eq!(plan(&seen).step, Step::Refresh);
    let (object, secret) = (Box::new(seen.object.clone()), seen.secret.clone());
    let seen = fold(seen, &Step::Refresh, Done::Refreshed { object, secret });
    assert_eq!(word(&plan(&seen).step), "Revoke k1 Unwanted");
    let step = plan(&seen).step;
    let seen = fold(seen, &step, Done::Revoked(id(1)));
    assert_eq!(
        face(&status::wanted(&seen)),
        "-Ready:ProtocolError +Stalled:ProtocolError"
    );
    assert_eq!(status::wanted(&seen).failures, 1);
}

#[test]
fn the_age_of_a_key_is_on_our_clock() {
    let seen = minted(String::new());
    let Stage::Minted(key) = seen.pass.attempt.unwrap().stage else {
        panic!()
    };
    assert_eq!(
        key.created_at, seen.now,
        "the server's clock is 40 minutes ahead"
    );
}

#[test]
fn a_refused_proof_says_nothing_about_our_own_credential() {
    let seen = minted(String::new());
    let seen = fold(
        seen,
        &Step::Prove,
        Done::Failed(Setback::of(&Fault::Unauthorized)),
    );
    assert_eq!(plan(&seen).step, Step::Refresh);
    let Stage::Unwanted(_, why) = seen.pass.attempt.unwrap().stage else {
        panic!()
    };
    assert_eq!(why.stop.reason, Reason::ProofFailed);
}

#[test]
fn a_throttled_proof_has_cost_a_key_and_is_counted() {
    let seen = minted(String::new());
    let throttled = Setback::of(&Fault::Throttled { after: None });
    let seen = fold(seen, &Step::Prove, Done::Failed(throttled));
    let step = Step::Revoke {
        id: id(1),
        why: crate::plan::key::Why::Unwanted,
    };
    let seen = fold(seen, &step, Done::Revoked(id(1)));
    assert_eq!(status::wanted(&seen).failures, 1);
}

#[test]
fn an_unanswered_publish_leaves_its_key_to_the_sweep() {
    let seen = minted(String::new());
    let account = AccountId::new("Users-1");
    let seen = fold(seen, &Step::Prove, Done::Proven(account));
    let step = plan(&seen).step;
    assert_eq!(word(&step), "Publish k1");
    let setback = |effect| {
        let stop = stop(Reason::SecretRefused);
        Done::Failed(Setback {
            stop,
            effect,
            retry: Retry::Backoff,
        })
    };
    let unanswered = fold(seen.clone(), &step, setback(Effect::Perhaps));
    assert_eq!(word(&plan(&unanswered).step), "Record");
    assert_eq!(unanswered.settled, None);
    let refused = fold(seen, &step, setback(Effect::None));
    assert_eq!(plan(&refused).step, Step::Refresh);
}

#[test]
fn a_key_is_not_published_two_minutes_after_its_attempt_began() {
    let seen = minted(String::new());
    let mut seen = fold(seen, &Step::Prove, Done::Proven(AccountId::new("Users-1")));
    seen.now += secs(120);
    assert_eq!(word(&plan(&seen).step), "Publish k1");
    seen.now += secs(1);
    assert_eq!(plan(&seen).step, Step::Refresh);
}

#[test]
fn a_mint_is_not_sent_a_quarter_of_a_minute_after_its_attempt_began() {
    let seen = seen().0;
    let step = plan(&seen).step;
    let Step::Open(intent) = step.clone() else {
        panic!("{step:?}")
    };
    let mut object = seen.object.clone();
    object.intent = IntentSeen::Ours(intent);
    let mut seen = fold(seen, &step, Done::Written(Box::new(object)));
    let base = Box::new(seen.base.clone());
    let rehearsed = Done::Rehearsed {
        secret: Secret::Absent,
        base,
    };
    seen.now += secs(15);
    let in_time = fold(seen.clone(), &Step::Rehearse, rehearsed.clone());
    assert_eq!(word(&plan(&in_time).step), "Mint");
    let mut late = in_time;
    late.now += secs(1);
    assert_eq!(word(&plan(&late).step), "Record");
    seen.now += secs(1);
    let late = fold(seen, &Step::Rehearse, rehearsed);
    assert!(late.pass.attempt.is_none());
    assert_eq!(late.settled, Some(nonce(99)), "nothing was sent");
}

#[test]
fn a_rehearsal_that_meets_an_unknown_key_ends_the_attempt() {
    let seen = seen().0;
    let step = plan(&seen).step;
    let Step::Open(intent) = step.clone() else {
        panic!("{step:?}")
    };
    let mut object = seen.object.clone();
    object.intent = IntentSeen::Ours(intent);
    let seen = fold(seen, &step, Done::Written(Box::new(object)));
    let secret = super::build::seen().published(1, secs(3)).0.secret;
    let base = Box::new(seen.base.clone());
    let seen = fold(seen, &Step::Rehearse, Done::Rehearsed { secret, base });
    assert!(seen.pass.attempt.is_none());
    assert_eq!(word(&plan(&seen).step), "Record");
}

#[test]
fn a_list_that_nothing_waits_for_may_fail_in_silence() {
    let seen = seen().settled(1, days(1)).0;
    let step = plan(&seen).step;
    assert_eq!(word(&step), "Look");
    let down = Setback::of(&Fault::Unreachable("down".to_owned()));
    let seen = fold(seen, &step, Done::Failed(down));
    let plan = plan(&seen);
    assert_eq!(plan.step, Step::Idle);
    assert!(plan.wake > seen.now + mins(4), "not at once again");
    assert!(plan.wake < seen.now + mins(6), "but soon");
}

#[test]
fn a_status_that_cannot_be_written_ends_the_pass() {
    let seen = seen().with(|s| s.base.account = None).0;
    let step = plan(&seen).step;
    assert_eq!(word(&step), "Record");
    let refused = Setback::refused(stop(Reason::Forbidden), Retry::Backoff);
    let seen = fold(seen, &step, Done::Failed(refused));
    assert_eq!(plan(&seen).step, Step::Idle);
    assert!(plan(&seen).wake > seen.now);
}

#[test]
fn failures_are_counted_per_spec_and_forgotten_when_the_work_is_done() {
    let rejected = || Done::Failed(Setback::of(&Fault::Rejected("no".to_owned())));
    let case = seen()
        .intent(1, mins(9))
        .failed(4, "Rejected", mins(8))
        .list(secs(1), &[]);
    let look = Step::Look {
        newer_than: start(),
    };
    let again = fold(case.clone().0, &look, rejected());
    assert_eq!(status::wanted(&again).failures, 5);
    let edited = case.with(|s| s.object.generation = 2);
    let anew = fold(edited.0, &look, rejected());
    assert_eq!(status::wanted(&anew).failures, 1);
    let done = seen()
        .settled(1, days(1))
        .list(secs(1), &[(1, days(1))])
        .failed(4, "Rejected", mins(9));
    assert_eq!(status::wanted(&done.0).failures, 0);
}

#[test]
fn a_publication_records_what_it_replaces() {
    use super::super::minting::publication;
    let age = days(2);
    let intent = |case: &Case| case.0.object.intent.ours().unwrap().clone();
    let rows = [
        ("the living key", seen().settled(1, age), vec![(1, days(1))]),
        (
            "overlap 0: not before three minutes after the opening",
            seen_with(r#""lifetime": "30d", "rotation": {"overlap": "0s"}"#)
                .settled(1, age)
                .intent(2, secs(10)),
            vec![(1, secs(170))],
        ),
        (
            "a key that has expired goes as soon as may be",
            seen().settled(1, days(31)).intent(2, secs(10)),
            vec![(1, secs(170))],
        ),
        (
            "a key that is gone is not recorded",
            seen().settled(1, age).list(secs(1), &[]),
            vec![],
        ),
        (
            "the Secret is gone",
            seen().intent(1, age).mirrored(1, age),
            vec![(1, days(1))],
        ),
        (
            "both remember others",
            seen()
                .settled(3, age)
                .retiring(1, mins(1))
                .retiring_in_status(1, mins(1))
                .retiring_in_status(2, mins(2)),
            vec![
                (1, mins(1)),
                (2, mins(2) - jiff::SignedDuration::from_millis(123)),
                (3, days(1)),
            ],
        ),
    ];
    for (situation, case, wanted) in rows {
        let got = publication(&case.0, &intent(&case), &published(9, start())).retiring;
        let got: Vec<_> = got
            .iter()
            .map(|key| (key.id.clone(), key.revoke_at - start()))
            .collect();
        let wanted: Vec<_> = wanted.into_iter().map(|(n, at)| (id(n), at)).collect();
        let got: Vec<_> = got
            .into_iter()
            .map(|(id, span)| (id, jiff::SignedDuration::try_from(span).unwrap()))
            .collect();
        assert_eq!(got, wanted, "{situation}");
    }
}

#[test]
fn a_wake_is_after_now_and_not_after_what_is_due() {
    let all = [
        ("new", seen(), RESYNC),
        ("an attempt is open", seen().intent(1, secs(20)), secs(40)),
        (
            "a failure",
            seen().intent(1, mins(9)).failed(1, "Rejected", secs(0)),
            secs(2),
        ),
        ("rotation", seen().settled(1, days(20) - secs(7)), secs(7)),
        ("expiry", seen().settled(1, days(30) - secs(7)), secs(7)),
        (
            "overlap",
            seen().settled(2, mins(1)).retiring(1, secs(9)),
            secs(9),
        ),
        (
            "resync",
            seen().settled(2, days(1)).list(mins(9), &[(2, days(1))]),
            secs(60),
        ),
        (
            "deletion without intent",
            seen().deleting(secs(10)),
            secs(50),
        ),
    ];
    for (situation, case, latest) in all {
        let wake = case.plan().wake;
        assert!(wake > case.0.now, "{situation}");
        assert!(wake <= case.0.now + latest + secs(1), "{situation}: {wake}");
    }
}

#[test]
fn strange_facts_do_not_break_it() {
    let max = jiff::Timestamp::MAX;
    let odd = seen().settled(1, days(1)).with(|s| {
        s.now = max;
        s.object.status.failures = u32::MAX;
        s.object.status.serial = Some(u64::MAX);
        s.object.uid = Uid::new("");
    });
    let _ = odd.plan();
    let early = seen()
        .settled(1, days(1))
        .with(|s| s.now = jiff::Timestamp::MIN);
    let _ = early.plan();
    assert_eq!(Serial::LAST.next(), Serial::LAST);
    assert_eq!(KeyId::new("x").as_str(), "x");
}
