//! What an answer changes in the facts. Pure, like the planner: the shell carries answers here and
//! asks for the next step.

use super::{
    Amendment, Attempt, Done, Finalizer, Freshness, Handling, Ledger, Owner, Secret, Seen, Setback,
    Stage, Step, ending, keys, making, minting, status,
};
use crate::api::conditions::Reason;
use crate::plan::fault::Retry;
use crate::plan::port::{AccountId, Effect, KeyId, NewKey};
use crate::plan::record::{Intent, Nonce};
use crate::plan::rotation::after;
use crate::plan::{SEND_WITHIN, Stop};

/// The facts after `step` was answered with `done`.
#[must_use]
pub fn fold(mut seen: Seen, step: &Step, done: Done) -> Seen {
    match done {
        Done::Refreshed { object, secret } => refreshed(&mut seen, *object, secret),
        Done::Looked(list) => {
            seen.freshness = Freshness::Cached;
            seen.list = Some(list);
        }
        Done::Compared(values) => {
            if let Secret::Ours(held) = &mut seen.secret {
                held.values = values;
            }
        }
        Done::Written(object) => written(&mut seen, step, *object),
        Done::Rehearsed {
            secret,
            base,
            object,
        } => {
            let before = seen.secret.published().map(|key| key.nonce.clone());
            seen.secret = secret;
            seen.base = *base;
            seen.object = *object;
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
        Done::Revoked(id) => revoked(&mut seen, id),
        Done::Adjusted => adjusted(&mut seen, step),
        Done::Unpublished => unpublished(&mut seen),
        Done::Amended(held) => {
            if *step == Step::Amend(Amendment::Dress) {
                seen.pass.secret = Handling::Dressed;
            }
            seen.secret = Secret::Ours(held);
        }
        Done::Restarted(restarted) => seen.pass.restarted.push(restarted),
        Done::NotRestarted(workload, why) => seen.pass.unrestarted.push((workload, why)),
        Done::Retained(ids) => seen.base.ledger = Ledger::Present(ids),
        Done::Over => {}
        Done::Failed(setback) => failed(&mut seen, step, setback),
    }
    seen
}

fn revoked(seen: &mut Seen, id: KeyId) {
    seen.freshness = Freshness::Cached;
    if let Some(list) = &mut seen.list {
        list.drop_key(&id);
    }
    seen.pass.revoked.push(id);
    drop_unwanted(seen);
}

/// The list at hand shows the key as it was changed.
fn adjusted(seen: &mut Seen, step: &Step) {
    seen.freshness = Freshness::Cached;
    if let (Step::Adjust { id, change }, Some(list)) = (step, &mut seen.list) {
        list.adjust(id, change);
    }
}

fn unpublished(seen: &mut Seen) {
    // What the Secret told of the last attempt is remembered beyond the Secret.
    let intent = seen.object.intent.ours();
    if let Some(intent) = intent.filter(|intent| keys::complete(seen, intent)) {
        seen.settled = Some(intent.nonce.clone());
    }
    seen.freshness = Freshness::Cached;
    seen.secret = Secret::Absent;
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
    let intent = attempt.intent;
    let errand = fresh(seen, known, &intent).and_then(|()| minting::errand(seen, &intent));
    match errand {
        Ok(errand) => advance(seen, Stage::Rehearsed(errand)),
        Err(stop) => {
            seen.settled = Some(intent.nonce);
            setback(seen, Setback::refused(stop, Retry::Backoff), Cost::Nothing);
        }
    }
}

/// Whether what the rehearsal has read live is still what the attempt was opened on.
fn fresh(seen: &Seen, known: Option<&Nonce>, intent: &Intent) -> Result<(), Stop> {
    let still_open = seen.object.intent.ours().map(|intent| &intent.nonce) == Some(&intent.nonce)
        && seen.object.finalizer == Finalizer::Present;
    if !still_open || ending::cause(seen).is_some() {
        return Err(Stop::new(
            Reason::Minting,
            "The ApiKey was changed while its key was being made; it is looked at first.",
        ));
    }
    let held = seen.secret.published().map(|key| &key.nonce);
    if held.is_some() && held != known {
        return Err(Stop::new(
            Reason::Minting,
            "Another attempt has just published a key; it is looked at first.",
        ));
    }
    if seen.now > after(intent.opened_at, SEND_WITHIN) {
        return Err(Stop::new(
            Reason::Minting,
            "The cluster took so long to answer that the attempt is opened anew.",
        ));
    }
    making::secret_is_free(seen)?;
    making::may_be_made(seen, making::need(seen).unwrap_or(making::Need::Renewal))
}

fn minted(seen: &mut Seen, key: &NewKey) {
    let Some(Attempt {
        intent,
        stage: Stage::Rehearsed(errand),
    }) = seen.pass.attempt.clone()
    else {
        return;
    };
    if minting::is_anothers(seen, &intent, key) {
        // What was answered is another request: what became of ours, nobody knows.
        let why = Setback {
            stop: Stop::plain(Reason::ProtocolError),
            effect: Effect::Perhaps,
            retry: Retry::Backoff,
        };
        return setback(seen, why, Cost::Nothing);
    }
    let stage = if let Some(setback) = minting::unwanted(seen, &intent, &errand, key) {
        Stage::Unwanted(key.id.clone(), setback)
    } else {
        Stage::Minted(minting::published(seen, &intent, errand, key))
    };
    advance(seen, stage);
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
    seen.pass.proven_at = None;
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
    setback(seen, why, Cost::Key);
}

fn advance(seen: &mut Seen, stage: Stage) {
    if let Some(attempt) = &mut seen.pass.attempt {
        attempt.stage = stage;
    }
}

fn failed(seen: &mut Seen, step: &Step, why: Setback) {
    match (step, seen.pass.attempt.clone()) {
        (_, Some(attempt)) => failed_attempt(seen, step, attempt, why),
        // Nothing but an idle comparison waits for this list.
        (Step::Look { .. }, None) if making::need(seen).is_none() && !ending(seen) => {
            seen.pass.blind = true;
        }
        // Whether it was recorded or not: only this process mints for it, and did not.
        (Step::Open(intent), None) => {
            seen.settled = Some(intent.nonce.clone());
            setback(seen, why, Cost::Nothing);
        }
        // Better a dead key in a Secret that nobody may change than a living one.
        (Step::Unpublish, None) if why.effect == Effect::None && is_adopted(seen) => {
            seen.pass.secret = Handling::Immovable;
        }
        (Step::Record(_), None) => {
            seen.pass.unrecorded = true;
            setback(seen, why, Cost::Nothing);
        }
        (_, None) => setback(seen, why, Cost::Nothing),
    }
}

fn is_adopted(seen: &Seen) -> bool {
    let held = seen.secret.ours();
    held.is_some_and(|held| held.owner == Owner::Adopted)
}

/// Whether an ApiKey is on its way to its end.
fn ending(seen: &Seen) -> bool {
    ending::cause(seen).is_some_and(|cause| !ending::finished(seen, cause))
}

fn failed_attempt(seen: &mut Seen, step: &Step, attempt: Attempt, why: Setback) {
    match (step, &attempt.stage) {
        // The key exists, is in nobody's hands, and no copy of a Publish can land: it goes at once.
        (Step::Prove, Stage::Minted(_)) => unwanted(seen, not_proven(why)),
        (Step::Publish(_), Stage::Proven(_)) if why.effect == Effect::None => unwanted(seen, why),
        // It did not go, or a copy of its Publish may land: it is left to the sweep.
        (_, Stage::Minted(_) | Stage::Proven(_) | Stage::Unwanted(..)) => {
            setback(seen, why, Cost::Key);
        }
        (_, Stage::Opened | Stage::Rehearsed(_)) => {
            if why.effect == Effect::None || !matches!(step, Step::Mint(_)) {
                seen.settled = Some(attempt.intent.nonce);
            }
            setback(seen, why, Cost::Nothing);
        }
    }
}

/// A refusal of the new key says nothing about the connection's own credential.
fn not_proven(why: Setback) -> Setback {
    match why.stop.reason {
        Reason::CredentialRejected | Reason::Forbidden => Setback {
            stop: Stop::plain(Reason::ProofFailed),
            retry: Retry::Backoff,
            ..why
        },
        _ => why,
    }
}

/// What a failure has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// A request or two.
    Nothing,
    /// A key on the server: counted, whatever the reason.
    Key,
}

/// Ends the making of keys in this pass, and counts the failure.
fn setback(seen: &mut Seen, why: Setback, cost: Cost) {
    seen.pass.attempt = None;
    if cost == Cost::Key || why.asked_wait().is_none() {
        let before = if status::spec_is_known(seen) {
            seen.object.status.failures
        } else {
            0
        };
        seen.pass.failure = Some((before.saturating_add(1), crate::api::time(seen.now).0));
    }
    seen.pass.setback = Some(why);
}
