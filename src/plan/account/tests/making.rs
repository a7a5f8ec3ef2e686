//! How an account is made, and kept as it is declared.

use super::*;

#[test]
fn an_account_is_created_only_after_its_free_name_is_recorded() {
    let first = seen(&json("{}"));
    assert_eq!(
        plan(&first).step,
        Step::Find(Lookup::Name(AccountName {
            username: "team-a.ci".to_owned(),
            realm: None
        }))
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
