//! Tables of situations: facts to the one step, and how a pass runs on from there.

mod ending;
mod keys;
mod logins;
mod making;
mod servers;
mod taking;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::api::FreeForm;
use crate::api::conditions::Reason;
use crate::api::{AccountOrigin, ServiceAccountSpec, ServiceAccountStatus};
use crate::plan::Stop;
use crate::plan::fault::Retry;
use crate::plan::grant::{Adopt, Allowance};
use crate::plan::key::{Finalizer, Freshness, Reach, Setback};
use crate::plan::marker::{Installation, Marker, NamespaceHash};
use crate::plan::port::{
    Ability, AccountName, Accounts, Activity, Afterlife, Effect, Expiry, Letters, List, Listing,
    Nature, Oidc, Origin, Own, RemoteAccount, RemoteKey, RemoteTeam, ServerIdentity, Value, Wish,
};
use crate::plan::record::{Nonce, Serial, Uid};
use crate::plan::sweep::{Attempts, Claim, Scope};

const UID: &str = "6b8d3c9e-0a51-4f0e-9f6c-1c2d3e4f5a6b";

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn ago(minutes: i64) -> Timestamp {
    now() - SignedDuration::from_mins(minutes)
}

fn installation() -> Installation {
    Installation::parse("here").unwrap()
}

/// A ServiceAccount that nobody has looked at, on a connection that works.
fn seen(spec: &serde_json::Value) -> Seen {
    let mut whole = serde_json::json!({"serverRef": {"kind": "DeployServer", "name": "main"}});
    whole
        .as_object_mut()
        .unwrap()
        .extend(spec.as_object().unwrap().clone());
    let spec: ServiceAccountSpec = serde_json::from_value(whole).unwrap();
    let ability = Ability {
        server: "Octopus Deploy",
        value: Value::ServerMade,
        expiry: Expiry::Native,
        accounts: Accounts::Kept,
        letters: Letters::Alike,
        afterlife: Afterlife::KeysDie,
        listing: Listing::Account,
        wishes: &[Wish::Profile, Wish::Teams, Wish::Logins],
        text_chars: 200,
        username_chars: 64,
        entries: &[],
    };
    let identity = ServerIdentity::new("server-1");
    Seen {
        now: now(),
        claim: Claim {
            installation: installation(),
            scope: Scope::Cluster,
        },
        object: Object {
            namespace: "team-a".to_owned(),
            name: "ci".to_owned(),
            uid: Uid::new("account-uid"),
            generation: 1,
            created_at: ago(60),
            deleting: None,
            finalizer: Finalizer::Missing,
            spec,
            status: ServiceAccountStatus::default(),
            pins: Pins::default(),
        },
        freshness: Freshness::Cached,
        connection: Ok(Route {
            reach: Reach {
                identity,
                ability,
                skew: SignedDuration::ZERO,
            },
            own: Own {
                id: AccountId::new("Users-1"),
                username: "operator".to_owned(),
            },
            resync: SignedDuration::from_mins(10),
        }),
        grant: Ok(Allowance::default()),
        rival: None,
        remote: Remote::Unknown,
        teams: Vec::new(),
        oidc: None,
        list: None,
        counted: None,
        census: Census {
            freshness: Freshness::Cached,
            keys: BTreeMap::new(),
        },
        identities: BTreeSet::new(),
        pass: Pass::begin(now(), 0),
    }
}

fn remote(username: &str) -> RemoteAccount {
    RemoteAccount {
        id: AccountId::new("Users-7"),
        username: username.to_owned(),
        display_name: username.to_owned(),
        email: None,
        nature: Nature::Service,
        activity: Activity::Enabled,
        origin: Origin::MadeAt(ago(30)),
        roles: BTreeSet::new(),
        metadata: FreeForm::default(),
        logins: Vec::new(),
    }
}

fn remote_made_at(made_at: Timestamp) -> RemoteAccount {
    RemoteAccount {
        origin: Origin::MadeAt(made_at),
        ..remote("team-a.ci")
    }
}

impl Seen {
    fn found(mut self, account: RemoteAccount) -> Self {
        self.remote = Remote::Found(account);
        self.pass.found_at = Some(now());
        self
    }

    fn pinned(mut self, maker: Maker) -> Self {
        self.object.finalizer = Finalizer::Present;
        self.object.pins = Pins {
            account: Some(AccountId::new("Users-7")),
            server: Some(ServerIdentity::new("server-1")),
            installation: Some(installation()),
            maker,
            ..Pins::default()
        };
        self
    }

    /// Its keys were counted just now.
    fn listed(mut self, keys: Vec<RemoteKey>) -> Self {
        self.list = Some(List {
            began: now(),
            keys: keys.into(),
        });
        self.counted = Some(now());
        self
    }

    fn deleting(mut self) -> Self {
        self.object.deleting = Some(ago(1));
        self.freshness = Freshness::Live;
        self.census.freshness = Freshness::Live;
        self
    }

    fn resident(mut self, uid: &str, current: &[&str]) -> Self {
        let records = Records::Keys {
            current: current.iter().map(|id| KeyId::new(*id)).collect(),
            retiring: BTreeSet::new(),
        };
        let resident = Resident {
            home: format!("team-a/{uid}"),
            here: true,
            records,
            attempts: Attempts::of(None, None, None),
        };
        self.census.keys.insert(Uid::new(uid), resident);
        self
    }

    /// The status that would be written now is written already.
    fn settled(mut self) -> Self {
        if let Some(Step::Record(status)) = status::record(&self) {
            self.object.status = *status;
        }
        self
    }

    fn reason(&self) -> String {
        let status = match plan(self).step {
            Step::Record(status) => *status,
            _ => self.object.status.clone(),
        };
        status
            .conditions
            .iter()
            .find(|c| c.type_ == "Ready")
            .unwrap()
            .reason
            .clone()
    }
}

fn key(id: &str, uid: &str, made: Timestamp) -> RemoteKey {
    let marker = Marker {
        installation: installation(),
        namespace: NamespaceHash::of("team-a"),
        uid: Uid::new(uid),
        serial: Serial::FIRST,
        nonce: Nonce::from_bytes([1; 16]),
    };
    RemoteKey {
        id: KeyId::new(id),
        account: AccountId::new("Users-7"),
        activity: Activity::Enabled,
        extras: None,
        text: format!("team-a/x · {marker}"),
        created_at: made,
        expires_at: None,
    }
}

fn json(value: &str) -> serde_json::Value {
    serde_json::from_str(value).unwrap()
}
