//! Fifty rotations with operators that are killed in between, and programs that use the keys all the
//! while. The replaced keys end three minutes later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::DynamicObject;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::case::{Account, Case, Key};
use super::kills::{self, Moment};
use super::programs::{Habit, Programs};
use super::stage::{Plane, Stage};
use crate::ladder::Ground;

/// So many keys are replaced so often each: no more than three replaced ones live at a time.
const KEYS: usize = 17;
const ROUNDS: usize = 3;
/// How often the operator is killed while the keys of a round are replaced.
const KILLS: usize = 4;
/// And once more whenever so many of the replaced keys have ended.
const ENDS: usize = 4;
/// Long enough for the replaced keys to end.
const RETIRED: Duration = Duration::from_secs(360);

/// The keys that were replaced, and the programs that use them.
struct Rotations {
    case: Case,
    programs: Programs,
    /// What killed operators had made, and nobody has published or replaced.
    left: BTreeSet<String>,
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
    let played = async {
        let mut rotations = begin(&stage).await?;
        rotations.turn(seed).await?;
        rotations.end().await
    };
    played.await.with_context(|| format!("with SEED={seed}"))
}

/// Makes all keys, and has programs use them.
async fn begin(stage: &Arc<Stage>) -> Result<Rotations> {
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
    let programs = Programs::default();
    for key in 0..KEYS {
        for habit in Habit::ALL {
            programs.employ(&case, &name(key), habit);
        }
    }
    Ok(Rotations {
        case,
        programs,
        left: BTreeSet::new(),
    })
}

impl Rotations {
    /// Replaces all keys again and again, and kills operators meanwhile.
    async fn turn(&mut self, seed: u64) -> Result<()> {
        let mut dice = StdRng::seed_from_u64(seed);
        for round in 1..=ROUNDS {
            let text = format!("round {round}");
            let mut moment = Moment::draw(&self.case, &mut dice).await?;
            for key in 0..KEYS {
                let ask = [("apikeys.dev/rotate", Some(text.as_str()))];
                self.case.annotate(Key(&name(key)), &ask).await?;
            }
            for _ in 0..KILLS {
                moment.comes(&self.case).await?;
                self.kill().await?;
                moment = Moment::draw(&self.case, &mut dice).await?;
            }
            for key in 0..KEYS {
                self.case
                    .until(Key(&name(key)), "has another key", |found| {
                        (found?.data["status"]["lastHandledRotate"] == text.as_str()).then_some(())
                    })
                    .await?;
            }
        }
        Ok(())
    }

    /// Kills the operator, and starts the next one.
    async fn kill(&mut self) -> Result<()> {
        self.case.stage.kill().await?;
        self.case.stage.start_unelected().await?;
        self.left.extend(kills::unrecorded(&self.case).await?);
        Ok(())
    }

    /// Waits until the replaced keys have ended, and hears what the programs have to complain of.
    async fn end(mut self) -> Result<()> {
        for key in 0..KEYS {
            let none_retires = |found: Option<&DynamicObject>| {
                found?.data["status"]["retiring"].is_null().then_some(())
            };
            let name = name(key);
            self.case
                .until_within(RETIRED, Key(&name), "has one key", none_retires)
                .await?;
            if key % ENDS == 0 {
                self.kill().await?;
            }
            self.case.ready(Key(&name)).await?;
        }
        let case = &self.case;
        let left = kills::unrecorded(case).await?;
        ensure!(
            left.is_subset(&self.left),
            "no killed operator has left these: {left:?} but {:?}",
            self.left
        );
        ensure!(case.living().len() == KEYS + left.len());
        // Each key was made because it was asked for, or because one was left.
        let minted = case.minted();
        ensure!(
            minted == KEYS * (ROUNDS + 1) + left.len(),
            "{minted} keys were made, and left of them are {left:?}"
        );
        for id in left {
            kills::grow_old(case, &id)?;
        }
        let rest = |case: &Case| (case.living().len() == KEYS).then_some(());
        case.shown("the end of what killed operators left", rest)
            .await?;
        self.programs.content()?;
        self.case.end().await
    }
}
