//! Ways to sign in without a key: recorded before they are given, taken away before they are forgotten.

use super::*;

const LOGIN: &str =
    r#"{"octopus": {"externalLogins": [{"provider": "Azure AD", "claims": {"email": "ci@a"}}]}}"#;
const TRUST: &str = r#"{"octopus": {"oidcIdentities": [{"name": "shop", "issuer": "https://i.test", "subject": "s"}]}}"#;

fn login(email: &str) -> Login {
    Login {
        provider: "Azure AD".to_owned(),
        claims: [("email".to_owned(), email.to_owned())].into(),
    }
}

fn trust(subject: &str) -> Trust {
    Trust {
        name: "shop".to_owned(),
        issuer: "https://i.test".to_owned(),
        subject: subject.to_owned(),
        audience: None,
    }
}

fn oidc(trusts: &[Trust]) -> Oidc {
    let shown = |trust: &Trust| ("Oidc-1".to_owned(), trust.clone());
    Oidc {
        external_id: "0f1e".to_owned(),
        trusts: trusts.iter().map(shown).collect(),
    }
}

fn with(logins: &[Login]) -> RemoteAccount {
    RemoteAccount {
        logins: logins.to_vec(),
        ..remote("team-a.ci")
    }
}

/// An account of ours that is looked at, and asked for this.
fn asked(spec: &str, account: RemoteAccount) -> Seen {
    let seen = seen(&json(spec)).pinned(Maker::Us);
    seen.found(account).listed(vec![])
}

/// What follows once the planner has read the ServiceAccount live.
fn live(seen: &mut Seen) -> Step {
    assert_eq!(
        plan(seen).step,
        Step::Refresh,
        "it may be declared otherwise"
    );
    seen.freshness = Freshness::Live;
    plan(seen).step
}

/// What is recorded of what we have added.
fn recorded(step: &Step) -> Vec<String> {
    let Step::Pin(pins) = step else {
        panic!("{step:?}")
    };
    pins.added.iter().map(ToString::to_string).collect()
}

fn pin(mut seen: Seen, step: Step) -> Seen {
    let Step::Pin(pins) = step else {
        panic!("{step:?}")
    };
    seen.object.pins = pins;
    seen.freshness = Freshness::Cached;
    seen
}

fn id() -> AccountId {
    AccountId::new("Users-7")
}

#[test]
fn a_login_is_recorded_given_and_taken_away() {
    let giving = asked(LOGIN, with(&[]));
    let step = plan(&giving).step;
    assert_eq!(recorded(&step), ["login:Azure%20AD"]);
    let mut giving = pin(giving, step);
    let step = live(&mut giving);
    assert_eq!(step, Step::GiveLogin(id(), login("ci@a")));
    let mut more = login("ci@a");
    more.claims.insert("dn".to_owned(), "CI".to_owned());
    let given = fold(giving, &step, Done::Account(with(&[more])));
    let given = given.settled();
    assert_eq!(plan(&given).step, Step::Idle);

    let mut changed = given.clone();
    changed.freshness = Freshness::Cached;
    changed.remote = Remote::Found(with(&[login("other@a")]));
    assert_eq!(live(&mut changed), Step::GiveLogin(id(), login("ci@a")));

    let mut over = given;
    over.freshness = Freshness::Cached;
    over.object.spec.octopus = None;
    let step = live(&mut over);
    assert_eq!(step, Step::DropLogin(id(), "Azure AD".to_owned()));
    let over = fold(over, &step, Done::Account(with(&[])));
    assert!(recorded(&plan(&over).step).is_empty());
}

/// Somebody else may add it meanwhile, and it must stay then.
#[test]
fn what_was_refused_is_not_taken_for_ours() {
    let giving = asked(LOGIN, with(&[]));
    let step = plan(&giving).step;
    let mut giving = pin(giving, step);
    let step = live(&mut giving);
    let why = |effect| Setback {
        effect,
        ..Setback::refused(Stop::plain(Reason::Rejected), Retry::Backoff)
    };
    for (effect, forgotten) in [(Effect::None, true), (Effect::Perhaps, false)] {
        let failed = fold(giving.clone(), &step, Done::Failed(why(effect)));
        let next = plan(&failed).step;
        let forgets = matches!(&next, Step::Pin(pins) if pins.added.is_empty());
        assert_eq!(forgets, forgotten, "{effect:?}: {next:?}");
    }
}

#[test]
fn an_identity_is_recorded_given_and_taken_away() {
    let giving = asked(TRUST, with(&[]));
    assert_eq!(plan(&giving).step, Step::FindOidc(id()));
    let found = Done::Oidc(oidc(&[]));
    let giving = fold(giving, &Step::FindOidc(id()), found);
    let step = plan(&giving).step;
    assert_eq!(recorded(&step), ["oidc:shop"]);
    let mut giving = pin(giving, step);
    let step = live(&mut giving);
    assert_eq!(step, Step::GiveTrust(id(), trust("s")));
    let given = fold(giving, &step, Done::Oidc(oidc(&[trust("s")]))).settled();
    assert_eq!(plan(&given).step, Step::Idle);
    let status = &given.object.status;
    assert_eq!(status.external_id.as_deref(), Some("0f1e"));
    let shown = status.oidc_identities.iter();
    let shown: Vec<_> = shown.map(|shown| (&*shown.name, &*shown.id)).collect();
    assert_eq!(shown, [("shop", "Oidc-1")]);

    let mut changed = given.clone();
    changed.freshness = Freshness::Cached;
    changed.oidc = Some(oidc(&[trust("another")]));
    assert_eq!(live(&mut changed), Step::GiveTrust(id(), trust("s")));

    let mut over = given;
    over.freshness = Freshness::Cached;
    over.object.spec.octopus = None;
    over.oidc = None;
    assert_eq!(plan(&over).step, Step::FindOidc(id()));
    over.oidc = Some(oidc(&[trust("s")]));
    let step = live(&mut over);
    assert_eq!(step, Step::DropTrust(id(), "shop".to_owned()));
    let over = fold(over, &step, Done::Oidc(oidc(&[])));
    let step = plan(&over).step;
    assert!(recorded(&step).is_empty());
    let over = pin(over, step).settled();
    assert_eq!(over.object.status.external_id, None);
    assert_eq!(plan(&over).step, Step::Idle);
}

#[test]
fn what_is_there_already_stays_whoever_made_it() {
    let mut there = asked(LOGIN, with(&[login("ci@a")])).settled();
    assert_eq!(plan(&there).step, Step::Idle);
    there.object.spec.octopus = None;
    assert_eq!(plan(&there).step, Step::Idle, "we did not add it");
    let other = asked(LOGIN, with(&[login("jane@a")]));
    assert_eq!(other.reason(), "Rejected");

    let mut there = asked(TRUST, with(&[]));
    there.oidc = Some(oidc(&[trust("s")]));
    let there = there.settled();
    assert_eq!(plan(&there).step, Step::Idle);
    assert_eq!(there.object.status.oidc_identities.len(), 1);
    let mut other = asked(TRUST, with(&[]));
    other.oidc = Some(oidc(&[trust("another")]));
    assert_eq!(other.reason(), "Rejected");
}

#[test]
fn an_account_that_stays_gives_back_what_we_added() {
    let added = [
        Added::Login("Azure AD".to_owned()),
        Added::Oidc("shop".to_owned()),
    ];
    let mut going = seen(&json(r#"{"adopt": true}"#))
        .pinned(Maker::Somebody)
        .found(with(&[
            login("ci@a"),
            Login {
                provider: "Okta".to_owned(),
                ..login("x")
            },
        ]))
        .deleting()
        .listed(vec![]);
    going.object.pins.added = added.into();
    let step = plan(&going).step;
    assert_eq!(step, Step::DropLogin(id(), "Azure AD".to_owned()));
    let mut going = fold(going, &step, Done::Account(with(&[])));
    assert_eq!(plan(&going).step, Step::FindOidc(id()));
    going.oidc = Some(oidc(&[trust("s")]));
    assert_eq!(plan(&going).step, Step::DropTrust(id(), "shop".to_owned()));
    going.oidc = Some(oidc(&[]));
    assert!(recorded(&plan(&going).step).is_empty());
}

#[test]
fn many_are_recorded_at_once() {
    let identity = |number: u32| serde_json::json!({"name": format!("n{number}"), "issuer": "https://i.test", "subject": "s"});
    let identities: Vec<_> = (0..64).map(identity).collect();
    let spec = serde_json::json!({"octopus": {"oidcIdentities": identities}});
    let mut many = seen(&spec).pinned(Maker::Us).found(with(&[]));
    many.oidc = Some(oidc(&[]));
    let step = plan(&many).step;
    assert_eq!(recorded(&step).len(), 64);
    let mut many = pin(many, step);
    assert!(matches!(live(&mut many), Step::GiveTrust(..)));
    many.object.spec.octopus = None;
    assert!(recorded(&plan(&many).step).is_empty());
}
