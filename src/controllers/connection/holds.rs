//! The finalizer on the Secrets with connections' credentials: who uses which, and putting it on and
//! taking it off. Who needs one is the planner's to say.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::api::PartialObjectMeta;
use kube::{Resource, ResourceExt};

use super::act::Flow;
use super::see::{Dependents, mark};
use super::{Hands, Link, Memory};
use crate::api::conditions::Reason;
use crate::api::{ServerKind, finalizer};
use crate::controllers::cluster::{Lapse, Marks};
use crate::controllers::standing::Place;
use crate::controllers::watch::{Guarded, credential_name};
use crate::controllers::{Ctx, Outcome, facts};
use crate::plan::Stop;
use crate::plan::connection::{Hold, Mark, Seen, User};

/// The facts of a connection's own credential.
pub(super) async fn hold_of(
    ctx: &Ctx,
    place: &Place,
    secret: &PartialObjectMeta<Secret>,
) -> Result<Hold, Lapse> {
    let home = secret.namespace().unwrap_or_default();
    let deleted_at = facts::deleting(&secret.metadata);
    let others = neighbours(ctx, &home)
        .into_iter()
        .filter(|neighbour| neighbour.place != *place && neighbour.may_use(&secret.name_any()))
        .map(|neighbour| neighbour.user(ctx))
        .collect();
    Ok(Hold {
        finalizer: finalizer_of(secret),
        deleted_at,
        namespace_going: deleted_at.is_some() && ctx.cluster.is_terminating(&home).await?,
        others,
    })
}

/// The Secrets with our finalizer that no connection uses any more, in the namespace of this one's.
pub(super) fn leftovers<L: Link>(ctx: &Ctx, object: &L) -> Vec<PartialObjectMeta<Secret>> {
    let home = object.home(&ctx.own_namespace);
    let own = credential_name(&object.connection().auth);
    let neighbours = neighbours(ctx, &home);
    let used = |name: &str| {
        own == Some(name) || neighbours.iter().any(|neighbour| neighbour.may_use(name))
    };
    // Both watches see the offered Secrets of the operator's own namespace.
    let secrets: BTreeMap<String, _> = [&ctx.stores.credentials, &ctx.stores.own_secrets]
        .into_iter()
        .flat_map(kube::runtime::reflector::Store::state)
        .filter(|secret| secret.namespace().as_deref() == Some(home.as_str()))
        .filter(|secret| finalizer_of(secret) == Mark::Present && !used(&secret.name_any()))
        .map(|secret| (secret.name_any(), (*secret).clone()))
        .collect();
    secrets.into_values().collect()
}

fn finalizer_of(secret: &PartialObjectMeta<Secret>) -> Mark {
    mark(facts::carries(
        &secret.metadata,
        finalizer::CREDENTIAL_IN_USE,
    ))
}

/// A connection whose Secrets are in a namespace.
struct Neighbour {
    place: Place,
    deleting: bool,
    uses: Uses,
}

/// The Secret that a connection uses.
enum Uses {
    Named(String),
    Nothing,
    /// It does not parse.
    Unknown,
}

impl Neighbour {
    fn of<L: Link>(kind: ServerKind, object: &Guarded<L>) -> Self {
        let uses = match &object.0 {
            Ok(object) => credential_name(&object.connection().auth)
                .map_or(Uses::Nothing, |name| Uses::Named(name.to_owned())),
            Err(_) => Uses::Unknown,
        };
        Self {
            place: Place::at(kind, object),
            deleting: object.meta().deletion_timestamp.is_some(),
            uses,
        }
    }

    fn may_use(&self, secret: &str) -> bool {
        match &self.uses {
            Uses::Named(name) => name == secret,
            Uses::Nothing => false,
            Uses::Unknown => true,
        }
    }

    fn user(&self, ctx: &Ctx) -> User {
        match self.uses {
            Uses::Unknown => User::Unknown,
            Uses::Named(_) | Uses::Nothing => {
                let accounts = ctx.stores.accounts.state();
                User::Known {
                    deleting: self.deleting,
                    bound: Dependents::of(&self.place, accounts.iter().map(AsRef::as_ref)).bound,
                }
            }
        }
    }
}

/// All connections whose Secrets are in this namespace.
fn neighbours(ctx: &Ctx, home: &str) -> Vec<Neighbour> {
    let servers = ctx.stores.servers.state();
    let own = servers
        .iter()
        .filter(|server| server.namespace().as_deref() == Some(home))
        .map(|server| Neighbour::of(ServerKind::DeployServer, server));
    let cluster = ctx.stores.cluster_servers.state();
    let cluster = cluster
        .iter()
        .filter(|_| home == ctx.own_namespace)
        .map(|server| Neighbour::of(ServerKind::ClusterDeployServer, server));
    own.chain(cluster).collect()
}

/// Puts the finalizer on the credential.
pub(super) async fn hold<L: Link>(
    ctx: &Ctx,
    seen: &mut Seen,
    hands: &mut Hands<L>,
    memory: &mut Memory,
) -> Outcome<Flow> {
    let (Some(secret), Some(hold)) = (&hands.credential, &mut seen.hold) else {
        return Outcome::Stale;
    };
    let marks = Marks {
        add: Some(finalizer::CREDENTIAL_IN_USE),
        ..Marks::default()
    };
    match ctx.cluster.mark_secret(secret, &marks).await {
        Ok(marked) => {
            memory.take_for_the_same(secret, &marked);
            hands.credential = Some(marked);
            hold.finalizer = Mark::Present;
            Outcome::Done(Flow::On)
        }
        Err(lapse) => Outcome::of_lapse(lapse, Flow::refused),
    }
}

/// Takes the finalizer off the credential.
pub(super) async fn give_up<L: Link>(
    ctx: &Ctx,
    seen: &mut Seen,
    hands: &mut Hands<L>,
) -> Outcome<Flow> {
    let Some(secret) = &hands.credential else {
        return Outcome::Stale;
    };
    if let Err(lapse) = let_go(ctx, secret).await {
        return Outcome::of_lapse(lapse, Flow::refused);
    }
    hands.credential = None;
    seen.hold = None;
    if !seen.deleting {
        // The credential is going; what replaces it is seen when it is there.
        seen.credential = Err(Stop::plain(Reason::CredentialMissing));
    }
    Outcome::Done(Flow::On)
}

/// Takes the finalizer off the Secrets that no connection uses any more.
pub(super) async fn release<L: Link>(
    ctx: &Ctx,
    seen: &mut Seen,
    hands: &mut Hands<L>,
) -> Outcome<Flow> {
    for secret in &hands.leftovers {
        match let_go(ctx, secret).await {
            // Another one by now: the next pass sees it.
            Ok(()) | Err(Lapse::Conflict) => {}
            Err(lapse) => return Outcome::of_lapse(lapse, Flow::refused),
        }
    }
    seen.leftovers = 0;
    Outcome::Done(Flow::On)
}

async fn let_go(ctx: &Ctx, secret: &PartialObjectMeta<Secret>) -> Result<(), Lapse> {
    let marks = Marks {
        remove: Some(finalizer::CREDENTIAL_IN_USE),
        ..Marks::default()
    };
    match ctx.cluster.mark_secret(secret, &marks).await {
        Ok(_) | Err(Lapse::NotFound) => Ok(()),
        Err(lapse) => Err(lapse),
    }
}
