//! A key that there is.

use crate::api::conditions::Reason;
use crate::plan::key::{Dress, Finalizer, IntentSeen, Secret, Seen};
use crate::plan::marker::Installation;
use crate::plan::port::AccountId;

use super::{READY, check, stop};
use crate::plan::key::tests::build::*;

#[test]
fn a_living_key() {
    let one = || seen().settled(1, days(1));
    let with_list = || one().list(secs(30), &[(1, days(1))]);
    check(vec![
        ("settled, looked at", with_list().recorded(), "Idle", READY),
        ("settled, never looked at", one(), "Look", READY),
        (
            "looked at long ago",
            one().list(mins(10), &[(1, days(1))]),
            "Look",
            READY,
        ),
        (
            "a list of the future: the clock was set back",
            one().list(-mins(90), &[]),
            "Look",
            READY,
        ),
        (
            "in the Secret, not yet in status",
            seen().intent(1, secs(9)).published(1, secs(5)),
            "Record",
            READY,
        ),
        (
            "in the Secret, not yet in status, and due for rotation",
            seen()
                .intent(1, days(21))
                .published(1, days(21))
                .list(secs(30), &[(1, days(21))]),
            "Record",
            READY,
        ),
        (
            "status is ahead of the Secret that the cache shows",
            seen()
                .intent(2, secs(9))
                .published(1, days(1))
                .mirrored(2, secs(8)),
            "Refresh",
            READY,
        ),
        (
            "status remembers a key, and the cache shows no Secret",
            seen().intent(1, days(1)).mirrored(1, days(1)),
            "Refresh",
            "-Ready:Minting +Reconciling:Minting",
        ),
        (
            "the Secret was deleted",
            seen().intent(1, days(1)).mirrored(1, days(1)).live(),
            "Open 2",
            "-Ready:Minting +Reconciling:Minting",
        ),
        (
            "the finalizer was dropped",
            with_list().with(|s| s.object.finalizer = Finalizer::Missing),
            "Guard",
            READY,
        ),
        (
            "the finalizer and the intent were dropped",
            with_list().with(|s| {
                s.object.finalizer = Finalizer::Missing;
                s.object.intent = IntentSeen::Missing;
            }),
            "Guard",
            READY,
        ),
        (
            "the key is gone from the server",
            one().list(secs(30), &[]),
            "Open 2",
            "-Ready:Minting +Reconciling:Minting",
        ),
        (
            "the list is too old to know the key",
            seen()
                .settled(1, mins(5))
                .list(mins(4) + secs(50), &[])
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "its marker tells of another attempt: the annotation is forged",
            one()
                .list(secs(30), &[(1, days(1)), (2, days(2))])
                .with(|s| {
                    let Secret::Ours(held) = &mut s.secret else {
                        panic!()
                    };
                    held.published.as_mut().unwrap().id = id(2);
                }),
            "Open 3",
            "-Ready:Minting +Reconciling:Minting",
        ),
        (
            "made under another installation",
            one()
                .list(secs(30), &[(1, days(1))])
                .with(|s| {
                    let Secret::Ours(held) = &mut s.secret else {
                        panic!()
                    };
                    let other = Installation::parse("other").unwrap();
                    held.published.as_mut().unwrap().installation = other;
                    let keys = shown(s);
                    keys[0].text = keys[0].text.replace("here", "other");
                })
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "its account is another one now",
            with_list().with(|s| s.base.account = Some(AccountId::new("Users-2"))),
            "Open 2",
            "-Ready:Minting +Reconciling:Minting",
        ),
        (
            "its account is disabled",
            with_list().with(|s| s.base.works = Err(stop(Reason::AccountDisabled))),
            "Record",
            "-Ready:AccountDisabled +Stalled:AccountDisabled",
        ),
        (
            "the server is down",
            one()
                .with(|s| s.base.server = Err(stop(Reason::ServerUnreachable)))
                .recorded(),
            "Idle",
            READY,
        ),
        ("untidy", with_list().with(dishevel), "Dress", READY),
        (
            "untidy, but the last try failed a moment ago",
            with_list()
                .with(dishevel)
                .failed(3, "SecretRefused", secs(1)),
            "Record",
            "+Ready:Ready -UpToDate:SecretRefused",
        ),
        (
            "the finalizer was dropped while a failure is waited out",
            with_list().failed(3, "SecretRefused", secs(1)).with(|s| {
                dishevel(s);
                s.object.finalizer = Finalizer::Missing;
            }),
            "Guard",
            "+Ready:Ready -UpToDate:SecretRefused",
        ),
        (
            "an older intent was applied again",
            seen()
                .settled(3, days(1))
                .list(secs(30), &[(3, days(1))])
                .intent(1, days(9))
                .recorded(),
            "Idle",
            READY,
        ),
        (
            "suspended",
            with_list().with(|s| s.object.spec.suspend = true),
            "Record",
            "+Ready:Ready -UpToDate:Suspended",
        ),
    ]);
}

fn dishevel(seen: &mut Seen) {
    if let Secret::Ours(held) = &mut seen.secret {
        held.dress = Dress::Untidy;
    }
}
