//! Tables of situations: facts to the one step, and how a pass runs on from there.

mod keys;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::api::conditions::Reason;
use crate::api::{AccountOrigin, ServiceAccountSpec, ServiceAccountStatus};
use crate::plan::Stop;
use crate::plan::fault::Retry;
use crate::plan::grant::{Adopt, Allowance};
use crate::plan::key::{Finalizer, Freshness, Reach, Setback};
use crate::plan::marker::{Installation, Marker, NamespaceHash};
use crate::plan::port::{
    Ability, Activity, Effect, Expiry, List, Nature, Own, RemoteAccount, RemoteKey, RemoteTeam,
    ServerIdentity, Value,
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
        value: Value::ServerMade,
        expiry: Expiry::Native,
        marker_chars: 200,
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
        made_at: Some(ago(30)),
    }
}

fn remote_made_at(made_at: Timestamp) -> RemoteAccount {
    RemoteAccount {
        made_at: Some(made_at),
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
        text: format!("team-a/x · {marker}"),
        created_at: made,
        expires_at: None,
    }
}

fn json(value: &str) -> serde_json::Value {
    serde_json::from_str(value).unwrap()
}

#[test]
fn an_account_is_created_only_after_its_free_name_is_recorded() {
    let first = seen(&json("{}"));
    assert_eq!(
        plan(&first).step,
        Step::Find(Lookup::Name("team-a.ci".to_owned()))
    );

    let absent = fold(first, &Step::Idle, Done::Found(Remote::Absent));
    let Step::Pin(pins) = plan(&absent).step else {
        panic!("{:?}", plan(&absent).step)
    };
    assert_eq!((pins.free_at, pins.account.clone()), (Some(now()), None));

    let mut claimed = absent;
    claimed.pass.claimed = pins.free_at;
    claimed.object.pins = pins;
    claimed.object.finalizer = Finalizer::Present;
    assert_eq!(plan(&claimed).step, Step::Refresh, "it may be gone");
    claimed.freshness = Freshness::Live;
    let Step::Create(draft) = plan(&claimed).step else {
        panic!("{:?}", plan(&claimed).step)
    };
    assert_eq!(draft.username, "team-a.ci");

    let step = Step::Create(draft);
    let made = fold(claimed, &step, Done::Account(remote("team-a.ci")));
    let Step::Pin(pins) = plan(&made).step else {
        panic!("{:?}", plan(&made).step)
    };
    assert_eq!((pins.maker, pins.free_at), (Maker::Us, None));
}

#[test]
fn a_creation_without_an_answer_is_waited_for_and_taken() {
    let mut waits = seen(&json("{}"));
    waits.object.pins.free_at = Some(now() - SignedDuration::from_secs(30));
    waits.object.finalizer = Finalizer::Present;
    waits.remote = Remote::Absent;
    waits.pass.found_at = Some(now());
    assert_eq!(waits.reason(), "WaitingForAccount");

    let ours = Seen {
        remote: Remote::Found(remote("team-a.ci")),
        ..waits.clone()
    };
    assert!(matches!(
        plan(&ours).step,
        Step::Pin(Pins {
            maker: Maker::Us,
            ..
        })
    ));

    let mut late = waits;
    late.object.pins.free_at = Some(ago(2));
    assert!(matches!(plan(&late).step, Step::Pin(Pins { free_at: Some(at), .. }) if at == now()));
}

#[test]
fn a_refused_creation_makes_nobodys_account_ours() {
    let mut claimed = seen(&json("{}"));
    claimed.object.pins.free_at = Some(now());
    claimed.object.finalizer = Finalizer::Present;
    claimed.pass.claimed = Some(now());
    claimed.remote = Remote::Absent;
    claimed.pass.found_at = Some(now());
    claimed.freshness = Freshness::Live;
    let step = plan(&claimed).step;
    assert!(matches!(step, Step::Create(_)));
    let setback = Setback {
        stop: Stop::plain(Reason::Rejected),
        effect: Effect::None,
        retry: Retry::OnChange,
    };
    let refused = fold(claimed, &step, Done::Failed(setback));
    assert!(matches!(
        plan(&refused).step,
        Step::Pin(Pins { free_at: None, .. })
    ));
}

#[test]
fn what_exists_is_taken_only_when_it_may_be() {
    let human = RemoteAccount {
        nature: Nature::Human,
        ..remote("team-a.ci")
    };
    let own = RemoteAccount {
        id: AccountId::new("Users-1"),
        ..remote("team-a.ci")
    };
    for (spec, account, expected) in [
        ("{}", remote("team-a.ci"), Err("AccountExists")),
        (
            r#"{"adopt": true}"#,
            remote("team-a.ci"),
            Ok(Maker::Somebody),
        ),
        (r#"{"adopt": true}"#, human.clone(), Err("AccountExists")),
        (r#"{"adopt": true}"#, own, Err("AccountExists")),
        (r#"{"management": "Observed"}"#, human, Ok(Maker::Somebody)),
        (
            r#"{"management": "Observed"}"#,
            remote("team-a.ci"),
            Ok(Maker::Somebody),
        ),
    ] {
        let seen = seen(&json(spec)).found(account.clone());
        match (plan(&seen).step, expected) {
            (Step::Pin(pins), Ok(maker)) => {
                assert_eq!(
                    (pins.account, pins.maker),
                    (Some(account.id), maker),
                    "{spec}"
                );
            }
            (Step::Record(_), Err(reason)) => assert_eq!(seen.reason(), reason, "{spec}"),
            (step, _) => panic!("{spec}: {step:?}"),
        }
    }
}

#[test]
fn a_forged_account_id_gives_nothing() {
    for (spec, name) in [
        ("{}", "someone-else"),
        (r#"{"management": "Observed"}"#, "boss"),
        (r#"{"management": "Self"}"#, "x"),
    ] {
        let forged = seen(&json(spec)).pinned(Maker::Us).found(remote(name));
        assert_eq!(forged.reason(), "AccountNotFound", "{spec}");
        assert_eq!(verified(&forged), None, "{spec}");
        assert!(mint_stop(&forged).is_some(), "{spec}");
        let step = plan(&forged.deleting()).step;
        assert!(
            !matches!(step, Step::Delete(_) | Step::Update(..) | Step::Revoke(..)),
            "{spec}: {step:?}"
        );
    }
}

#[test]
fn an_account_is_kept_as_declared() {
    let declared = r#"{"displayName": "CI", "email": "ci@example.org"}"#;
    let mut seen = seen(&json(declared))
        .pinned(Maker::Us)
        .found(remote("team-a.ci"));
    assert_eq!(
        plan(&seen).step,
        Step::Refresh,
        "it may be declared otherwise"
    );
    seen.freshness = Freshness::Live;
    let Step::Update(_, draft) = plan(&seen).step else {
        panic!("{:?}", plan(&seen).step)
    };
    assert_eq!(
        (draft.display_name.as_str(), draft.email.as_deref()),
        ("CI", Some("ci@example.org"))
    );
}

#[test]
fn teams_are_recorded_before_they_are_joined_and_left_before_they_are_forgotten() {
    let team = |members: &[&str]| RemoteTeam {
        id: TeamId::new("Teams-1"),
        name: "Deployers".to_owned(),
        members: members.iter().map(|id| AccountId::new(*id)).collect(),
    };
    let by_name = TeamRef::Name {
        name: "Deployers".to_owned(),
        space: None,
    };
    let wanted = r#"{"octopus": {"teams": [{"name": "Deployers"}]}}"#;
    let mut joining = seen(&json(wanted))
        .pinned(Maker::Us)
        .found(remote("team-a.ci"))
        .listed(vec![]);
    assert_eq!(plan(&joining).step, Step::FindTeam(by_name.clone()));

    joining.teams = vec![(by_name.clone(), None)];
    assert_eq!(joining.reason(), "TeamNotFound");
    joining.teams = vec![(by_name.clone(), Some(team(&[])))];
    let Step::Pin(pins) = plan(&joining).step else {
        panic!("{:?}", plan(&joining).step)
    };
    joining.object.pins = pins;
    assert_eq!(
        plan(&joining).step,
        Step::Refresh,
        "it may be declared no more"
    );
    joining.freshness = Freshness::Live;
    let step = plan(&joining).step;
    assert_eq!(
        step,
        Step::Join(TeamId::new("Teams-1"), AccountId::new("Users-7"))
    );
    let joined = fold(joining, &step, Done::TeamChanged(team(&["Users-7"])))
        .listed(vec![])
        .settled();
    assert_eq!(plan(&joined).step, Step::Idle);

    let mut leaving = joined;
    leaving.freshness = Freshness::Cached;
    leaving.object.spec.octopus = None;
    leaving.teams = vec![(
        TeamRef::Id(TeamId::new("Teams-1")),
        Some(team(&["Users-7"])),
    )];
    assert_eq!(
        plan(&leaving).step,
        Step::Refresh,
        "it may be declared again"
    );
    leaving.freshness = Freshness::Live;
    let step = plan(&leaving).step;
    assert_eq!(
        step,
        Step::Leave(TeamId::new("Teams-1"), AccountId::new("Users-7"))
    );
    let left = fold(leaving, &step, Done::TeamChanged(team(&[])));
    assert!(matches!(plan(&left).step, Step::Pin(pins) if pins.added.is_empty()));
}

#[test]
fn only_orphans_for_sure_are_revoked() {
    let base = || {
        seen(&json("{}"))
            .pinned(Maker::Us)
            .found(remote("team-a.ci"))
    };
    let orphan = || key("k-orphan", UID, ago(15));
    let asks = base().listed(vec![orphan()]).settled();
    assert_eq!(plan(&asks).step, Step::Census);

    let mut sure = asks;
    sure.freshness = Freshness::Live;
    assert_eq!(plan(&sure).step, Step::Census);
    sure.freshness = Freshness::Cached;
    sure.census.freshness = Freshness::Live;
    assert_eq!(plan(&sure).step, Step::Refresh);
    sure.freshness = Freshness::Live;
    assert_eq!(
        plan(&sure).step,
        Step::Revoke(AccountId::new("Users-7"), KeyId::new("k-orphan"))
    );

    let mut retained = sure.clone();
    retained.object.pins.retained.insert(KeyId::new("k-orphan"));
    let mut other = orphan();
    other.text = other
        .text
        .replace(".here.", ".there.")
        .replace("ako1.here", "ako1.there");
    let foreign = RemoteKey {
        text: "made by hand".to_owned(),
        ..orphan()
    };
    let spared = [
        ("retained", retained),
        (
            "young",
            sure.clone().listed(vec![key("k-orphan", UID, ago(9))]),
        ),
        (
            "older than the ServiceAccount",
            sure.clone().listed(vec![key("k-orphan", UID, ago(61))]),
        ),
        ("its ApiKey lives", sure.clone().resident(UID, &[])),
        ("another installation's", sure.clone().listed(vec![other])),
        ("nobody's", sure.listed(vec![foreign])),
    ];
    for (why, seen) in spared {
        let step = plan(&seen.settled()).step;
        assert_eq!(step, Step::Idle, "{why}");
    }
}

#[test]
fn keys_are_counted_by_whose_they_are() {
    let keys = vec![
        key("k-1", UID, ago(30)),
        key("k-stray", UID, ago(30)),
        key("k-young", UID, ago(1)),
        key("k-orphan", "gone", ago(1)),
        RemoteKey {
            text: "by hand".to_owned(),
            ..key("k-hand", UID, ago(90))
        },
    ];
    let mut seen = seen(&json("{}"))
        .pinned(Maker::Us)
        .found(remote("team-a.ci"))
        .resident(UID, &["k-1"]);
    let step = plan(&seen).step;
    assert!(matches!(step, Step::Look { .. }), "{step:?}");
    seen = fold(
        seen,
        &step,
        Done::Looked(List {
            began: now(),
            keys: keys.into(),
        }),
    );
    let Step::Record(status) = plan(&seen).step else {
        panic!("{:?}", plan(&seen).step)
    };
    let counts = status.keys.unwrap();
    assert_eq!(
        (counts.managed, counts.stray, counts.orphan, counts.foreign),
        (2, 1, 1, 1)
    );
    assert_eq!(status.unknown.len(), 3);
    seen.object.status = *status;
    assert_eq!(plan(&seen).step, Step::Idle);
}

#[test]
fn an_account_goes_only_when_nothing_needs_it() {
    let end = |maker| {
        seen(&json("{}"))
            .pinned(maker)
            .found(remote("team-a.ci"))
            .deleting()
    };
    assert_eq!(end(Maker::Us).resident(UID, &[]).reason(), "InUse");

    let Step::Look { newer_than } = plan(&end(Maker::Us)).step else {
        panic!("a last look first")
    };
    assert!(newer_than < now());
    let left = end(Maker::Us).listed(vec![key("k-late", UID, ago(1))]);
    assert_eq!(
        plan(&left).step,
        Step::Revoke(AccountId::new("Users-7"), KeyId::new("k-late"))
    );
    assert_eq!(
        plan(&end(Maker::Us).listed(vec![])).step,
        Step::Delete(AccountId::new("Users-7"))
    );
    assert_eq!(plan(&end(Maker::Somebody).listed(vec![])).step, Step::Close);

    let mut rival = end(Maker::Us).listed(vec![]);
    rival.rival = Some("team-b/ci".to_owned());
    let mut elsewhere = end(Maker::Us).listed(vec![]);
    elsewhere.object.pins.installation = Installation::parse("there");
    let mut kept = end(Maker::Us).listed(vec![key("k-kept", UID, ago(20))]);
    kept.object.pins.retained.insert(KeyId::new("k-kept"));
    for (why, seen) in [
        ("a rival manages it", rival),
        ("another installation's", elsewhere),
        ("a key stays", kept),
    ] {
        assert_eq!(plan(&seen).step, Step::Close, "{why}");
    }
}

#[test]
fn deletion_policies_do_what_they_say() {
    let end = |policy: &str, maker| {
        let spec = serde_json::json!({ "deletionPolicy": policy });
        seen(&spec)
            .pinned(maker)
            .found(remote("team-a.ci"))
            .deleting()
            .listed(vec![])
    };
    assert_eq!(plan(&end("Retain", Maker::Us)).step, Step::Close);
    assert!(
        matches!(plan(&end("Disable", Maker::Us)).step, Step::Update(_, draft) if draft.activity == Activity::Disabled)
    );
    assert_eq!(plan(&end("Delete", Maker::Somebody)).step, Step::Close);

    let mut gone_server = end("Retain", Maker::Us);
    gone_server.connection = Err(Stop::plain(Reason::ServerUnreachable));
    assert_eq!(plan(&gone_server).step, Step::Close);
    gone_server.object.spec.deletion_policy = None;
    assert_eq!(gone_server.reason(), "ServerUnreachable");
}

#[test]
fn another_server_says_nothing_about_this_account() {
    let mut other = seen(&json("{}"))
        .pinned(Maker::Us)
        .found(remote("team-a.ci"));
    other.object.pins.server = Some(ServerIdentity::new("server-2"));
    assert_eq!(other.reason(), "IdentityChanged");
    let mut going = other.deleting();
    going.remote = Remote::Absent;
    assert_eq!(going.reason(), "IdentityChanged");
}

#[test]
fn a_settled_pass_writes_nothing() {
    let settled = seen(&json("{}"))
        .pinned(Maker::Us)
        .found(remote("team-a.ci"))
        .listed(vec![])
        .settled();
    assert_eq!(plan(&settled).step, Step::Idle);
    assert!(plan(&settled).wake > now());
}

#[test]
fn names_that_are_too_long_are_cut_and_stay_apart() {
    assert_eq!(default_username("team-a", "ci", 64), "team-a.ci");
    let (long_a, long_b) = ("a".repeat(63), format!("{}b", "a".repeat(62)));
    let (one, two) = (
        default_username(&long_a, "ci", 64),
        default_username(&long_b, "ci", 64),
    );
    assert!(one.len() <= 64 && two.len() <= 64);
    assert_ne!(one, two);
}

#[test]
fn a_creation_is_sent_only_by_the_pass_that_recorded_the_free_name() {
    let mut again = seen(&json("{}"));
    again.object.pins.free_at = Some(now() - SignedDuration::from_secs(2));
    again.object.pins.server = Some(ServerIdentity::new("server-1"));
    again.object.finalizer = Finalizer::Present;
    again.remote = Remote::Absent;
    again.pass.found_at = Some(now());
    assert_eq!(again.reason(), "WaitingForAccount");

    let mut stale = seen(&json("{}"));
    stale.remote = Remote::Absent;
    stale.pass.found_at = Some(ago(5));
    assert!(
        matches!(plan(&stale).step, Step::Find(Lookup::Name(_))),
        "an old look shows nothing"
    );
}

#[test]
fn without_a_grant_nothing_is_taken_away_either() {
    let mut forged = seen(&json(r#"{"username": "victim"}"#)).pinned(Maker::Us);
    forged.object.pins.added.insert(TeamId::new("Teams-1"));
    forged.grant = Err(Stop::plain(Reason::NotGranted));
    let going = forged.found(remote("victim")).deleting();
    assert_eq!(plan(&going.clone().listed(vec![])).step, Step::Close);
    // But for our own keys that nobody has any more.
    let orphaned = going.listed(vec![key("k-1", "gone-for-long", ago(30))]);
    let Step::Revoke(_, id) = plan(&orphaned).step else {
        panic!("{:?}", plan(&orphaned).step)
    };
    assert_eq!(id.as_str(), "k-1");
}

#[test]
fn a_key_of_a_living_api_key_is_never_left_over() {
    let going = seen(&json("{}"))
        .pinned(Maker::Us)
        .found(remote("team-a.ci"));
    let mut going = going
        .listed(vec![key("k-1", UID, ago(30))])
        .deleting()
        .resident(UID, &["k-1"]);
    going
        .census
        .keys
        .values_mut()
        .for_each(|key| key.here = false);
    assert!(
        !matches!(plan(&going).step, Step::Revoke(..)),
        "{:?}",
        plan(&going).step
    );
}

#[test]
fn the_connections_own_account_is_nobodys_to_manage() {
    let own = RemoteAccount {
        id: AccountId::new("Users-1"),
        ..remote("operator")
    };
    let spec = json(r#"{"username": "operator", "adopt": true}"#);
    let mut forged = seen(&spec).pinned(Maker::Us).found(own);
    forged.object.pins.account = Some(AccountId::new("Users-1"));
    assert_eq!(forged.reason(), "AccountExists");
    assert!(mint_stop(&forged).is_some());
    let step = plan(&forged.listed(vec![]).deleting()).step;
    assert!(
        !matches!(step, Step::Delete(_) | Step::Update(..)),
        "{step:?}"
    );

    let mut claimed = seen(&spec).found(RemoteAccount {
        id: AccountId::new("Users-1"),
        ..remote("operator")
    });
    claimed.object.pins.free_at = Some(ago(1));
    assert_eq!(claimed.reason(), "AccountExists");
}

#[test]
fn whose_keys_they_are_is_asked_before_anything_stands_in_the_way() {
    let mut refused = seen(&json("{}")).pinned(Maker::Us);
    refused.grant = Err(Stop::plain(Reason::NotGranted));
    assert!(matches!(plan(&refused).step, Step::Find(Lookup::Id(_))));
    let shown = refused.found(remote("team-a.ci"));
    assert!(verified(&shown).is_some());
    assert!(mint_stop(&shown).is_some());
}

#[test]
fn a_person_is_left_alone_whoever_was_pinned() {
    let person = RemoteAccount {
        nature: Nature::Human,
        ..remote("team-a.ci")
    };
    let spec = r#"{"adopt": true, "deletionPolicy": "Disable"}"#;
    let pinned = seen(&json(spec)).pinned(Maker::Somebody).found(person);
    let pinned = pinned.listed(vec![]);
    assert_eq!(pinned.reason(), "AccountExists");
    assert_eq!(plan(&pinned.deleting()).step, Step::Close);
}

/// Whoever may write a ServiceAccount may write our notes into it, but not when it was made.
#[test]
fn an_account_that_was_there_before_is_taken_only_by_adopt() {
    let forge = |how: &str, spec: &str| {
        let mut forged = seen(&json(spec)).pinned(Maker::Us);
        match how {
            "intent" => {
                forged.object.pins.account = None;
                forged.object.pins.maker = Maker::Somebody;
                forged.object.pins.free_at = Some(ago(1));
            }
            "status" => {
                forged.object.pins = Pins::default();
                forged.object.status.id = Some("Users-7".to_owned());
                forged.object.status.origin = Some(AccountOrigin::Created);
            }
            "id" => forged.object.pins.maker = Maker::Somebody,
            _ => {}
        }
        forged
    };
    let older = remote_made_at(ago(62));
    let exists =
        |seen: &Seen| living::keep(seen).is_err_and(|stop| stop.reason == Reason::AccountExists);
    for how in ["intent", "status", "created", "id"] {
        let forged = forge(how, "{}").found(older.clone());
        assert!(exists(&forged), "{how}");
        assert!(mint_stop(&forged).is_some(), "{how}");
        for policy in ["Delete", "Disable"] {
            let spec = format!(r#"{{"deletionPolicy": "{policy}"}}"#);
            let going = forge(how, &spec).found(older.clone()).listed(vec![]);
            let step = plan(&going.deleting()).step;
            assert_eq!(step, Step::Close, "{how}, {policy}");
        }
        let adopted = forge(how, r#"{"adopt": true}"#).found(older.clone());
        assert!(!exists(&adopted), "{how}");
        let going = adopted.listed(vec![]).deleting();
        assert_eq!(plan(&going).step, Step::Close, "{how}");
        // Of a server that does not tell, nothing is known.
        let mut silent = older.clone();
        silent.made_at = None;
        assert_eq!(
            exists(&forge(how, "{}").found(silent)),
            how == "id",
            "{how}"
        );
        assert_eq!(
            exists(&forge(how, "{}").found(remote_made_at(ago(30)))),
            how == "id",
            "{how}"
        );
    }
}

#[test]
fn a_clock_that_is_wrong_makes_no_account_older() {
    // The server's clock and ours are apart, and either is with the API server's.
    for (skew, made_at) in [
        (90, ago(60)),
        (90, ago(-30)),
        (-90, ago(60)),
        (-90, ago(150)),
    ] {
        let mut seen = seen(&json("{}"))
            .pinned(Maker::Us)
            .found(remote_made_at(made_at));
        let route = seen.connection.as_mut().unwrap();
        route.reach.skew = SignedDuration::from_mins(skew);
        assert!(living::keep(&seen).is_ok(), "{skew}, {made_at}");
        seen.remote = Remote::Found(remote_made_at(ago(152)));
        assert!(living::keep(&seen).is_err(), "{skew}");
    }
}

#[test]
fn a_wish_to_adopt_beyond_the_grant_ends_no_account() {
    let spec = r#"{"adopt": true, "deletionPolicy": "Disable"}"#;
    for (adopt, is_ended) in [(Adopt::Allowed, true), (Adopt::Refused, false)] {
        let mut seen = seen(&json(spec)).pinned(Maker::Somebody);
        seen.grant = Ok(Allowance {
            adopt,
            ..Allowance::default()
        });
        let seen = seen.found(remote_made_at(ago(62))).listed(vec![]);
        let step = plan(&seen.deleting()).step;
        assert_eq!(step != Step::Close, is_ended, "{adopt:?}: {step:?}");
    }
}

#[test]
fn api_keys_are_counted_again_before_what_a_last_look_shows_is_revoked() {
    let going = seen(&json("{}")).pinned(Maker::Us);
    let going = going.found(remote("team-a.ci")).deleting();
    let step = plan(&going).step;
    assert!(matches!(step, Step::Look { .. }), "{step:?}");
    let keys = |keys: Vec<RemoteKey>| {
        let list = List {
            began: now(),
            keys: keys.into(),
        };
        plan(&fold(going.clone(), &step, Done::Looked(list))).step
    };
    // Its ApiKey may have been made after the others were counted.
    assert_eq!(keys(vec![key("k-1", "unknown", ago(0))]), Step::Census);
    assert!(matches!(keys(vec![]), Step::Delete(_)));
}
