//! What is asked of the server in one attempt, what is to be thought of its answer, and what goes
//! into the Secret.

use jiff::Timestamp;

use super::keys::{predecessor, retiring};
use super::{Errand, Publication, Published, Seen, Setback, Step, adjusting, keys, making};
use crate::api::conditions::Reason;
use crate::plan::fault::Retry;
use crate::plan::marker::{self, Marker, NamespaceHash, Words};
use crate::plan::port::{AccountId, Expiry, KeyId, NewKey, Order, ServerIdentity};
use crate::plan::record::{Intent, Retiring, Serial};
use crate::plan::rotation::{self, Occasion, after};
use crate::plan::{REVOKE_AFTER, SEND_WITHIN, Stop};

/// The id of a key that there is not.
const INVENTED: &str = "rehearsal-of-a-key-to-come";

/// The key that this attempt asks for, and from which server.
pub(super) fn errand(seen: &Seen, intent: &Intent) -> Result<Errand, Stop> {
    let (object, base) = (&seen.object, &seen.base);
    let server = base.server.as_ref().map_err(Clone::clone)?;
    let account = base
        .account
        .clone()
        .ok_or_else(|| Stop::plain(Reason::WaitingForAccount))?;
    let end = making::wanted_end(seen, Occasion::Replacement, intent.opened_at)?;
    let words = Words {
        purpose: object.spec.purpose.as_deref(),
        on_behalf_of: object.spec.on_behalf_of.as_deref(),
        requested_by: object.requested_by.as_deref(),
        home: &format!("{}/{}", object.namespace, object.name),
    };
    let text = marker::text(words, &mark(seen, intent), server.ability.text_chars);
    let order = Order {
        account,
        text,
        notes: adjusting::notes(object),
        extras: adjusting::extras(&object.spec),
        expires_at: end.at,
        send_by: after(intent.opened_at, SEND_WITHIN),
    };
    Ok(Errand {
        order,
        server: server.identity.clone(),
    })
}

/// The marker of this attempt.
fn mark(seen: &Seen, intent: &Intent) -> Marker {
    Marker {
        installation: seen.claim.installation.clone(),
        namespace: NamespaceHash::of(&seen.object.namespace),
        uid: seen.object.uid.clone(),
        serial: intent.serial,
        nonce: intent.nonce.clone(),
    }
}

/// Whether a key is that of another attempt, whole marker and all: an answer that was meant for somebody
/// else. It may be in use, and is not ours to end.
pub(super) fn is_anothers(seen: &Seen, intent: &Intent, key: &NewKey) -> bool {
    marker::parse(&key.text).is_some_and(|marker| marker != mark(seen, intent))
}

/// Why a key that the server has just made is not to be published, if it is not.
pub(super) fn unwanted(
    seen: &Seen,
    intent: &Intent,
    errand: &Errand,
    key: &NewKey,
) -> Option<Setback> {
    let refuse = |message: &str| {
        let message = format!(
            "{message} The key was revoked. {}",
            Reason::ProtocolError.fix()
        );
        Some(Setback::refused(
            Stop::new(Reason::ProtocolError, message),
            Retry::Backoff,
        ))
    };
    if marker::parse(&key.text).as_ref() != Some(&mark(seen, intent)) {
        return refuse("The server made a key whose text is not the one that was asked for.");
    }
    let ordered = errand.order.expires_at;
    match key.expires_at {
        Some(stored) if !rotation::clearly_later(stored, ordered) && stored > seen.now => None,
        Some(_) => {
            refuse("The server made a key with another end than the one that was asked for.")
        }
        None => match seen
            .base
            .server
            .as_ref()
            .map(|server| server.ability.expiry)
        {
            Ok(Expiry::Native) => refuse("The server made a key that never ends."),
            Ok(Expiry::None) | Err(_) => None,
        },
    }
}

/// A key that the server has made as it was asked to.
pub(super) fn published(seen: &Seen, intent: &Intent, errand: Errand, key: &NewKey) -> Published {
    Published {
        id: key.id.clone(),
        serial: intent.serial,
        nonce: intent.nonce.clone(),
        // On our clock, whatever the server's says: it was made between these two.
        created_at: key.created_at.min(seen.now).max(intent.opened_at),
        expires_at: key.expires_at.unwrap_or(errand.order.expires_at),
        account: errand.order.account,
        server: errand.server,
        installation: seen.claim.installation.clone(),
        shape: seen.object.shape.clone(),
    }
}

/// The Secret's write with an invented key, as like the real one as can be.
pub(super) fn rehearsal(seen: &Seen, intent: &Intent) -> Step {
    let base = &seen.base;
    let server = base.server.as_ref().map(|server| server.identity.as_str());
    let invented = Published {
        id: KeyId::new(INVENTED),
        serial: intent.serial,
        nonce: intent.nonce.clone(),
        created_at: seen.now,
        expires_at: seen.now,
        account: base
            .account
            .clone()
            .unwrap_or_else(|| AccountId::new(INVENTED)),
        server: ServerIdentity::new(server.unwrap_or(INVENTED)),
        installation: seen.claim.installation.clone(),
        shape: seen.object.shape.clone(),
    };
    Step::Rehearse(Box::new(publication(seen, intent, &invented)))
}

/// What is written to the Secret for this key.
pub(super) fn publication(seen: &Seen, intent: &Intent, key: &Published) -> Publication {
    // The overlap begins when no copy of this Publish can land any more.
    let earliest = after(intent.opened_at, REVOKE_AFTER);
    let overlap = after(earliest, seen.object.spec.rotation.overlap.duration());
    let mut replaced = retiring(seen);
    if seen.secret.published().is_none() {
        // Status alone tells of them, and consumers may know any of them as the last.
        for key in &mut replaced {
            key.revoke_at = key.revoke_at.max(overlap);
        }
    }
    let old = predecessor(seen).map(|old| (old.serial, old.id.clone(), old.expires_at));
    if let Some((serial, id, expires_at)) = old.or_else(|| mirrored_predecessor(seen))
        && replaced.iter().all(|key| key.id != id)
    {
        replaced.push(Retiring {
            serial,
            id,
            revoke_at: overlap.min(expires_at).max(earliest),
        });
    }
    Publication {
        published: key.clone(),
        retiring: replaced,
        rotate_handled: seen.object.rotate.clone(),
        previous: previous(seen),
    }
}

/// The key whose value stays in the Secret beside the new one: the one that was current.
fn previous(seen: &Seen) -> Option<KeyId> {
    let kept = keys::current(seen).filter(|_| seen.object.spec.secret.keep_previous);
    kept.map(|key| key.id.clone())
}

/// The key that status remembers, when the Secret that held it is gone.
fn mirrored_predecessor(seen: &Seen) -> Option<(Serial, KeyId, Timestamp)> {
    if seen.secret.published().is_some() {
        return None;
    }
    let old = seen.object.status.current.as_ref()?;
    let serial = Serial::from_number(old.serial)?;
    let expires_at = old
        .expires_at
        .as_ref()
        .map_or(Timestamp::MAX, |time| time.0);
    Some((serial, KeyId::new(&old.id), expires_at))
}
