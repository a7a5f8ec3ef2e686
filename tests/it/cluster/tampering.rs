//! Somebody else's hands: status wiped, old manifests, old intents, forged annotations.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use apikey_operator::plan::port::KeyId;
use apikey_operator::plan::record::{
    Intent, Nonce, Retiring, Serial, Uid, format_retiring, parse_retiring,
};
use http::Method;
use jiff::Timestamp;
use kube::api::DynamicObject;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};
use testbed::twins::Effect;
use testbed::twins::octopus::Life;

use super::case::{Account, Case, Key, Object, Sealed, Server};
use super::{Row, rows};

/// Those whose end waits for the minute within which a mint may land: an intent was lost.
pub(super) fn long() -> Vec<Row> {
    rows![
        old_manifests_replaced,
        strange_intents,
        intent_of_a_far_serial,
        forged_annotations_of_the_secret
    ]
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = rows![
        status_wiped,
        older_intents,
        finalizers_dropped,
        forged_status,
        labels_of_the_secret,
    ];
    for seed in 1..=4 {
        rows.push(Row::new("any_order", move |case| any_order(case, seed)).numbered(seed));
    }
    rows
}

/// Applied and deleted one after the other, in an order that the seed draws.
async fn any_order(case: Arc<Case>, seed: u64) -> Result<()> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut manifests = case.whole().to_vec();
    manifests.push(case.key_named("second", ""));
    manifests.shuffle(&mut dice);
    for manifest in &manifests {
        case.apply(&[manifest]).await?;
    }
    case.ready(Key("ci")).await?;
    case.ready(Key("second")).await?;
    case.healed_of(2)?;
    let mut objects = [
        Key("ci"),
        Key("second"),
        Account("ci"),
        Server("octopus"),
        Sealed("octopus"),
    ];
    objects.shuffle(&mut dice);
    // That the credential goes first and alone is another row: it is given up at once then.
    objects.sort_by_key(|object| matches!(object, Sealed(_)));
    for object in objects {
        case.delete(object).await?;
    }
    for object in objects {
        case.gone(object).await?;
    }
    ensure!(case.living().is_empty() && case.minted() == 2);
    let made = case.twin.done(Effect::MakeAccount);
    ensure!(
        made == 1 && case.twin.done(Effect::EndAccount) == 1,
        "{made} accounts were made"
    );
    Ok(())
}

async fn status_wiped(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let before = essence(&case.get(Key("ci")).await?);
    for object in [Server("octopus"), Account("ci"), Key("ci")] {
        case.patch_status(object, Value::Null).await?;
        case.ready(object).await?;
    }
    case.healed(1).await?;
    let after = essence(&case.get(Key("ci")).await?);
    ensure!(before == after, "{after} instead of {before}");
    Ok(())
}

/// What a status says that does not depend on when.
fn essence(key: &DynamicObject) -> Value {
    let status = &key.data["status"];
    json!([
        status["serial"],
        status["secretName"],
        status["current"]["id"],
        status["rotateAt"]
    ])
}

/// `kubectl replace` drops our annotations and finalizers.
async fn old_manifests_replaced(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let account = case.account_id(&format!("{}.ci", case.namespace))?;
    for _ in 0..3 {
        replaced(&case).await?;
        for (object, finalizer) in [
            (Server("octopus"), "apikeys.dev/connection"),
            (Account("ci"), "apikeys.dev/account"),
            (Key("ci"), "apikeys.dev/revoke"),
        ] {
            guarded(&case, object, finalizer).await?;
        }
        case.healed(1).await?;
    }
    ensure!(case.twin.done(Effect::MakeAccount) == 1);
    ensure!(case.account_id(&format!("{}.ci", case.namespace))? == account);
    case.end().await?;
    ensure!(
        case.twin
            .view()
            .account(&format!("{}.ci", case.namespace))
            .is_none()
    );
    Ok(())
}

/// `kubectl replace` with all manifests but the credential's. It reads before it writes: where somebody
/// else wrote in between it is said again.
async fn replaced(case: &Case) -> Result<()> {
    let manifests = case.whole()[1..].join("\n---\n");
    case.shown_by("the old manifests", async || {
        match case.kubectl(&["replace", "--filename=-"], &manifests).await {
            Ok(_) => Ok(true),
            Err(error) if format!("{error:#}").contains("has been modified") => Ok(false),
            Err(error) => Err(error),
        }
    })
    .await
}

async fn guarded(case: &Case, object: Object<'_>, finalizer: &str) -> Result<()> {
    let what = format!("has {finalizer}");
    case.until(object, &what, |found| {
        let finalizers = found?.metadata.finalizers.as_ref()?;
        finalizers
            .iter()
            .any(|other| other == finalizer)
            .then_some(())
    })
    .await
}

const INTENT: &str = "apikeys.dev/intent";

async fn intent(case: &Case) -> Result<String> {
    let annotations = case.get(Key("ci")).await?.metadata.annotations;
    let intent = annotations.and_then(|mut annotations| annotations.remove(INTENT));
    intent.context("there is no intent")
}

/// An older intent, applied again and again: no mint loop.
async fn older_intents(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let older = intent(&case).await?;
    case.annotate(Key("ci"), &[("apikeys.dev/rotate", Some("once"))])
        .await?;
    case.has_serial(Key("ci"), 2).await?;
    case.ready(Key("ci")).await?;
    for _ in 0..10 {
        case.annotate(Key("ci"), &[(INTENT, Some(&older))]).await?;
        case.looked_at(Key("ci")).await?;
    }
    case.ready(Key("ci")).await?;
    case.healed_of(2)
}

/// Intents that nobody had: void, another object's, of another attempt, of a serial far away.
async fn strange_intents(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let own = intent(&case).await?;
    let own = Intent::parse(&own).with_context(|| format!("it does not parse: {own}"))?;
    let long_ago = Timestamp::from_second(1_577_836_800)?;
    let stranger = Uid::new("00000000-0000-4000-8000-000000000000");
    let other = Nonce::from_bytes([0xaa; 16]);
    let forged = [
        Intent {
            uid: stranger,
            ..own.clone()
        },
        Intent {
            nonce: other.clone(),
            opened_at: long_ago,
            ..own.clone()
        },
    ];
    let strange = forged.map(|intent| intent.to_string());
    let void = ["nonsense".to_owned(), String::new()];
    for intent in strange.iter().chain(&void) {
        case.annotate(Key("ci"), &[(INTENT, Some(intent))]).await?;
        case.looked_at(Key("ci")).await?;
        case.healed(1).await?;
    }
    case.annotate(Key("ci"), &[(INTENT, None)]).await?;
    case.looked_at(Key("ci")).await?;
    case.healed(1).await
}

/// An intent of a serial far away is an attempt whose answer nobody knows. While the key in the Secret
/// is the wanted one no other is made for it; the next one takes the serial after it, and no loop.
async fn intent_of_a_far_serial(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let own = intent(&case).await?;
    let own = Intent::parse(&own).with_context(|| format!("it does not parse: {own}"))?;
    let serial = Serial::from_number(1_000_000).context("no serial")?;
    let far = Intent {
        serial,
        nonce: Nonce::from_bytes([0xaa; 16]),
        ..own
    };
    case.annotate(Key("ci"), &[(INTENT, Some(&far.to_string()))])
        .await?;
    case.until(Key("ci"), "knows of it", |found| {
        (found?.data["status"]["serial"] == serial.number()).then_some(())
    })
    .await?;
    case.looked_at(Key("ci")).await?;
    case.healed(1).await?;
    let first = case.value("ci").await?;
    case.annotate(Key("ci"), &[("apikeys.dev/rotate", Some("once"))])
        .await?;
    case.has_serial(Key("ci"), serial.next().number()).await?;
    case.ready(Key("ci")).await?;
    let second = case.value("ci").await?;
    ensure!(first != second && case.works(&first).is_some() && case.works(&second).is_some());
    case.looked_at(Key("ci")).await?;
    case.healed_of(2)
}

async fn finalizers_dropped(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    for (object, finalizer) in [
        (Server("octopus"), "apikeys.dev/connection"),
        (Account("ci"), "apikeys.dev/account"),
        (Key("ci"), "apikeys.dev/revoke"),
        (Sealed("octopus"), "apikeys.dev/credential-in-use"),
    ] {
        case.patch(object, json!({"metadata": {"finalizers": null}}))
            .await?;
        guarded(&case, object, finalizer).await?;
    }
    case.healed(1).await
}

/// Forged annotations on the Secret end no key that is not this ApiKey's.
async fn forged_annotations_of_the_secret(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let user = case.account_id(&format!("{}.ci", case.namespace))?;
    let path = format!("/api/users/{user}/apikeys");
    let foreign = case
        .admin(Method::POST, &path, &json!({"Purpose": "by hand"}))
        .await?;
    let foreign = foreign["Id"].as_str().context("no id")?.to_owned();
    let own = case.living()[0].id.clone();
    let lives = |case: &Case| {
        let keys = case.twin.view().keys;
        let lives = |id: &str| {
            keys.iter()
                .any(|key| key.id == id && key.life == Life::Alive)
        };
        lives(&foreign) && lives(&own)
    };
    let annotations = case
        .get(Sealed("ci"))
        .await?
        .metadata
        .annotations
        .unwrap_or_default();
    for (name, forged) in [
        ("apikeys.dev/retiring", retiring(&foreign, 1)?),
        ("apikeys.dev/retiring", retiring(&foreign, 7)?),
        ("apikeys.dev/retiring", retiring(&own, 1)?),
        ("apikeys.dev/key-id", foreign.clone()),
        ("apikeys.dev/account-id", case.start.admin.user.clone()),
        ("apikeys.dev/server-identity", "another".to_owned()),
        ("apikeys.dev/nonce", "zzz".to_owned()),
        ("apikeys.dev/serial", "99".to_owned()),
        ("apikeys.dev/api-key", "a/b/c".to_owned()),
    ] {
        case.annotate(Sealed("ci"), &[(name, Some(&forged))])
            .await?;
        case.looked_at(Key("ci")).await?;
        ensure!(lives(&case), "{name} {forged} ended a key");
        let own = annotations.get(name).map(String::as_str);
        case.annotate(Sealed("ci"), &[(name, own)]).await?;
        case.looked_at(Key("ci")).await?;
    }
    case.ready(Key("ci")).await?;
    case.works(&case.value("ci").await?)
        .context("the Secret's key does not work")?;
    case.end().await?;
    ensure!(case.living().is_empty());
    Ok(())
}

/// The annotation that says of a key that it was replaced, and was to be revoked long ago.
fn retiring(id: &str, serial: u64) -> Result<String> {
    let forged = format_retiring(&[Retiring {
        serial: Serial::from_number(serial).context("no serial")?,
        id: KeyId::new(id),
        revoke_at: Timestamp::from_second(1_577_836_800)?,
    }]);
    ensure!(
        parse_retiring(&forged).len() == 1,
        "it does not parse: {forged}"
    );
    Ok(forged)
}

/// A forged status ends no key either.
async fn forged_status(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let current = case.living()[0].id.clone();
    let retiring = json!([{"id": current, "serial": 1, "revokeAt": "2020-01-01T00:00:00Z",
        "createdAt": "2020-01-01T00:00:00Z"}]);
    case.patch_status(Key("ci"), json!({"retiring": retiring}))
        .await?;
    case.looked_at(Key("ci")).await?;
    case.healed(1).await?;
    let forged = json!({"current": {"id": "apikeys-x", "serial": 7, "nonce": "x",
        "createdAt": "2020-01-01T00:00:00Z"}, "serial": 7});
    case.patch_status(Key("ci"), forged).await?;
    case.looked_at(Key("ci")).await?;
    case.healed(1).await
}

/// Labels and owner of a Secret are put right; entries of others stay.
async fn labels_of_the_secret(case: Arc<Case>) -> Result<()> {
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    case.patch(Sealed("ci"), json!({"stringData": {"theirs": "x"}}))
        .await?;
    case.apply(&[case.key("secret: {labels: {team: a}, annotations: {example.org/a: b}}")])
        .await?;
    case.until(Sealed("ci"), "is dressed", |found| {
        let meta = &found?.metadata;
        let label = meta.labels.as_ref()?.get("team")?;
        let note = meta.annotations.as_ref()?.get("example.org/a")?;
        (label == "a" && note == "b").then_some(())
    })
    .await?;
    case.patch(Sealed("ci"), json!({"metadata": {"ownerReferences": null}}))
        .await?;
    case.until(Sealed("ci"), "has its owner again", |found| {
        found?.metadata.owner_references.as_ref().map(drop)
    })
    .await?;
    ensure!(
        case.entries("ci")
            .await?
            .unwrap_or_default()
            .contains_key("theirs")
    );
    case.healed(1).await
}
