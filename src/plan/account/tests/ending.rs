//! How an account goes, and when not.

use super::*;

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
