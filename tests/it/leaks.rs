//! No plaintext anywhere: what must be secret is looked for, raw and encoded, in all that the
//! operator says at the level `trace`: on the stage that the rows share after all of them have
//! played, and on the stage of `alone` at its end.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::cluster::{Case, Stage, Stages};
use crate::ladder::Rung;

/// The rung.
pub(crate) fn rung(stages: &Stages) -> Rung {
    let stages = stages.clone();
    Rung::new("leaks")
        .plain("every_form_is_found", every_form_is_found)
        .test("nothing_that_is_said_holds_a_secret", async move |ground| {
            let stage = stages.played(ground).await?;
            nothing_that_is_said_holds_a_secret(&stage, MANY).await
        })
}

/// So many keys and credentials are looked for at least, after all rows: what the leak test itself
/// makes are four.
const MANY: usize = 200;

/// One thing that is said.
pub(crate) struct Saying {
    pub(crate) place: &'static str,
    pub(crate) text: Vec<u8>,
}

/// What was found, and where.
#[derive(Debug)]
pub(crate) struct Leak {
    pub(crate) place: &'static str,
    pub(crate) form: &'static str,
}

/// A form of a canary: its name and its bytes.
type Form = (&'static str, Vec<u8>);

/// Looks for every form of every canary.
pub(crate) fn leaks(canaries: &[String], sayings: &[Saying]) -> Vec<Leak> {
    // By their first bytes, so that a long saying is walked over once.
    let mut forms: HashMap<[u8; WINDOW], Vec<Form>> = HashMap::new();
    let mut begins = vec![false; 1 << 16];
    for canary in canaries {
        for (form, bytes) in encodings(canary) {
            if let Some(head) = bytes.first_chunk().copied() {
                begins[two(&head)] = true;
                forms.entry(head).or_default().push((form, bytes));
            }
        }
    }
    let mut found = Vec::new();
    for saying in sayings {
        for (at, window) in saying.text.windows(WINDOW).enumerate() {
            if !begins[two(window)] {
                continue;
            }
            let forms = forms.get(window).into_iter().flatten();
            let rest = &saying.text[at..];
            found.extend(
                forms
                    .filter(|(_, bytes)| rest.starts_with(bytes))
                    .map(|(form, _)| Leak {
                        place: saying.place,
                        form,
                    }),
            );
        }
    }
    found
}

/// The number of the first two bytes.
fn two(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
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

/// Nothing that the operator of this stage has said so far holds a secret; there are so many secrets
/// at least.
pub(crate) async fn nothing_that_is_said_holds_a_secret(
    stage: &Arc<Stage>,
    many: usize,
) -> Result<()> {
    // A leak on purpose: a word that goes the way of all names shows that each place is listened to.
    let decoy = "decoy-7f3a9c2e1b";
    let case = Case::open(stage, decoy).await?;
    case.apply(&case.whole()).await?;
    case.healed(1).await?;
    // Metrics name no object.
    let decoys = [decoy.to_owned(), "kind=\"ApiKey\"".to_owned()];
    case.shown_by("the decoy at every place", async || {
        let sayings = sayings(stage).await?;
        let caught = leaks(&decoys, &sayings);
        let is_heard = |saying: &Saying| caught.iter().any(|leak| leak.place == saying.place);
        Ok(sayings.iter().all(is_heard))
    })
    .await?;
    let canaries = stage.canaries.all();
    let keys = canaries.iter().filter(|canary| canary.starts_with("API-"));
    let keys = keys.count();
    let all_rows = std::env::var_os("ROW").is_none();
    ensure!(
        keys >= many || !all_rows,
        "{keys} keys and credentials are looked for"
    );
    let sayings = sayings(stage).await?;
    let found = leaks(&canaries, &sayings);
    ensure!(found.is_empty(), "{found:?}");
    case.end().await
}

/// All that the operator has said.
async fn sayings(stage: &Stage) -> Result<Vec<Saying>> {
    let control_plane = stage.control_plane().await?;
    let urls: Vec<String> = control_plane
        .audit()
        .await?
        .into_iter()
        .map(|event| format!("{} {}", event.request_uri, event.user_agent))
        .collect();
    Ok([
        ("log", stage.log()?.into_bytes()),
        ("Events", stage.heard.events()),
        ("objects", stage.heard.objects()),
        ("metrics", stage.metrics().await?.into_bytes()),
        ("URLs", urls.join("\n").into_bytes()),
    ]
    .map(|(place, text)| Saying { place, text })
    .into())
}
