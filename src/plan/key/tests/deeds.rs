//! What people and other programs do to the ApiKey and its Secret.

use super::build::*;
use super::world::World;
use crate::api::{ApiKeySpec, ApiKeyStatus, KeyDeletionPolicy, RetiringKey, time};
use crate::plan::key::{Finalizer, IntentSeen};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Rotate,
    Withdraw,
    Revoke,
    TakeBack,
    Retain,
    Delete,
    DeleteSecret,
    WipeStatus,
    ForgeStatus,
    Replace,
    OldIntent,
}

impl Deed {
    pub(super) fn apply(self, world: &mut World) {
        world.say(format!("somebody: {self:?}"));
        let ids: Vec<_> = world.living().into_iter().cloned().collect();
        let now = world.now;
        let first = world
            .objects
            .iter()
            .find_map(|moment| moment.is.as_ref()?.intent.ours().cloned());
        match self {
            Self::DeleteSecret => world.set_secret(None),
            Self::Revoke => {
                world.oracle.excused = true;
                edit(world, |spec| spec.revoked = true);
            }
            Self::TakeBack => edit(world, |spec| spec.revoked = false),
            Self::Retain => {
                world.oracle.let_go = true;
                edit(world, |spec| {
                    spec.deletion_policy = KeyDeletionPolicy::Retain;
                });
            }
            Self::Rotate => world.set_object(|object| object.rotate = Some(format!("{now}"))),
            Self::Withdraw => world.set_object(|object| object.rotate = None),
            Self::Delete => world.set_object(|object| {
                object.deleting.get_or_insert(now);
                object.generation += 1;
            }),
            Self::WipeStatus => world.set_object(|object| {
                object.status = ApiKeyStatus::default();
            }),
            Self::ForgeStatus => world.set_object(|object| {
                object.status.current = None;
                object.status.retiring = ids
                    .iter()
                    .map(|id| RetiringKey {
                        id: id.to_string(),
                        serial: 1,
                        created_at: None,
                        expires_at: None,
                        revoke_at: time(now - days(1)),
                    })
                    .collect();
            }),
            Self::Replace => {
                world.oracle.tampered = true;
                world.set_object(|object| {
                    object.intent = IntentSeen::Missing;
                    object.finalizer = Finalizer::Missing;
                });
            }
            Self::OldIntent => {
                world.oracle.tampered = true;
                if let Some(intent) = first {
                    world.set_object(|object| object.intent = IntentSeen::Ours(intent));
                }
            }
        }
        world.check();
    }
}

fn edit(world: &mut World, change: impl FnOnce(&mut ApiKeySpec)) {
    world.set_object(|object| {
        change(&mut object.spec);
        object.generation += 1;
    });
}
