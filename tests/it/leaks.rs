//! No plaintext anywhere: what must be secret is looked for, raw and encoded, in all that the
//! operator says, after all other rows have played.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use serde_json::Value;

use crate::cluster::{Account, Case, Cluster, Key, Server, Stage, Stages};
use crate::ladder::Rung;

/// The rung: after all others that play on the shared stage.
pub(crate) fn rung(stages: &Stages) -> Rung {
    let stages = stages.clone();
    Rung::new("leaks")
        .plain("every_form_is_found", every_form_is_found)
        .test("nothing_that_is_said_holds_a_secret", async move |ground| {
            nothing_that_is_said_holds_a_secret(&stages.shared(ground).await?).await
        })
}

/// One thing that is said.
struct Saying {
    place: &'static str,
    text: Vec<u8>,
}

/// What was found, and where.
#[derive(Debug)]
struct Leak {
    place: &'static str,
    form: &'static str,
}

/// A form of a canary: its name and its bytes.
type Form = (&'static str, Vec<u8>);

/// Looks for every form of every canary.
fn leaks(canaries: &[String], sayings: &[Saying]) -> Vec<Leak> {
    // By their first bytes, so that a long saying is walked over once.
    let mut forms: HashMap<[u8; WINDOW], Vec<Form>> = HashMap::new();
    for canary in canaries {
        for (form, bytes) in encodings(canary) {
            if let Some(head) = bytes.first_chunk().copied() {
                forms.entry(head).or_default().push((form, bytes));
            }
        }
    }
    let mut found = Vec::new();
    for saying in sayings {
        for at in 0..saying.text.len().saturating_sub(WINDOW - 1) {
            let rest = &saying.text[at..];
            let head: Option<&[u8; WINDOW]> = rest.first_chunk();
            for (form, bytes) in head.and_then(|head| forms.get(head)).into_iter().flatten() {
                if rest.starts_with(bytes) {
                    let place = saying.place;
                    found.push(Leak { place, form });
                }
            }
        }
    }
    found
}

const WINDOW: usize = 8;

/// A text, as careless programs print it.
fn encodings(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = text.as_bytes();
    let join = |separator: &str, one: &dyn Fn(&u8) -> String| {
        bytes
            .iter()
            .map(one)
            .collect::<Vec<_>>()
            .join(separator)
            .into_bytes()
    };
    let mut forms = vec![
        ("raw", bytes.to_vec()),
        ("hex", join("", &|byte| format!("{byte:02x}"))),
        ("HEX", join("", &|byte| format!("{byte:02X}"))),
        ("decimal bytes", join(", ", &u8::to_string)),
        ("decimal bytes without spaces", join(",", &u8::to_string)),
    ];
    // Wherever it begins in what was encoded: what depends on its neighbours is left out.
    for shift in 0..3 {
        let shifted = [&vec![0; shift], bytes].concat();
        let encoded = base64(&shifted);
        let from = (shift * 8).div_ceil(6);
        let to = encoded.len() - usize::from(shifted.len() % 3 != 0);
        forms.push(("base64", encoded[from..to].to_vec()));
    }
    forms
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let bits: Vec<u8> = bits.collect();
    let sixes = bits.chunks(6).map(|six| {
        let value = six
            .iter()
            .fold(0_usize, |value, bit| value << 1 | usize::from(*bit));
        LETTERS[value << (6 - six.len())]
    });
    sixes.collect()
}

/// The search finds what it is to find, in every form and at every place.
fn every_form_is_found() -> Result<()> {
    let canary = "API-CANARY0123456789".to_owned();
    let known = base64(b"API-CANARY0123456789!");
    ensure!(
        known == b"QVBJLUNBTkFSWTAxMjM0NTY3ODkh",
        "{}",
        String::from_utf8_lossy(&known)
    );
    let whole = |text: String| base64(text.as_bytes());
    let planted: [(&str, Vec<u8>); 8] = [
        ("raw", format!("key={canary};").into_bytes()),
        (
            "hex",
            b"x4150492d43414e41525930313233343536373839x".to_vec(),
        ),
        ("HEX", b"4150492D43414E41525930313233343536373839".to_vec()),
        (
            "decimal bytes",
            format!("{:?}", canary.as_bytes()).into_bytes(),
        ),
        (
            "decimal bytes without spaces",
            serde_json::to_vec(canary.as_bytes())?,
        ),
        ("base64", whole(canary.clone())),
        ("base64", whole(format!("u:{canary}:p"))),
        ("base64", whole(format!("{{\"key\":\"{canary}\"}}"))),
    ];
    for (form, text) in planted {
        let shown = String::from_utf8_lossy(&text).into_owned();
        let found = leaks(
            std::slice::from_ref(&canary),
            &[Saying {
                place: "a test",
                text,
            }],
        );
        ensure!(
            found.iter().any(|leak| leak.form == form),
            "{form} is not found in {shown}"
        );
    }
    let harmless = Saying {
        place: "a test",
        text: b"API-CANARY012345678 and API-...".to_vec(),
    };
    ensure!(leaks(&[canary], &[harmless]).is_empty());
    Ok(())
}

async fn nothing_that_is_said_holds_a_secret(stage: &Arc<Stage>) -> Result<()> {
    // A leak on purpose: a word that goes the way of all names shows that each place is listened to.
    let decoy = "decoy-7f3a9c2e1b";
    let case = Case::open(stage, decoy).await?;
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    let sayings = sayings(&case).await?;
    let caught = leaks(&[decoy.to_owned()], &sayings);
    for saying in &sayings {
        let heard = caught.iter().any(|leak| leak.place == saying.place);
        // Metrics need not name an object.
        ensure!(
            heard || saying.place == "metrics",
            "{} is not listened to",
            saying.place
        );
    }
    let metrics = stage.metrics().await?;
    ensure!(metrics.contains("kind=\"ApiKey\""), "{metrics}");
    let canaries = stage.canaries.all();
    let keys = canaries
        .iter()
        .filter(|canary| canary.starts_with("API-"))
        .count();
    ensure!(keys >= 4, "{keys} keys and credentials are looked for");
    let found = leaks(&canaries, &sayings);
    ensure!(found.is_empty(), "{found:?}");
    case.end().await
}

/// All that the operator says.
async fn sayings(case: &Case) -> Result<Vec<Saying>> {
    let stage = &case.stage;
    let control_plane = stage.control_plane().await?;
    let urls: Vec<String> = control_plane
        .audit()
        .await?
        .into_iter()
        .map(|event| format!("{} {}", event.request_uri, event.user_agent))
        .collect();
    let events: Api<Event> = Api::all(stage.client.clone());
    let events = events.list(&ListParams::default()).await?.items;
    let mut objects = Vec::new();
    for kind in [Key(""), Account(""), Server(""), Cluster("")] {
        for object in case.everywhere(kind).await? {
            let metadata = serde_json::to_value(&object.metadata)?;
            let own: Vec<Value> = ["annotations", "labels", "name", "namespace"]
                .map(|part| metadata[part].clone())
                .into();
            objects.push(Value::from(vec![
                object.data["status"].clone(),
                Value::from(own),
            ]));
        }
    }
    Ok(vec![
        Saying {
            place: "log",
            text: stage.log()?.into_bytes(),
        },
        Saying {
            place: "Events",
            text: serde_json::to_vec(&events)?,
        },
        Saying {
            place: "status",
            text: serde_json::to_vec(&objects)?,
        },
        Saying {
            place: "metrics",
            text: stage.metrics().await?.into_bytes(),
        },
        Saying {
            place: "URLs",
            text: urls.join("\n").into_bytes(),
        },
    ])
}
