//! What anybody has to complain of in a scene, and its whole story.

use std::fmt::Write as _;
use std::future::Future;
use std::sync::PoisonError;

use anyhow::{Result, anyhow, ensure};
use apikey_operator::clock::Clock as _;
use tokio::task::JoinHandle;

use super::Scene;
use crate::manifests;
use crate::recorder::Pace;

impl Scene {
    /// Has the witness look at what came of nobody's effect.
    pub(super) fn look(&self) {
        for wrong in self.witness.look(None) {
            self.complain(wrong);
        }
    }

    /// What anybody has to complain of.
    ///
    /// # Errors
    /// When somebody has.
    pub fn verdict(&self) -> Result<()> {
        let mut wrong = self.witness.look(None);
        for violation in self.world.recorder.violations() {
            wrong.push(format!("after {}: {}", violation.effect, violation.what));
        }
        wrong.extend(
            self.complaints
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .cloned(),
        );
        for heard in self.world.recorder.calls(0) {
            if heard.pace == Pace::Restless {
                wrong.push(format!("{} never rests: {}", heard.at, heard.call.path));
                break;
            }
        }
        for (name, program) in self.programs().iter() {
            if program.work.as_ref().is_some_and(JoinHandle::is_finished) {
                wrong.push(format!("{name} has ended by itself"));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    }

    /// Plays an act in this scene; what went wrong in it is told with everything that was done.
    ///
    /// # Errors
    /// Those of the act, and [`Scene::verdict`]'s.
    pub async fn act(&self, act: impl Future<Output = Result<()>>) -> Result<()> {
        let outcome = act.await;
        let verdict = self.verdict();
        match (outcome, verdict) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(error), Ok(())) => Err(anyhow!("{error:#}\n{}", self.report())),
            (Ok(()), Err(wrong)) => Err(anyhow!("{wrong}\n{}", self.report())),
            (Err(error), Err(wrong)) => Err(anyhow!("{error:#}\n{wrong}\n{}", self.report())),
        }
    }

    /// All effects, and how things stand.
    pub fn report(&self) -> String {
        let mut text = format!("effects until {}:\n", self.world.clock.now());
        for effect in self.world.recorder.effects() {
            let _ = writeln!(text, "  {effect}");
        }
        text.push_str("keys on the servers:\n");
        for key in self.servers.keys() {
            let _ = writeln!(
                text,
                "  {} of {} {:?} made {} ends {:?}: {}",
                key.id, key.owner, key.life, key.created, key.expires, key.purpose
            );
        }
        text.push_str("objects:\n");
        self.world.api.store(|store| {
            for resource in manifests::SHOWN {
                for object in store.all(resource) {
                    let mut object = object.clone();
                    object["metadata"]["managedFields"].take();
                    let _ = writeln!(text, "  {object}");
                }
            }
        });
        text
    }
}
