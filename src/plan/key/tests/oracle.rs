//! The invariants of the protocol, judged on the stores behind the two doors, never on what the
//! planner says of itself.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::build::*;
use super::world::{Stored, World};
use crate::api::RotationMode;
use crate::plan::key::{Object, Publication};
use crate::plan::port::KeyId;
use crate::plan::record::{Nonce, Serial};

/// What has happened, as far as the invariants speak of it.
#[derive(Default)]
pub(super) struct Oracle {
    /// Which attempt has published under each serial.
    serials: BTreeMap<Serial, Nonce>,
    doubled: Option<Serial>,
    last: Option<Serial>,
    /// Keys that were in the Secret, and from when on they may go.
    consumed: BTreeMap<KeyId, Option<Timestamp>>,
    /// What was revoked last, not yet judged.
    revoked: Option<KeyId>,
    retained: BTreeSet<KeyId>,
    /// `revoked` was set and taken back: the next Publish mends the Secret.
    pub(super) excused: bool,
    /// `deletionPolicy: Retain` was set.
    pub(super) let_go: bool,
    /// Somebody dropped the intent, or replaced it by an older one.
    pub(super) tampered: bool,
}

impl Oracle {
    pub(super) fn publishes(&mut self, publication: &Publication) {
        let key = &publication.published;
        let before = self.serials.insert(key.serial, key.nonce.clone());
        // A second copy of the same write is the same key.
        if before.is_some_and(|nonce| nonce != key.nonce) {
            self.doubled = Some(key.serial);
        }
    }

    pub(super) fn secret_changes(
        &mut self,
        before: Option<&Stored>,
        after: Option<&Stored>,
        now: Timestamp,
        object: Option<&Object>,
    ) {
        let Some(after) = after else { return };
        let overlap = object.map(|object| object.spec.rotation.overlap.duration());
        if before.is_none_or(|before| before.value != after.value) {
            for (id, free) in &mut self.consumed {
                if free.is_none() && *id != after.value {
                    *free = Some(now + overlap.unwrap_or_default());
                }
            }
            self.consumed.insert(after.value.clone(), None);
        }
        let serial = after.held.published.as_ref().map(|key| key.serial);
        if before.is_some() && serial < self.last {
            self.doubled = serial;
        }
        self.last = serial;
    }

    pub(super) fn revokes(&mut self, id: KeyId) {
        self.revoked = Some(id);
    }

    pub(super) fn retains(&mut self, ids: &[KeyId]) {
        self.retained.extend(ids.iter().cloned());
    }

    /// What is broken now.
    pub(super) fn judge(world: &mut World) -> Option<String> {
        let revoked = world.oracle.revoked.take();
        let oracle = &world.oracle;
        // An older intent and a Secret that is gone, both at once, leave nobody who knows.
        if let Some(serial) = oracle.doubled.filter(|_| !oracle.tampered) {
            return Some(format!(
                "2: serial {serial} was published twice, or went down"
            ));
        }
        for others in ["foreign", "other", "sister"] {
            if world.is_dead(&KeyId::new(others)) {
                return Some(format!("6: the key {others} was revoked"));
            }
        }
        let Some(object) = world.object() else {
            return Self::judge_gone(world);
        };
        if object.deleting.is_some() || object.spec.revoked || expired(world, object) {
            return None;
        }
        if let Some(secret) = world.secret()
            && world.is_dead(&secret.value)
            && !oracle.excused
        {
            return Some(format!(
                "3: the Secret holds {}, which was revoked",
                secret.value
            ));
        }
        let id = revoked?;
        match oracle.consumed.get(&id) {
            Some(None) => Some(format!("4: {id} was revoked, and nothing has replaced it")),
            Some(Some(free)) if world.now < *free => {
                Some(format!("4: {id} was revoked within its overlap"))
            }
            _ => None,
        }
    }

    /// What is broken when the ApiKey is gone.
    fn judge_gone(world: &World) -> Option<String> {
        let oracle = &world.oracle;
        let living = world.living();
        if let Some(secret) = world.secret() {
            let noted = oracle.retained.contains(&secret.value);
            return (!noted)
                .then(|| format!("5: the Secret stays, and {} is not noted", secret.value));
        }
        let left: Vec<_> = living
            .into_iter()
            .filter(|id| !oracle.retained.contains(*id))
            .collect();
        // What nobody has noted is the orphan sweep's.
        let excused = oracle.tampered || oracle.let_go;
        (!left.is_empty() && !excused)
            .then(|| format!("5: the ApiKey is gone, and {left:?} are left"))
    }

    /// What is broken when all is quiet and nothing has been on its way for long.
    pub(super) fn judge_end(world: &World) -> Option<String> {
        let mut living = world.living();
        let Some(object) = world.object() else {
            return Self::judge_gone(world);
        };
        // An older intent takes what was made since for the work of a copy of the cluster: a person
        // decides.
        let others = world.others(object);
        if world.oracle.tampered && !others.is_empty() {
            if object.deleting.is_some() || object.spec.revoked {
                return None;
            }
            living.retain(|id| !others.contains(id));
        }
        if object.deleting.is_some() {
            return Some("10: the ApiKey does not go".to_owned());
        }
        let face = face(&object.status);
        if object.spec.revoked || expired(world, object) {
            let reason = if object.spec.revoked {
                "Revoked"
            } else {
                "Expired"
            };
            let quiet = living.is_empty() && world.secret().is_none();
            return (!quiet || face != format!("-Ready:{reason} +Stalled:{reason}"))
                .then(|| format!("{reason}, but {living:?} live: {face}"));
        }
        let value = world.secret().map(|secret| &secret.value);
        if face != "+Ready:Ready +UpToDate:Ready" {
            return Some(format!("10: no key at the end: {face}"));
        }
        if living.iter().map(|id| Some(*id)).collect::<Vec<_>>() != vec![value] {
            return Some(format!(
                "1, 2: the Secret holds {value:?}, and {living:?} live"
            ));
        }
        let status = &object.status;
        let mirrored = status.current.as_ref().map(|key| KeyId::new(&key.id));
        (mirrored.as_ref() != value || !status.retiring.is_empty() || status.failures > 0)
            .then(|| format!("status is not the mirror of {value:?}: {status:?}"))
    }

    /// How many keys were made.
    pub(super) fn made(world: &World) -> usize {
        world.keys.iter().filter(|key| key.is_ours()).count()
    }
}

/// Whether the one key of an ApiKey with `rotation.mode: Never` has come to its end.
fn expired(world: &World, object: &Object) -> bool {
    let ends_at = object.intent.ours().and_then(|intent| intent.ends_at);
    object.spec.rotation.mode == RotationMode::Never && ends_at.is_some_and(|end| end <= world.now)
}
