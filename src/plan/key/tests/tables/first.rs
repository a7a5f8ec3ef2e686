//! A key that there never was.

use crate::api::conditions::Reason;
use crate::plan::key::{IntentSeen, Secret, Seen};
use crate::plan::record::Serial;

use super::{check, stop};
use crate::plan::key::tests::build::*;

#[test]
fn a_first_key() {
    let waits = "-Ready:Minting +Reconciling:Minting";
    let forged = u64::from(u32::MAX - 1);
    let forge_intent = |seen: &mut Seen| {
        if let IntentSeen::Ours(intent) = &mut seen.object.intent {
            intent.serial = Serial::LAST;
        }
    };
    check(vec![
        ("new", seen(), "Open 1", waits),
        (
            "no account yet",
            seen().with(|s| s.base.account = None),
            "Record",
            "-Ready:WaitingForAccount +Reconciling:WaitingForAccount",
        ),
        (
            "not granted",
            seen().with(|s| s.base.mint = Err(stop(Reason::NotGranted))),
            "Record",
            "-Ready:NotGranted +Stalled:NotGranted",
        ),
        (
            "no server",
            seen().with(|s| s.base.server = Err(stop(Reason::ServerUnreachable))),
            "Record",
            "-Ready:ServerUnreachable +Reconciling:ServerUnreachable",
        ),
        (
            "policy",
            seen().with(|s| s.base.bounds.max_lifetime = Some(days(7))),
            "Record",
            "-Ready:PolicyViolation +Stalled:PolicyViolation",
        ),
        (
            "policy, after a first attempt that failed",
            seen().intent(1, mins(5)).with(|s| {
                s.object.status.serial = Some(1);
                s.base.bounds.max_lifetime = Some(days(7));
            }),
            "Record",
            "-Ready:PolicyViolation +Stalled:PolicyViolation",
        ),
        (
            "policy, but the manifest leaves the lifetime open",
            seen_with(r#""purpose": "x""#).with(|s| s.base.bounds.max_lifetime = Some(days(7))),
            "Open 1",
            waits,
        ),
        (
            "the operator's own key ends sooner",
            seen().with(|s| s.base.bounds.credential_expires_at = Some(s.now + days(10))),
            "Open 1",
            waits,
        ),
        (
            "the operator's own key has ended",
            seen().with(|s| s.base.bounds.credential_expires_at = Some(s.now)),
            "Record",
            "-Ready:LifetimeClipped +Reconciling:LifetimeClipped",
        ),
        (
            "suspended",
            seen_with(r#""suspend": true"#),
            "Record",
            "-Ready:Suspended +Stalled:Suspended",
        ),
        (
            "a token in the purpose",
            seen_with(r#""purpose": "ako1.x""#),
            "Record",
            "-Ready:Invalid +Stalled:Invalid",
        ),
        (
            "what this kind of server has not",
            seen_with(r#""stackStorm": {"metadata": {"a": "b"}}"#),
            "Record",
            "-Ready:Invalid +Stalled:Invalid",
        ),
        (
            "a template that does not render",
            seen().with(|s| s.object.templates = Err("bad".to_owned())),
            "Record",
            "-Ready:TemplateFailed +Stalled:TemplateFailed",
        ),
        (
            "a Secret that is not ours",
            seen().with(|s| s.secret = Secret::Foreign("it has no owner".to_owned())),
            "Record",
            "-Ready:SecretConflict +Stalled:SecretConflict",
        ),
        (
            "a void intent: somebody copied the object",
            seen().with(|s| s.object.intent = IntentSeen::Void),
            "Look",
            waits,
        ),
        (
            "a void intent, and a list",
            seen()
                .with(|s| s.object.intent = IntentSeen::Void)
                .list(secs(5), &[(3, mins(30))]),
            "Open 4",
            waits,
        ),
        (
            "an attempt is open",
            seen().intent(1, secs(59)).recorded(),
            "Idle",
            waits,
        ),
        (
            "an attempt was open, its last effect could just have landed",
            seen().intent(1, secs(60)).recorded(),
            "Idle",
            waits,
        ),
        (
            "an attempt was open, and a list may still not know it",
            seen().intent(1, secs(61)).list(secs(1), &[]),
            "Look",
            waits,
        ),
        (
            "an attempt was open, and a list knows it",
            seen().intent(1, mins(3)).list(secs(100), &[(1, mins(3))]),
            "Open 2",
            waits,
        ),
        (
            "an attempt was open, and this process knows that nothing comes of it",
            seen()
                .intent(1, secs(3))
                .with(|s| s.settled = Some(nonce(1))),
            "Open 2",
            waits,
        ),
        (
            "an attempt of the far future: a clock was wrong",
            seen().intent(1, -days(400)),
            "Look",
            waits,
        ),
        (
            "an intent of a serial that nobody can have reached",
            seen().intent(1, mins(5)).with(forge_intent),
            "Record",
            "-Ready:Invalid +Stalled:Invalid",
        ),
        (
            "such a serial in status counts for nothing",
            seen()
                .intent(1, mins(5))
                .list(secs(1), &[])
                .with(|s| s.object.status.serial = Some(forged)),
            "Open 2",
            waits,
        ),
        (
            "a failure is waited out",
            seen().intent(1, mins(2)).failed(8, "Rejected", secs(100)),
            "Record",
            "-Ready:Rejected +Stalled:Rejected",
        ),
        (
            "a failure was waited out",
            seen()
                .intent(1, mins(9))
                .failed(8, "Rejected", secs(170))
                .list(secs(1), &[]),
            "Open 2",
            waits,
        ),
        (
            "a failure of another spec is not waited out",
            seen()
                .intent(1, mins(9))
                .failed(8, "Rejected", secs(1))
                .list(secs(1), &[])
                .with(|s| s.object.generation = 2),
            "Open 2",
            waits,
        ),
        (
            "a failure of the future is not waited out",
            seen()
                .intent(1, mins(9))
                .failed(8, "Rejected", -days(400))
                .list(secs(1), &[]),
            "Open 2",
            waits,
        ),
        (
            "a Secret that was refused is tried before the next attempt",
            seen()
                .intent(1, mins(9))
                .failed(1, "SecretRefused", mins(8))
                .list(secs(1), &[]),
            "Rehearse",
            waits,
        ),
    ]);
}
