//! What an answer changes in the facts. Pure, like the planner: the shell carries answers here and
//! asks for the next step.

use jiff::Timestamp;

use super::{
    Attempt, Done, Errand, Freshness, Published, Secret, Seen, Setback, Stage, Step, living,
};
use crate::api::conditions::Reason;
use crate::plan::Stop;
use crate::plan::backoff::MOST_FAILURES;
use crate::plan::fault::Retry;
use crate::plan::port::{AccountId, Effect, NewKey};
use crate::plan::record::{Intent, Nonce};

/// The facts after `step` was answered with `done`.
#[must_use]
pub fn fold(mut seen: Seen, step: &Step, done: Done) -> Seen {
    match done {
        Done::Refreshed { object, secret } => refreshed(&mut seen, *object, secret),
        Done::Looked(list) => seen.list = Some(list),
        Done::Written(object) => written(&mut seen, step, *object),
        Done::Rehearsed { secret, base } => {
            let before = seen.secret.published().map(|key| key.nonce.clone());
            seen.secret = secret;
            seen.base = *base;
            seen.pass.rehearsed = true;
            rehearsed(&mut seen, before.as_ref());
        }
        Done::Minted(key) => minted(&mut seen, &key),
        Done::Proven(account) => proven(&mut seen, &account),
        Done::Published(held) => {
            seen.secret = Secret::Ours(held);
            seen.pass.attempt = None;
        }
        Done::Outrun(secret) => {
            seen.secret = secret;
            let outrun = Stop::new(
                Reason::SecretConflict,
                "Somebody else wrote the Secret at the same time; the key that was made is revoked, and it is tried again.",
            );
            unwanted(&mut seen, Setback::refused(outrun, Retry::Backoff));
        }
        Done::Revoked(id) => {
            seen.freshness = Freshness::Cached;
            seen.pass.revoked.push(id);
            drop_unwanted(&mut seen);
        }
        Done::Unpublished => {
            // What the Secret told of the last attempt is remembered beyond the Secret.
            if let Some(intent) = seen
                .object
                .intent
                .ours()
                .filter(|intent| living::complete(&seen, intent))
            {
                seen.settled = Some(intent.nonce.clone());
            }
            seen.secret = Secret::Absent;
        }
        Done::Amended(held) => seen.secret = Secret::Ours(held),
        Done::Retained(ids) => seen.base.ledger = super::Ledger::Present(ids),
        Done::Over => {}
        Done::Failed(setback) => failed(&mut seen, step, setback),
    }
    seen
}

fn refreshed(seen: &mut Seen, object: super::Object, secret: Secret) {
    seen.object = object;
    seen.secret = secret;
    seen.freshness = Freshness::Live;
    seen.pass.refreshed_at.get_or_insert(seen.now);
    let ours = |attempt: &Attempt| {
        seen.secret
            .published()
            .is_some_and(|key| key.nonce == attempt.intent.nonce)
    };
    // Our own Publish had landed after all.
    if seen.pass.attempt.as_ref().is_some_and(ours) {
        seen.pass.attempt = None;
    }
}

fn written(seen: &mut Seen, step: &Step, object: super::Object) {
    seen.object = object;
    if let Step::Open(intent) = step {
        seen.pass.attempt = Some(Attempt {
            intent: intent.clone(),
            stage: Stage::Opened,
        });
    }
}

fn rehearsed(seen: &mut Seen, known: Option<&Nonce>) {
    let Some(attempt) = seen.pass.attempt.clone() else {
        return;
    };
    let now_known = seen.secret.published().map(|key| &key.nonce);
    let refused = if now_known != known {
        Err(Stop::new(
            Reason::Minting,
            "Another attempt has just published a key; it is looked at first.",
        ))
    } else if let Secret::Foreign(why) = &seen.secret {
        Err(living::secret_conflict(seen, why))
    } else {
        seen.base.mint.clone()
    };
    match refused.and_then(|()| living::errand(seen, &attempt.intent)) {
        Ok(errand) => advance(seen, Stage::Rehearsed(errand)),
        Err(stop) => {
            seen.settled = Some(attempt.intent.nonce);
            setback(seen, Setback::refused(stop, Retry::Backoff));
        }
    }
}

fn minted(seen: &mut Seen, key: &NewKey) {
    let Some(Attempt {
        intent,
        stage: Stage::Rehearsed(errand),
    }) = seen.pass.attempt.clone()
    else {
        return;
    };
    match living::unwanted(seen, &intent, &errand, key) {
        Some(setback) => advance(seen, Stage::Unwanted(key.id.clone(), setback)),
        None => {
            let published = published(seen, &intent, errand, key);
            advance(seen, Stage::Minted(published));
        }
    }
}

fn published(seen: &Seen, intent: &Intent, errand: Errand, key: &NewKey) -> Published {
    Published {
        id: key.id.clone(),
        serial: intent.serial,
        nonce: intent.nonce.clone(),
        created_at: key.created_at,
        expires_at: key.expires_at.unwrap_or(errand.order.expires_at),
        account: errand.order.account,
        server: errand.server,
        installation: seen.claim.installation.clone(),
        shape: seen.object.shape.clone(),
    }
}

fn proven(seen: &mut Seen, account: &AccountId) {
    let Some(Attempt {
        stage: Stage::Minted(key),
        ..
    }) = seen.pass.attempt.clone()
    else {
        return;
    };
    if key.account == *account {
        seen.pass.proven_at = Some(seen.now);
        advance(seen, Stage::Proven(key));
    } else {
        let stop = Stop::new(
            Reason::ProofFailed,
            format!(
                "The new key signed in as account {account} instead of {}; it is revoked. Check what stands between the operator and the server.",
                key.account
            ),
        );
        unwanted(seen, Setback::refused(stop, Retry::Backoff));
    }
}

/// The key of this pass's attempt will not be published.
fn unwanted(seen: &mut Seen, setback: Setback) {
    let id = match seen.pass.attempt.as_ref().map(|attempt| &attempt.stage) {
        Some(Stage::Minted(key) | Stage::Proven(key)) => key.id.clone(),
        Some(Stage::Opened | Stage::Rehearsed(_) | Stage::Unwanted(..)) | None => return,
    };
    advance(seen, Stage::Unwanted(id, setback));
}

/// The unwanted key of this pass's attempt is gone, and the attempt with it.
fn drop_unwanted(seen: &mut Seen) {
    let Some(attempt) = seen.pass.attempt.take() else {
        return;
    };
    let why = match attempt.stage {
        Stage::Unwanted(_, setback) => setback,
        Stage::Opened | Stage::Rehearsed(_) | Stage::Minted(_) | Stage::Proven(_) => {
            Setback::refused(Stop::plain(Reason::Minting), Retry::Backoff)
        }
    };
    seen.settled = Some(attempt.intent.nonce);
    setback(seen, why);
}

fn advance(seen: &mut Seen, stage: Stage) {
    if let Some(attempt) = &mut seen.pass.attempt {
        attempt.stage = stage;
    }
}

fn failed(seen: &mut Seen, step: &Step, why: Setback) {
    let Some(attempt) = seen.pass.attempt.clone() else {
        return setback(seen, why);
    };
    match (step, &attempt.stage) {
        // The key exists, is in nobody's hands, and no copy of a Publish can land: it goes at once.
        (Step::Prove, Stage::Minted(_)) => unwanted(seen, why),
        (Step::Publish(_), Stage::Proven(_)) if why.effect == Effect::None => unwanted(seen, why),
        // It did not go, or a copy of its Publish may land: it is left to the sweep.
        (_, Stage::Minted(_) | Stage::Proven(_) | Stage::Unwanted(..)) => setback(seen, why),
        (_, Stage::Opened | Stage::Rehearsed(_)) => {
            if why.effect == Effect::None {
                seen.settled = Some(attempt.intent.nonce);
            }
            setback(seen, why);
        }
    }
}

/// Ends the making of keys in this pass, and counts the failure.
fn setback(seen: &mut Seen, why: Setback) {
    seen.pass.attempt = None;
    if why.asked_wait().is_none() {
        let count = seen
            .object
            .status
            .failures
            .saturating_add(1)
            .min(MOST_FAILURES);
        seen.pass.failure = Some((count, whole_seconds(seen.now)));
    }
    seen.pass.setback = Some(why);
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    crate::api::time(at).0
}
