//! Whose an account may become that was there before.

use super::*;

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
        silent.origin = Origin::Untold;
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
fn without_a_grant_nothing_is_taken_away_either() {
    let mut forged = seen(&json(r#"{"username": "victim"}"#)).pinned(Maker::Us);
    forged
        .object
        .pins
        .added
        .insert(Added::Team(TeamId::new("Teams-1")));
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
