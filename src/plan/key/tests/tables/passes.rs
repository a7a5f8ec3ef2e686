//! What an answer leads to, within a pass and after it.

use crate::api::conditions::Reason;
use crate::plan::fault::Retry;
use crate::plan::key::{
    Done, Finalizer, Freshness, IntentSeen, Object, Secret, Seen, Setback, Stage, Step, Why, fold,
    plan, status,
};
use crate::plan::port::{AccountId, Effect, Fault, NewKey};
use crate::plan::record::{Serial, Uid};
use crate::plan::rotation;

use super::stop;
use crate::plan::key::tests::build::*;

/// A pass up to the rehearsal of its attempt.
fn rehearsed() -> Seen {
    let seen = seen().0;
    let step = plan(&seen).step;
    let Step::Open(intent) = step.clone() else {
        panic!("{step:?}")
    };
    let mut object = seen.object.clone();
    object.intent = IntentSeen::Ours(intent);
    object.finalizer = Finalizer::Present;
    let seen = fold(seen, &step, Done::Written(Box::new(object)));
    let step = plan(&seen).step;
    let done = taken(&seen, Secret::Absent);
    fold(seen, &step, done)
}

/// The Secret's write would be taken, and nothing else has changed.
fn taken(seen: &Seen, secret: Secret) -> Done {
    Done::Rehearsed {
        secret,
        base: Box::new(seen.base.clone()),
        object: Box::new(seen.object.clone()),
    }
}

/// A pass up to the key that the server has just made.
fn minted(text: String) -> Seen {
    let seen = rehearsed();
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
fn an_answer_to_another_request_ends_nobodys_key() {
    let seen = minted(text(7));
    assert!(
        !word(&plan(&seen).step).starts_with("Revoke"),
        "{:?}",
        plan(&seen).step
    );
    let live = Seen {
        freshness: Freshness::Live,
        ..seen.clone()
    };
    assert!(
        !word(&plan(&live).step).starts_with("Revoke"),
        "{:?}",
        plan(&live).step
    );
    let told = face(&status::wanted(&seen));
    assert!(told.starts_with("-Ready:ProtocolError"), "{told}");
}

/// The facts, read live.
fn refreshed(seen: Seen, secret: Secret) -> Seen {
    let object = Box::new(seen.object.clone());
    fold(seen, &Step::Refresh, Done::Refreshed { object, secret })
}

#[test]
fn a_key_that_signs_in_as_somebody_else_is_revoked() {
    let seen = minted(String::new());
    let seen = fold(seen, &Step::Prove, Done::Proven(AccountId::new("Users-2")));
    let seen = refreshed(seen, Secret::Absent);
    assert_eq!(word(&plan(&seen).step), "Revoke k1 Unwanted");
}

#[test]
fn an_unwanted_key_that_is_in_the_secret_after_all_is_not_revoked() {
    let unwanted = fold(
        minted(String::new()),
        &Step::Prove,
        Done::Failed(Setback::of(&Fault::Unauthorized)),
    );
    let key = |attempt| {
        let mut secret = seen().published(1, secs(0)).0.secret;
        if let Secret::Ours(held) = &mut secret {
            held.published.as_mut().unwrap().nonce = nonce(attempt);
        }
        secret
    };
    let landed = refreshed(unwanted.clone(), key(99));
    assert!(landed.pass.attempt.is_none(), "our own Publish has landed");
    let forged = refreshed(unwanted, key(1));
    assert_eq!(
        word(&plan(&forged).step),
        "Record",
        "never the id that the Secret names"
    );
}

#[test]
fn what_is_settled_is_known_without_waiting() {
    let seen = seen().settled(1, days(1));
    let settled = |step: &Step, done| fold(seen.clone().0, step, done).settled;
    let open = Step::Open(seen.0.object.intent.ours().unwrap().clone());
    let unanswered = || Done::Failed(Setback::of(&Fault::Uncertain("cut".to_owned())));
    let refused = || Done::Failed(Setback::of(&Fault::Rejected("no".to_owned())));
    assert_eq!(
        settled(&open, unanswered()),
        Some(nonce(1)),
        "nobody minted for it"
    );
    assert_eq!(
        settled(&Step::Unpublish, Done::Unpublished),
        Some(nonce(1)),
        "the Secret said so"
    );

    let attempt = rehearsed();
    let Step::Mint(order) = plan(&attempt).step else {
        panic!()
    };
    let mint = |done| fold(attempt.clone(), &Step::Mint(order.clone()), done).settled;
    assert_eq!(mint(refused()), Some(nonce(99)), "answered");
    assert_eq!(mint(unanswered()), None, "it may land");
}

#[test]
fn a_revoked_key_is_not_named_any_more() {
    let seen = seen()
        .settled(2, mins(4))
        .retiring_in_status(1, -secs(9))
        .list(mins(4) - secs(20), &[(1, days(2)), (2, mins(4))])
        .live()
        .0;
    let step = plan(&seen).step;
    assert_eq!(word(&step), "Revoke k1 Retired");
    let seen = fold(seen, &step, Done::Revoked(id(1)));
    assert!(status::wanted(&seen).retiring.is_empty());
    assert_eq!(word(&plan(&seen).step), "Record");
}

#[test]
fn facts_from_before_a_list_or_a_revocation_are_read_again() {
    let live = || seen().settled(1, days(1)).live().0;
    let look = Step::Look {
        newer_than: start(),
    };
    let list = crate::plan::port::List {
        began: start(),
        keys: std::sync::Arc::default(),
    };
    let revoke = Step::Revoke {
        id: id(2),
        why: Why::Retired,
    };
    for (step, done) in [
        (&look, Done::Looked(list)),
        (&revoke, Done::Revoked(id(2))),
        (&Step::Unpublish, Done::Unpublished),
    ] {
        assert_eq!(
            fold(live(), step, done).freshness,
            Freshness::Cached,
            "{step:?}"
        );
    }
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
        why: Why::Unwanted,
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
        let refused = stop(Reason::SecretRefused);
        Done::Failed(Setback {
            stop: refused,
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
    object.finalizer = Finalizer::Present;
    let mut seen = fold(seen, &step, Done::Written(Box::new(object)));
    let step = plan(&seen).step;
    let rehearsed = taken(&seen, Secret::Absent);
    seen.now += secs(15);
    let in_time = fold(seen.clone(), &step, rehearsed.clone());
    assert_eq!(word(&plan(&in_time).step), "Mint");
    let mut late = in_time;
    late.now += secs(1);
    assert_eq!(word(&plan(&late).step), "Record");
    seen.now += secs(1);
    let late = fold(seen, &step, rehearsed);
    assert!(late.pass.attempt.is_none());
    assert_eq!(late.settled, Some(nonce(99)), "nothing was sent");
}

#[test]
fn a_rehearsal_that_meets_an_unknown_key_ends_the_attempt() {
    let secret = seen().published(1, secs(3)).0.secret;
    let seen = seen().0;
    let step = plan(&seen).step;
    let Step::Open(intent) = step.clone() else {
        panic!("{step:?}")
    };
    let mut object = seen.object.clone();
    object.intent = IntentSeen::Ours(intent);
    object.finalizer = Finalizer::Present;
    let seen = fold(seen, &step, Done::Written(Box::new(object)));
    let step = plan(&seen).step;
    let done = taken(&seen, secret);
    let seen = fold(seen, &step, done);
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
    assert_eq!(
        status::wanted(&case.0).failures,
        4,
        "they stay while the work is to be done"
    );
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
fn a_wake_is_after_now_and_not_after_what_is_due() {
    let due = rotation::due(start(), start() + days(30), None, uid().as_str());
    let all = vec![
        ("new", seen(), RESYNC),
        ("an attempt is open", seen().intent(1, secs(20)), secs(40)),
        (
            "a failure",
            seen().intent(1, mins(9)).failed(1, "Rejected", secs(0)),
            secs(2),
        ),
        (
            "rotation",
            seen().settled(1, due.from.duration_since(start()) - secs(7)),
            secs(7),
        ),
        ("expiry", seen().settled(1, days(30) - secs(7)), secs(7)),
        (
            "overlap",
            seen()
                .settled(2, mins(2))
                .retiring(1, secs(9))
                .retiring_in_status(1, secs(9)),
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
}

#[test]
fn nothing_is_made_for_an_api_key_that_has_changed_meanwhile() {
    let changes: [fn(&mut Object); 4] = [
        |object| object.deleting = Some(start()),
        |object| object.spec.revoked = true,
        |object| object.finalizer = Finalizer::Missing,
        |object| object.intent = IntentSeen::Missing,
    ];
    for change in changes {
        let seen = seen().0;
        let step = plan(&seen).step;
        let Step::Open(intent) = step.clone() else {
            panic!("{step:?}")
        };
        let mut object = seen.object.clone();
        object.intent = IntentSeen::Ours(intent.clone());
        object.finalizer = Finalizer::Present;
        let seen = fold(seen, &step, Done::Written(Box::new(object.clone())));
        change(&mut object);
        let step = plan(&seen).step;
        let done = Done::Rehearsed {
            secret: Secret::Absent,
            base: Box::new(seen.base.clone()),
            object: Box::new(object),
        };
        let seen = fold(seen, &step, done);
        assert!(seen.pass.attempt.is_none());
        assert_eq!(seen.settled, Some(intent.nonce), "nothing was sent");
    }
}
