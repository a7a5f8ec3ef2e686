//! What only some servers can do, or cannot: keys that are changed, and keys that never end by themselves.

use crate::plan::key::{Secret, Seen, Step};
use crate::plan::port::{Activity, Expiry, Wish};

use super::{READY, check};
use crate::plan::key::adjusting;
use crate::plan::key::tests::build::*;

/// A server whose keys can be changed and never end.
fn patient(seen: &mut Seen) {
    let ability = &mut seen.base.server.as_mut().unwrap().ability;
    (ability.server, ability.expiry) = ("StackStorm", Expiry::None);
    ability.wishes = &[Wish::StackStormKey];
}

/// A living key of a manifest that says this of StackStorm, seen as it was made for `shown`.
fn changed(wanted: &str, shown: &str) -> Case {
    let spec = |more: &str| format!(r#""lifetime": "30d", "stackStorm": {more}"#);
    let asked = adjusting::extras(&object(&spec(shown)).spec).digest();
    seen_with(&spec(wanted))
        .settled(1, days(1))
        .list(secs(30), &[(1, days(1))])
        .with(patient)
        .with(move |s| shown_first(s).extras = asked)
}

fn shown_first(seen: &mut Seen) -> &mut crate::plan::port::RemoteKey {
    &mut shown(seen)[0]
}

#[test]
fn a_living_key_is_changed_in_place() {
    let (old, new) = (r#"{"metadata": {"a": 1}}"#, r#"{"metadata": {"a": 2}}"#);
    let off = r#"{"metadata": {"a": 1}, "enabled": false}"#;
    let disabled = |s: &mut Seen| shown_first(s).activity = Activity::Disabled;
    check(vec![
        (
            "as it shall be",
            changed(old, old).recorded(),
            "Idle",
            READY,
        ),
        (
            "other metadata, seen by a cache",
            changed(new, old),
            "Refresh",
            READY,
        ),
        (
            "other metadata",
            changed(new, old).live(),
            "Adjust k1",
            READY,
        ),
        (
            "to be disabled",
            changed(off, old).live(),
            "Adjust k1",
            READY,
        ),
        (
            "somebody has disabled it",
            changed(old, old).with(disabled).live(),
            "Adjust k1",
            READY,
        ),
        (
            "somebody else's, whose id was written on the Secret",
            changed(new, old)
                .with(|s| shown_first(s).text = "somebody else's".to_owned())
                .with(|s| s.list.as_mut().unwrap().began = s.now - days(2))
                .live(),
            "Look",
            READY,
        ),
        (
            "disabled, as it shall be",
            changed(off, old).with(disabled).recorded(),
            "Idle",
            READY,
        ),
        (
            "the manifest changed, and no list shows the key",
            changed(new, old).with(|s| {
                s.list = None;
                s.object.generation = 2;
            }),
            "Look",
            READY,
        ),
    ]);
}

#[test]
fn a_change_is_sent_whole_and_seen_in_the_list_afterwards() {
    let (old, new) = (r#"{"metadata": {"a": 1}}"#, r#"{"metadata": {"a": 2}}"#);
    let seen = changed(new, old).live().0;
    let step = crate::plan::key::plan(&seen).step;
    let Step::Adjust { id, change } = &step else {
        panic!("{step:?}")
    };
    assert_eq!(change.text, text(1));
    assert!(change.notes.contains(&("apiKey", "team/key".to_owned())));
    assert_eq!(change.extras.metadata.to_string(), r#"{"a":2}"#);
    assert_eq!((id.as_str(), change.activity), ("k1", Activity::Enabled));
    let after = crate::plan::key::fold(seen, &step, crate::plan::key::Done::Adjusted);
    assert!(adjusting::adjust(&after).is_none(), "once is enough");
}

#[test]
fn what_a_server_has_not_is_refused() {
    let refused = "-Ready:Invalid +Stalled:Invalid";
    let storm = |spec: &str| seen_with(spec).with(patient);
    check(vec![
        (
            "StackStorm's on Octopus Deploy",
            seen_with(r#""stackStorm": {}"#),
            "Record",
            refused,
        ),
        (
            "Elasticsearch's on StackStorm",
            storm(r#""elasticsearch": {}"#),
            "Record",
            refused,
        ),
        (
            "a name that the server keeps for itself",
            storm(r#""stackStorm": {"metadata": {"$set": 1}}"#),
            "Record",
            refused,
        ),
        (
            "a name that we keep for ourselves",
            storm(r#""stackStorm": {"metadata": {"apikeys.dev": {}}}"#),
            "Record",
            refused,
        ),
        (
            "an honest name",
            storm(r#""stackStorm": {"metadata": {"team": "a"}}"#),
            "Open 1",
            "-Ready:Minting +Reconciling:Minting",
        ),
    ]);
}

#[test]
fn the_operator_is_the_end_of_a_key_that_has_none() {
    // Made 31 days ago for 30 days, and nothing may take its place.
    let over = || {
        seen_with(r#""lifetime": "30d", "suspend": true"#)
            .settled(1, days(31))
            .list(secs(30), &[(1, days(31))])
            .with(patient)
    };
    let suspended = "-Ready:Suspended +Stalled:Suspended";
    check(vec![
        ("a cache shows it", over().recorded(), "Refresh", suspended),
        (
            "its Secret goes first",
            over().recorded().live(),
            "Unpublish",
            suspended,
        ),
        (
            "then it is revoked",
            over().with(|s| s.secret = Secret::Absent).recorded().live(),
            "Revoke k1 Retired",
            suspended,
        ),
        (
            "where the server ends keys, nothing is to be done",
            over()
                .with(|s| s.base.server.as_mut().unwrap().ability.expiry = Expiry::Native)
                .recorded()
                .live(),
            "Idle",
            suspended,
        ),
    ]);
}

#[test]
fn two_wishes_are_told_apart() {
    let digest = |spec: &str| adjusting::extras(&object(spec).spec).digest();
    let storm = |json: &str| digest(&format!(r#""stackStorm": {{"metadata": {json}}}"#));
    assert_eq!(storm("{}"), None);
    assert_eq!(
        storm(r#"{"b": 1, "a": {"d": 1, "c": 2}}"#),
        storm(r#"{"a": {"c": 2, "d": 1}, "b": 1}"#)
    );
    assert_ne!(storm(r#"{"a": 1}"#), storm(r#"{"a": 2}"#));
    let roles = |name: &str| {
        digest(&format!(
            r#""elasticsearch": {{"roleDescriptors": {{"{name}": {{}}}}}}"#
        ))
    };
    assert_ne!(roles("a"), roles("b"));
    assert!(roles("a").is_some());
}
