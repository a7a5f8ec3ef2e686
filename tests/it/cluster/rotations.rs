//! Fifty rotations with operators that are killed in between, and programs that use the keys all the
//! while. The replaced keys end three minutes later.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use super::case::{Account, Case, Key};
use super::kills::{self, Moment};
use super::stage::{Plane, Stage};
use crate::ladder::Ground;

/// So many keys are replaced so often each: no more than three replaced ones live at a time.
const KEYS: usize = 17;
const ROUNDS: usize = 3;
/// A program that reads anew from time to time does so.
const ANEW: Duration = Duration::from_secs(30);
/// A program uses its key so often.
const USES: Duration = Duration::from_millis(250);

/// How a program uses a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// It reads the Secret anew from time to time, and is never refused.
    Anew,
    /// It reads as seldom, and tries the other slot before it gives up: one of them works.
    Slots,
    /// It reads when it is refused, and is not refused twice in a row.
    Refused,
}

/// The keys that were replaced, and the programs that use them.
struct Rotations {
    case: Case,
    halt: CancellationToken,
    complaints: Arc<Mutex<Vec<String>>>,
}

fn name(key: usize) -> String {
    format!("k{key}")
}

/// On a control plane of its own: mostly it waits.
pub(super) async fn play(ground: Arc<Ground>) -> Result<()> {
    if !super::is_asked_for("rotations") {
        return Ok(());
    }
    let stage = Arc::new(Stage::set(Plane::own(&ground).await?).await?);
    let seed = kills::seed();
    let played = async { begin(&stage, seed).await?.end().await };
    played.await.with_context(|| format!("with SEED={seed}"))
}

/// Replaces all keys again and again, and kills operators meanwhile.
async fn begin(stage: &Arc<Stage>, seed: u64) -> Result<Rotations> {
    let mut dice = StdRng::seed_from_u64(seed);
    stage.stop().await?;
    stage.start_unelected().await?;
    let case = Case::open(stage, "rotations").await?;
    case.apply(&case.ground()).await?;
    case.apply(&[case.account("")]).await?;
    case.ready(Account("ci")).await?;
    let spec = "rotation: {overlap: 0s}, secret: {keepPrevious: true}";
    let manifests: Vec<_> = (0..KEYS)
        .map(|key| case.key_named(&name(key), spec))
        .collect();
    case.apply(&manifests).await?;
    for key in 0..KEYS {
        case.ready(Key(&name(key))).await?;
    }
    let rotations = Rotations {
        halt: CancellationToken::new(),
        complaints: Arc::default(),
        case,
    };
    for key in 0..KEYS {
        for habit in [Habit::Anew, Habit::Slots, Habit::Refused] {
            rotations.employ(&name(key), habit);
        }
    }
    let case = &rotations.case;
    for round in 1..=ROUNDS {
        let text = format!("round {round}");
        let moment = Moment::draw(case, &mut dice).await?;
        for key in 0..KEYS {
            let ask = [("apikeys.dev/rotate", Some(text.as_str()))];
            case.annotate(Key(&name(key)), &ask).await?;
        }
        moment.comes(case).await?;
        stage.kill().await?;
        stage.start_unelected().await?;
        for key in 0..KEYS {
            case.until(Key(&name(key)), "has another key", |found| {
                (found?.data["status"]["lastHandledRotate"] == text.as_str()).then_some(())
            })
            .await?;
        }
    }
    Ok(rotations)
}

impl Rotations {
    /// Waits until the replaced keys have ended, and hears what the programs have to complain of.
    async fn end(self) -> Result<()> {
        let case = &self.case;
        let replaced = Duration::from_secs(360);
        for key in 0..KEYS {
            let none_retires = |found: Option<&kube::api::DynamicObject>| {
                found?.data["status"]["retiring"].is_null().then_some(())
            };
            case.until_within(replaced, Key(&name(key)), "has one key", none_retires)
                .await?;
            case.ready(Key(&name(key))).await?;
        }
        // An operator that was killed between a mint and its record leaves a key to the sweep.
        let living = case.living().len();
        ensure!(
            (KEYS..=KEYS + 8 * ROUNDS).contains(&living),
            "{living} keys live"
        );
        self.halt.cancel();
        let complaints = std::mem::take(
            &mut *self
                .complaints
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
        self.case.end().await
    }

    /// Lets a program use a Secret until the end.
    fn employ(&self, secret: &str, habit: Habit) {
        let secrets: Api<Secret> =
            Api::namespaced(self.case.stage.client.clone(), &self.case.namespace);
        let twin = self.case.twin.clone();
        let works = move |text: &str| {
            let key = twin.look(|twin, now| twin.whose(now, text));
            key.is_some_and(|key| key.life == testbed::twins::octopus::Life::Alive)
        };
        let (complaints, name) = (Arc::clone(&self.complaints), secret.to_owned());
        let complain = move |what: &str| {
            let mut complaints = complaints.lock().unwrap_or_else(PoisonError::into_inner);
            complaints.push(format!("{habit:?}, with Secret {name}: {what}"));
        };
        let (halt, name) = (self.halt.clone(), secret.to_owned());
        tokio::spawn(async move {
            let mut uses = interval(USES);
            let (mut slots, mut read_at) = (Vec::new(), None::<Instant>);
            let mut refused = 0;
            while !halt.is_cancelled() {
                uses.tick().await;
                let stale = read_at.is_none_or(|at| at.elapsed() > ANEW);
                let again = habit == Habit::Refused && refused == 0 && read_at.is_some();
                if stale && !again {
                    let Ok(Some(secret)) = secrets.get_opt(&name).await else {
                        continue;
                    };
                    slots = values(&secret);
                    read_at = Some(Instant::now());
                }
                let tried = if habit == Habit::Slots {
                    slots.len()
                } else {
                    1
                };
                if slots.iter().take(tried).any(|value| works(value)) {
                    refused = 0;
                    continue;
                }
                refused += 1;
                if habit != Habit::Refused || refused > 1 {
                    complain("refused");
                }
                read_at = None;
            }
        });
    }
}

/// The current key, and the one in the second slot.
fn values(secret: &Secret) -> Vec<String> {
    let entry = |name: &str| {
        let value = secret.data.as_ref()?.get(name)?;
        String::from_utf8(value.0.clone()).ok()
    };
    ["OCTOPUS_API_KEY", "PREVIOUS_OCTOPUS_API_KEY"]
        .into_iter()
        .filter_map(entry)
        .collect()
}
