//! Facts for tests, in few words.

use jiff::{SignedDuration, Timestamp};

use crate::api::conditions::Reason;
use crate::api::{ApiKeySpec, ApiKeyStatus, CurrentKey, LastFailure, RetiringKey, time};
use crate::plan::Stop;
use crate::plan::key::{
    Base, Dress, Finalizer, Freshness, Held, IntentSeen, Ledger, Object, Owner, Pass, Plan,
    Published, Reach, Secret, Seen, Step, Values, plan, status,
};
use crate::plan::marker::{Installation, Marker, NamespaceHash};
use crate::plan::port::{
    Ability, AccountId, Accounts, Activity, Afterlife, Expiry, KeyId, Letters, List, Listing,
    RemoteKey, ServerIdentity, Value, Wish,
};
use crate::plan::record::{Intent, Nonce, Retiring, Serial, Uid};
use crate::plan::rotation::Bounds;
use crate::plan::sweep::{Claim, Scope};
use crate::plan::window::Windows;

pub(super) const RESYNC: SignedDuration = SignedDuration::from_mins(10);

pub(super) fn secs(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

pub(super) fn mins(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

pub(super) fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

/// The time at which every test begins, with a part of a second that no status can hold.
pub(super) fn start() -> Timestamp {
    Timestamp::from_millisecond(1_780_000_000_123).unwrap()
}

pub(super) fn uid() -> Uid {
    Uid::new("0f0f0f0f-uid")
}

pub(super) fn installation() -> Installation {
    Installation::parse("here").unwrap()
}

pub(super) fn nonce(n: u8) -> Nonce {
    Nonce::from_bytes([n; 16])
}

pub(super) fn id(n: u8) -> KeyId {
    KeyId::new(format!("k{n}"))
}

pub(super) fn serial(n: u8) -> Serial {
    Serial::from_number(n.into()).unwrap()
}

/// The text on the server of the n-th key.
pub(super) fn text(n: u8) -> String {
    Marker {
        installation: installation(),
        namespace: NamespaceHash::of("team"),
        uid: uid(),
        serial: serial(n),
        nonce: nonce(n),
    }
    .to_string()
}

/// The n-th key as a list shows it.
pub(super) fn remote(n: u8, created_at: Timestamp) -> RemoteKey {
    RemoteKey {
        id: id(n),
        account: AccountId::new("Users-7"),
        activity: Activity::Enabled,
        extras: None,
        text: text(n),
        created_at,
        expires_at: Some(created_at + days(30)),
    }
}

/// The keys that the list at hand shows, to be changed.
pub(super) fn shown(seen: &mut Seen) -> &mut Vec<RemoteKey> {
    std::sync::Arc::make_mut(&mut seen.list.as_mut().unwrap().keys)
}

/// The n-th key as the Secret tells of it.
pub(super) fn published(n: u8, created_at: Timestamp) -> Published {
    Published {
        id: id(n),
        serial: serial(n),
        nonce: nonce(n),
        created_at,
        expires_at: created_at + days(30),
        account: AccountId::new("Users-1"),
        server: ServerIdentity::new("server"),
        installation: installation(),
        shape: "shape".to_owned(),
    }
}

pub(super) fn mirrored(n: u8, created_at: Timestamp) -> CurrentKey {
    CurrentKey {
        id: id(n).to_string(),
        serial: n.into(),
        nonce: nonce(n).to_string(),
        hint: None,
        created_at: time(created_at),
        expires_at: Some(time(created_at + days(30))),
        proven_at: None,
    }
}

pub(super) fn claim() -> Claim {
    Claim {
        installation: installation(),
        scope: Scope::Cluster,
    }
}

pub(super) fn base() -> Base {
    Base {
        account: Some(AccountId::new("Users-1")),
        server: Ok(Reach {
            identity: ServerIdentity::new("server"),
            ability: Ability {
                server: "Octopus Deploy",
                value: Value::ServerMade,
                expiry: Expiry::Native,
                accounts: Accounts::Kept,
                letters: Letters::Alike,
                afterlife: Afterlife::KeysDie,
                listing: Listing::Account,
                wishes: &[Wish::Profile, Wish::Teams, Wish::Logins],
                text_chars: 200,
                username_chars: 50,
                entries: &[],
            },
            skew: SignedDuration::ZERO,
        }),
        expiry: Some(Expiry::Native),
        mint: Ok(()),
        replace: Ok(()),
        works: Ok(()),
        revoke: Ok(()),
        retain: Ok(()),
        ledger: Ledger::Present(Vec::new()),
        bounds: Bounds::default(),
        resync: RESYNC,
    }
}

pub(super) fn object(spec: &str) -> Object {
    let spec: ApiKeySpec = serde_json::from_str(&format!(
        r#"{{"serviceAccountRef": {{"name": "ci"}}, {spec}}}"#
    ))
    .unwrap();
    Object {
        namespace: "team".to_owned(),
        name: "key".to_owned(),
        uid: uid(),
        generation: 1,
        deleting: None,
        finalizer: Finalizer::Missing,
        intent: IntentSeen::Missing,
        rotate: None,
        requested_by: None,
        spec,
        status: ApiKeyStatus::default(),
        templates: Ok(()),
        shape: "shape".to_owned(),
        windows: Ok(Windows::none()),
        kin: Vec::new(),
    }
}

/// A new ApiKey whose account is Ready, seen through a cache. `spec` is JSON without braces.
pub(super) fn seen_with(spec: &str) -> Case {
    Case(Seen {
        now: start(),
        nonce: nonce(99),
        claim: claim(),
        object: object(spec),
        base: base(),
        secret: Secret::Absent,
        freshness: Freshness::Cached,
        list: None,
        settled: None,
        pass: Pass::begin(start()),
    })
}

pub(super) fn seen() -> Case {
    seen_with(r#""lifetime": "30d""#)
}

/// Facts under construction. Times are given as "so long ago".
#[derive(Clone)]
pub(super) struct Case(pub(super) Seen);

impl Case {
    pub(super) fn with(mut self, change: impl FnOnce(&mut Seen)) -> Self {
        change(&mut self.0);
        self
    }

    pub(super) fn ago(&self, length: SignedDuration) -> Timestamp {
        self.0.now - length
    }

    pub(super) fn live(self) -> Self {
        self.with(|seen| {
            seen.freshness = Freshness::Live;
            seen.pass.refreshed_at = Some(seen.now);
        })
    }

    /// The n-th attempt is the last one on record.
    pub(super) fn intent(self, n: u8, opened: SignedDuration) -> Self {
        let opened_at = self.ago(opened);
        self.with(|seen| {
            seen.object.finalizer = Finalizer::Present;
            seen.object.intent = IntentSeen::Ours(Intent {
                uid: uid(),
                serial: serial(n),
                nonce: nonce(n),
                opened_at,
                ends_at: None,
            });
        })
    }

    /// The Secret holds the n-th key, and status does not know yet.
    pub(super) fn published(self, n: u8, created: SignedDuration) -> Self {
        let created_at = self.ago(created);
        self.with(|seen| {
            let retiring = seen.secret.ours().map(|held| held.retiring.clone());
            seen.secret = Secret::Ours(Held {
                resource_version: "1".to_owned(),
                deleting: false,
                published: Some(published(n, created_at)),
                retiring: retiring.unwrap_or_default(),
                rotate_handled: None,
                dress: Dress::Tidy,
                owner: Owner::ApiKey,
                previous: None,
                values: Values::Ours,
            });
        })
    }

    /// The n-th key is current on every side: intent, Secret and status.
    pub(super) fn settled(self, n: u8, created: SignedDuration) -> Self {
        self.intent(n, created)
            .published(n, created)
            .mirrored(n, created)
            .recorded()
    }

    /// Status says that the n-th key is current.
    pub(super) fn mirrored(self, n: u8, created: SignedDuration) -> Self {
        let created_at = self.ago(created);
        self.with(|seen| {
            seen.object.status.current = Some(mirrored(n, created_at));
            seen.object.status.serial = Some(n.into());
            seen.object.status.observed_generation = 1;
        })
    }

    /// The Secret says that the n-th key is retiring, until so long from now.
    pub(super) fn retiring(self, n: u8, until: SignedDuration) -> Self {
        let revoke_at = self.0.now + until;
        self.with(|seen| {
            if let Secret::Ours(held) = &mut seen.secret {
                held.retiring.push(Retiring {
                    serial: serial(n),
                    id: id(n),
                    revoke_at,
                });
            }
        })
    }

    /// Status says that the n-th key is retiring, until so long from now.
    pub(super) fn retiring_in_status(self, n: u8, until: SignedDuration) -> Self {
        let revoke_at = self.0.now + until;
        self.with(|seen| {
            seen.object.status.retiring.push(RetiringKey {
                id: id(n).to_string(),
                serial: n.into(),
                created_at: None,
                expires_at: None,
                revoke_at: time(revoke_at),
            });
        })
    }

    /// A list that began so long ago shows these keys, made so long ago.
    pub(super) fn list(self, began: SignedDuration, keys: &[(u8, SignedDuration)]) -> Self {
        let list = List {
            began: self.ago(began),
            keys: keys
                .iter()
                .map(|(n, age)| remote(*n, self.ago(*age)))
                .collect::<Vec<_>>()
                .into(),
        };
        self.with(|seen| seen.list = Some(list))
    }

    /// Another cluster is known to make keys under our name.
    pub(super) fn shared(self) -> Self {
        let stop = Stop::plain(Reason::IdentityShared);
        self.with(|seen| seen.base.revoke = Err(stop))
    }

    pub(super) fn failed(self, count: u32, reason: &str, ago: SignedDuration) -> Self {
        let at = time(self.ago(ago));
        self.with(|seen| {
            seen.object.status.failures = count;
            seen.object.status.observed_generation = 1;
            seen.object.status.last_failure = Some(LastFailure {
                reason: reason.to_owned(),
                message: "m".to_owned(),
                at,
            });
        })
    }

    pub(super) fn deleting(self, since: SignedDuration) -> Self {
        let at = self.ago(since);
        self.with(|seen| seen.object.deleting = Some(at))
    }

    pub(super) fn finished(self, ago: SignedDuration) -> Self {
        let at = time(self.ago(ago));
        self.with(|seen| seen.object.status.finished_at = Some(at))
            .recorded()
    }

    /// Status says already what there is to say.
    pub(super) fn recorded(self) -> Self {
        let status = status::wanted(&self.0);
        self.with(|seen| seen.object.status = status)
    }

    pub(super) fn plan(&self) -> Plan {
        plan(&self.0)
    }

    pub(super) fn step(&self) -> String {
        word(&self.plan().step)
    }

    pub(super) fn face(&self) -> String {
        face(&status::wanted(&self.0))
    }
}

/// A step in a word or two.
pub(super) fn word(step: &Step) -> String {
    match step {
        Step::Guard { intent: Some(_) } => "Guard intent".to_owned(),
        Step::Guard { intent: None } => "Guard".to_owned(),
        Step::Look { .. } => "Look".to_owned(),
        Step::Rehearse(_) => "Rehearse".to_owned(),
        Step::Open(intent) => format!("Open {}", intent.serial),
        Step::Mint(_) => "Mint".to_owned(),
        Step::Publish(publication) => format!("Publish {}", publication.published.id),
        Step::Record(_) => "Record".to_owned(),
        Step::Revoke { id, why } => format!("Revoke {id} {why:?}"),
        Step::Adjust { id, .. } => format!("Adjust {id}"),
        Step::Amend(amendment) => format!("{amendment:?}"),
        Step::Retain(ids) => {
            let ids: Vec<_> = ids.iter().map(KeyId::as_str).collect();
            format!("Retain {}", ids.join(" "))
        }
        other => format!("{other:?}"),
    }
}

/// What people read, in a few words: every condition with its reason.
pub(super) fn face(status: &ApiKeyStatus) -> String {
    let one = |condition: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        let mark = if condition.status == "True" { "+" } else { "-" };
        format!("{mark}{}:{}", condition.type_, condition.reason)
    };
    status
        .conditions
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(" ")
}
