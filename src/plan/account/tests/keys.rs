//! Whose the keys of an account are: ours, strays, orphans, those of a copy of the cluster, and those
//! that no operator made.

use super::*;
use crate::api::{AccountDeletionPolicy, ForeignKeys, Management};
use crate::plan::grant::Foreign;
use crate::plan::record::Intent;

fn attempts(serial: u64, nonce: u8, opened_at: Timestamp) -> Attempts {
    let intent = Intent {
        uid: Uid::new(UID),
        serial: Serial::from_number(serial).unwrap(),
        nonce: Nonce::from_bytes([nonce; 16]),
        opened_at,
        ends_at: None,
    };
    Attempts::of(Some(&intent), None, None)
}

/// A settled account with one ApiKey, and its keys in a list: `key` gives them serial 1 and nonce 1.
fn with_attempts(attempts: Attempts, keys: Vec<RemoteKey>) -> Seen {
    let mut seen = seen(&json("{}"))
        .pinned(Maker::Us)
        .found(remote("team-a.ci"))
        .resident(UID, &["k1"])
        .listed(keys);
    seen.census.keys.get_mut(&Uid::new(UID)).unwrap().attempts = attempts;
    seen
}

#[test]
fn a_copy_is_told_by_what_no_attempt_has_made() {
    let made = |at| vec![key("k2", UID, at)];
    for (what, attempts, made, told) in [
        ("its own", attempts(1, 1, ago(30)), made(ago(30)), false),
        (
            "of the same serial",
            attempts(1, 2, ago(30)),
            made(ago(30)),
            true,
        ),
        (
            "of an earlier one",
            attempts(2, 2, ago(30)),
            made(ago(31)),
            false,
        ),
        (
            "late of an earlier one",
            attempts(2, 2, ago(30)),
            made(ago(29)),
            false,
        ),
        (
            "long after the last",
            attempts(2, 2, ago(30)),
            made(ago(15)),
            true,
        ),
        (
            "without an intent",
            Attempts::of(None, None, None),
            made(ago(15)),
            false,
        ),
    ] {
        let seen = with_attempts(attempts, made).settled();
        let inspects = plan(&seen).step == Step::Inspect(Uid::new(UID));
        assert_eq!(inspects, told, "{what}: {:?}", plan(&seen).step);
    }
    let recorded = with_attempts(attempts(1, 2, ago(30)), vec![key("k1", UID, ago(1))]).settled();
    assert_eq!(plan(&recorded).step, Step::Idle, "recorded");
}

#[test]
fn a_copy_is_noted_only_after_a_live_read() {
    let seen = with_attempts(attempts(1, 2, ago(30)), vec![key("k2", UID, ago(20))]);
    let step = plan(&seen).step;
    assert_eq!(step, Step::Inspect(Uid::new(UID)));
    let resident = |attempts| {
        let mut resident = seen.census.keys[&Uid::new(UID)].clone();
        resident.attempts = attempts;
        Some(Box::new(resident))
    };
    let same = resident(attempts(1, 2, ago(30)));
    let done = Done::Inspected(Uid::new(UID), same);
    let noted = plan(&fold(seen.clone(), &step, done)).step;
    let Step::Pin(pins) = noted else {
        panic!("{noted:?}")
    };
    assert_eq!(pins.shared, Some(installation()));
    // The watch was behind.
    let newer = resident(attempts(1, 1, ago(30)));
    let done = Done::Inspected(Uid::new(UID), newer);
    let cleared = fold(seen, &step, done).settled();
    assert_eq!(plan(&cleared).step, Step::Idle);
}

#[test]
fn where_a_copy_is_known_of_nothing_goes() {
    let orphan = key("k9", "gone-uid", ago(20));
    let mut seen = seen(&json("{}"))
        .pinned(Maker::Us)
        .found(remote("team-a.ci"))
        .listed(vec![orphan]);
    assert_eq!(plan(&seen).step, Step::Census);
    seen.object.pins.shared = Some(installation());
    assert_eq!(seen.reason(), "IdentityShared");
    assert_eq!(plan(&seen.clone().settled()).step, Step::Idle);
    assert_eq!(mint_stop(&seen), None, "keys are made all the same");

    let going = seen.clone().deleting();
    assert_eq!(going.reason(), "IdentityShared");
    let mut stays = going;
    stays.object.spec.deletion_policy = Some(AccountDeletionPolicy::Retain);
    assert_eq!(plan(&stays).step, Step::Close);

    seen.object.pins.shared = Installation::parse("before");
    assert_eq!(plan(&seen).step, Step::Census, "we go by another name now");
}

/// One ApiKey is gone, another living: for a release of other namespaces both are somebody's.
#[test]
fn keys_of_another_release_are_neither_orphans_nor_strays() {
    let keys = [key("k1", UID, ago(20)), key("k9", "gone-uid", ago(20))];
    let of = |namespace: &str| {
        let mut seen = seen(&json("{}"))
            .pinned(Maker::Us)
            .found(remote("team-a.ci"))
            .resident(UID, &[])
            .listed(keys.to_vec());
        seen.claim.scope = Scope::Namespaces(BTreeSet::from([NamespaceHash::of(namespace)]));
        seen
    };
    for (namespace, wanted, step) in [
        ("team-a", [1, 1, 0], Step::Census),
        ("team-b", [0, 0, 2], Step::Idle),
    ] {
        let seen = of(namespace);
        let (counts, _) = sweep::count(&seen).unwrap();
        let got = [counts.stray, counts.orphan, counts.other];
        assert_eq!(got, wanted, "{namespace}");
        let left = sweep::left(&seen).count();
        assert_eq!(left, usize::from(namespace == "team-a"), "{namespace}");
        assert_eq!(plan(&seen.settled()).step, step, "{namespace}");
    }
}

fn foreign(id: &str, made: Timestamp) -> RemoteKey {
    RemoteKey {
        text: "by hand".to_owned(),
        ..key(id, UID, made)
    }
}

fn with_foreign(first: Option<Timestamp>, made: Timestamp) -> Seen {
    let mut seen = seen(&json(r#"{"foreignKeys": "Revoke"}"#))
        .pinned(Maker::Us)
        .found(remote("team-a.ci"))
        .listed(vec![foreign("f1", made)]);
    let first = first.map(|first| (KeyId::new("f1"), first));
    seen.object.pins.foreign = first.into_iter().collect();
    seen
}

#[test]
fn a_foreign_key_goes_after_a_day() {
    let day = 24 * 60;
    let fresh = with_foreign(None, ago(3 * day));
    let Step::Pin(pins) = plan(&fresh).step else {
        panic!("{:?}", plan(&fresh).step)
    };
    assert_eq!(pins.foreign, BTreeMap::from([(KeyId::new("f1"), now())]));
    let waits = with_foreign(Some(ago(day - 1)), ago(3 * day)).settled();
    assert_eq!(plan(&waits).step, Step::Idle);
    let mut due = with_foreign(Some(ago(day)), ago(3 * day));
    assert_eq!(plan(&due).step, Step::Refresh);
    due.freshness = Freshness::Live;
    let revoke = Step::Revoke(AccountId::new("Users-7"), KeyId::new("f1"));
    assert_eq!(plan(&due).step, revoke);
    let gone = fold(due.clone(), &revoke, Done::Revoked(KeyId::new("f1")));
    assert_eq!(gone.freshness, Freshness::Cached, "one by one");
    assert!(matches!(plan(&gone).step, Step::Pin(pins) if pins.foreign.is_empty()));
}

#[test]
fn the_oldest_foreign_keys_are_noted_first() {
    let mut many = with_foreign(None, ago(3 * 24 * 60));
    let fresh = (0..60).map(|number| foreign(&format!("new{number}"), ago(10)));
    let old = many.list.take().unwrap().keys;
    let keys = fresh.chain(old.iter().cloned()).collect();
    let Step::Pin(pins) = plan(&many.listed(keys)).step else {
        panic!("nothing is noted")
    };
    assert!(pins.foreign.contains_key(&KeyId::new("f1")));
}

#[test]
fn the_day_of_a_foreign_key_begins_anew_with_the_setting() {
    let mut off = with_foreign(Some(ago(60)), ago(120));
    off.object.spec.foreign_keys = ForeignKeys::Report;
    off.connection = Err(Stop::plain(Reason::ServerUnreachable));
    off.remote = Remote::Unknown;
    assert!(matches!(plan(&off).step, Step::Pin(pins) if pins.foreign.is_empty()));
}

#[test]
fn a_foreign_key_is_spared() {
    let day = 24 * 60;
    let due = || {
        let mut due = with_foreign(Some(ago(2 * day)), ago(3 * day));
        due.freshness = Freshness::Live;
        due
    };
    let mut cases: Vec<(&str, Seen)> = vec![
        (
            "seen before it was made",
            with_foreign(Some(ago(5 * day)), ago(3 * day)),
        ),
        (
            "seen in the future",
            with_foreign(Some(ago(-5)), ago(3 * day)),
        ),
    ];
    let mut case = |what, change: &dyn Fn(&mut Seen)| {
        let mut seen = due();
        change(&mut seen);
        cases.push((what, seen));
    };
    case("reported", &|seen| {
        seen.object.spec.foreign_keys = ForeignKeys::Report;
    });
    case("not granted", &|seen| {
        seen.grant = Ok(Allowance {
            foreign: Foreign::Counted,
            ..Allowance::default()
        });
    });
    case("not ours to manage", &|seen| {
        seen.object.spec.management = Management::Observed;
    });
    case("a person's", &|seen| {
        seen.object.spec.adopt = true;
        seen.remote = Remote::Found(RemoteAccount {
            nature: Nature::Human,
            ..remote("team-a.ci")
        });
    });
    case("there before, and not taken over", &|seen| {
        seen.remote = Remote::Found(remote_made_at(ago(62)));
    });
    case("a connection's own", &|seen| {
        seen.identities.insert(AccountId::new("Users-7"));
    });
    case("managed by another", &|seen| {
        seen.rival = Some("team-b/ci".to_owned());
    });
    case("a copy is at work", &|seen| {
        seen.object.pins.shared = Some(installation());
    });
    for (what, mut seen) in cases {
        seen.freshness = Freshness::Live;
        let step = plan(&seen).step;
        assert!(!matches!(step, Step::Revoke(..)), "{what}: {step:?}");
    }
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
fn whose_keys_they_are_is_asked_before_anything_stands_in_the_way() {
    let mut refused = seen(&json("{}")).pinned(Maker::Us);
    refused.grant = Err(Stop::plain(Reason::NotGranted));
    assert!(matches!(plan(&refused).step, Step::Find(Lookup::Id(_))));
    let shown = refused.found(remote("team-a.ci"));
    assert!(verified(&shown).is_some());
    assert!(mint_stop(&shown).is_some());
}
