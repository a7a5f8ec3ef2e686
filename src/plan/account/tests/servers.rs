//! What differs from server to server: accounts that are but names, keys that outlive their account,
//! users that carry a stamp, and parts of a manifest that a server has nothing for.

use super::*;

impl Seen {
    fn on(mut self, change: impl FnOnce(&mut Ability)) -> Self {
        change(&mut self.connection.as_mut().unwrap().reach.ability);
        self
    }
}

fn names_only(ability: &mut Ability) {
    ability.accounts = Accounts::NamesOnly;
    ability.wishes = &[];
    ability.expiry = Expiry::None;
}

fn keys_live(ability: &mut Ability) {
    ability.afterlife = Afterlife::KeysLive { home: "Users-" };
}

/// An account of which the server tells nothing but the name.
fn a_name() -> RemoteAccount {
    RemoteAccount {
        nature: Nature::Untold,
        display_name: String::new(),
        origin: Origin::Untold,
        ..remote("team-a.ci")
    }
}

#[test]
fn an_account_that_is_but_a_name_is_taken_and_never_changed() {
    let seen = |spec: &str| super::seen(&json(spec)).on(names_only).found(a_name());
    let Step::Pin(pins) = plan(&seen("{}")).step else {
        panic!("it is taken")
    };
    assert_eq!(
        (pins.account, pins.maker),
        (Some(AccountId::new("Users-7")), Maker::Somebody)
    );
    let kept = || seen("{}").pinned(Maker::Somebody).listed(vec![]);
    assert_eq!(living::keep(&kept()), Ok(None));
    assert_eq!(mint_stop(&kept()), None);
    // Nothing is left to be done for it but to end our keys.
    let left = vec![key("k-left", UID, ago(20))];
    let end = |spec: &str| seen(spec).pinned(Maker::Somebody).deleting();
    for spec in ["{}", r#"{"adopt": true, "deletionPolicy": "Disable"}"#] {
        let revoke = Step::Revoke(AccountId::new("Users-7"), KeyId::new("k-left"));
        assert_eq!(plan(&end(spec).listed(left.clone())).step, revoke, "{spec}");
        assert_eq!(plan(&end(spec).listed(vec![])).step, Step::Close, "{spec}");
    }
}

#[test]
fn what_a_server_has_nothing_for_is_refused_with_its_name() {
    for (spec, part) in [
        (r#"{"displayName": "CI"}"#, "spec.displayName"),
        (r#"{"disabled": true}"#, "spec.disabled"),
        (
            r#"{"octopus": {"teams": [{"name": "a"}]}}"#,
            "spec.octopus.teams",
        ),
        (
            r#"{"elasticsearch": {"roles": ["a"]}}"#,
            "spec.elasticsearch",
        ),
        (
            r#"{"realm": "ldap1", "management": "Observed"}"#,
            "spec.realm",
        ),
    ] {
        let seen = seen(&json(spec)).on(names_only).found(a_name());
        let stop = living::keep(&seen).unwrap_err();
        assert_eq!(stop.reason, Reason::Invalid, "{spec}");
        assert!(stop.message.contains(part), "{}", stop.message);
    }
}

#[test]
fn keys_that_outlive_their_account_end_before_it_and_after() {
    let account = AccountId::new("Users-7");
    let end = |spec: &str, maker| {
        let mut spec = json(spec);
        spec["username"] = json(r#""7""#);
        let seen = seen(&spec).on(keys_live).pinned(maker);
        seen.found(remote("7")).deleting().listed(vec![])
    };
    let ours = end("{}", Maker::Us);
    assert_eq!(plan(&ours).step, Step::Empty(account.clone()));
    let emptied = fold(ours, &Step::Empty(account.clone()), Done::Emptied);
    assert_eq!(plan(&emptied).step, Step::Delete(account.clone()));
    let deleted = fold(emptied, &Step::Delete(account.clone()), Done::Deleted);
    assert_eq!(
        plan(&deleted).step,
        Step::Empty(account.clone()),
        "once more"
    );
    let emptied = fold(deleted, &Step::Empty(account.clone()), Done::Emptied);
    assert_eq!(plan(&emptied).step, Step::Close);
    // After a crash between the two, and where somebody has deleted it on the server.
    let gone = Seen {
        remote: Remote::Absent,
        ..end("{}", Maker::Us)
    };
    assert_eq!(plan(&gone).step, Step::Empty(account));
    // What was left on purpose is looked for first.
    let unlisted = Seen {
        list: None,
        ..gone.clone()
    };
    assert!(matches!(plan(&unlisted).step, Step::Look { .. }));
    // Whose id somebody has written there is another's business.
    let mut forged = gone;
    forged.object.pins.account = Some(AccountId::new("Users-8"));
    forged.pass.missed = true;
    let step = plan(&forged).step;
    assert!(!matches!(step, Step::Empty(_)), "{step:?}");
    // An account that stays keeps its keys; so does one whose keys are kept on purpose.
    for spec in [
        r#"{"deletionPolicy": "Retain"}"#,
        r#"{"deletionPolicy": "Disable"}"#,
    ] {
        let step = plan(&end(spec, Maker::Us)).step;
        assert!(!matches!(step, Step::Empty(_)), "{spec}: {step:?}");
    }
    assert_eq!(plan(&end("{}", Maker::Somebody)).step, Step::Close);
    let mut kept = end("{}", Maker::Us).listed(vec![key("k-kept", UID, ago(20))]);
    kept.object.pins.retained.insert(KeyId::new("k-kept"));
    assert_eq!(plan(&kept).step, Step::Close);
}

#[test]
fn names_that_differ_in_case_are_two_where_the_server_tells_them_apart() {
    let apart = |ability: &mut Ability| ability.letters = Letters::Apart;
    let alike = |_: &mut Ability| {};
    let verdict = |change: fn(&mut Ability)| {
        let seen = seen(&json("{}")).on(change).pinned(Maker::Us);
        living::keep(&seen.found(remote("Team-A.ci"))).err()
    };
    let reason = |stop: Option<Stop>| stop.map(|stop| stop.reason);
    assert_eq!(reason(verdict(apart)), Some(Reason::AccountNotFound));
    assert_ne!(reason(verdict(alike)), Some(Reason::AccountNotFound));
}

#[test]
fn keys_that_outlive_their_account_do_not_mind_that_it_is_disabled() {
    let seen = |change: fn(&mut Ability)| {
        let mut account = remote("team-a.ci");
        account.activity = Activity::Disabled;
        seen(&json("{}"))
            .on(change)
            .pinned(Maker::Us)
            .found(account)
    };
    assert_eq!(works_stop(&seen(keys_live)), None);
    let stop = works_stop(&seen(|_| {})).unwrap();
    assert_eq!(stop.reason, Reason::AccountDisabled);
}

#[test]
fn what_is_kept_of_a_user_is_short_and_has_no_name_of_ours() {
    let wishes = |ability: &mut Ability| ability.wishes = &[Wish::Roles];
    let verdict = |metadata: &str| {
        let spec = format!(r#"{{"elasticsearch": {{"roles": [], "metadata": {metadata}}}}}"#);
        let seen = seen(&json(&spec)).on(wishes).found(remote("team-a.ci"));
        living::keep(&seen).err()
    };
    let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(8_200));
    for (metadata, told) in [
        (r#"{"apikeys.dev": 1}"#, "is reserved"),
        (r#"{"_x": 1}"#, "is reserved"),
        (&long, "Shorten it"),
    ] {
        let stop = verdict(metadata).unwrap();
        assert_eq!(stop.reason, Reason::Invalid, "{}", stop.message);
        assert!(stop.message.contains(told), "{}", stop.message);
    }
    let stop = verdict(r#"{"a": 1}"#);
    assert_ne!(stop.map(|stop| stop.reason), Some(Reason::Invalid));
}

#[test]
fn a_stamp_tells_who_made_an_account() {
    let found = |origin| {
        let mut seen = seen(&json("{}"));
        seen.object.pins.free_at = Some(ago(5));
        let account = RemoteAccount {
            nature: Nature::Untold,
            origin,
            ..remote("team-a.ci")
        };
        plan(&seen.found(account)).step
    };
    let ours = found(Origin::StampedFor("account-uid".to_owned()));
    assert!(matches!(ours, Step::Pin(pins) if pins.maker == Maker::Us));
    for origin in [Origin::StampedFor("another".to_owned()), Origin::Unstamped] {
        let step = found(origin.clone());
        assert!(!matches!(step, Step::Pin(_)), "{origin:?}: {step:?}");
    }
}

#[test]
fn a_key_that_stays_on_purpose_ends_where_nobody_else_ends_it() {
    let over = RemoteKey {
        expires_at: Some(ago(1)),
        ..key("k-kept", "gone", ago(30))
    };
    let seen = |change: fn(&mut Ability)| {
        let mut seen = super::seen(&json("{}"))
            .pinned(Maker::Us)
            .on(change)
            .found(remote("team-a.ci"))
            .listed(vec![over.clone()]);
        seen.object.pins.retained.insert(KeyId::new("k-kept"));
        (seen.counted, seen.pass.counted) = (Some(now()), true);
        (seen.freshness, seen.census.freshness) = (Freshness::Live, Freshness::Live);
        sweep::step(&seen)
    };
    let revoke = Step::Revoke(AccountId::new("Users-7"), KeyId::new("k-kept"));
    assert_eq!(seen(|ability| ability.expiry = Expiry::None), Some(revoke));
    assert_eq!(seen(|_| ()), None);
}
