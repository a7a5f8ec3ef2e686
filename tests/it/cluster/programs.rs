//! Programs that use keys all the while, and what they have to complain of.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use testbed::twins::octopus::Life;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use super::case::Case;

/// A program that reads anew from time to time does so. Nothing waits as long, or twice as long: it would
/// read just when a key was replaced.
const ANEW: Duration = Duration::from_secs(25);
/// A program uses its key so often.
const USES: Duration = Duration::from_millis(250);

/// How a program uses a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// It reads the Secret anew from time to time, and is never refused.
    Anew,
    /// It reads as seldom, and tries the other slot before it gives up: one of them works.
    Slots,
    /// It reads when it is refused, and is not refused twice in a row.
    Refused,
}

impl Habit {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Anew, Self::Slots, Self::Refused];
}

/// The programs of a case.
#[derive(Default)]
pub(super) struct Programs {
    halt: CancellationToken,
    /// How often each of them used a key that worked.
    uses: Mutex<Vec<Arc<AtomicUsize>>>,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Programs {
    /// Lets a program use a Secret until the end.
    pub(super) fn employ(&self, case: &Case, secret: &str, habit: Habit) {
        let secrets: Api<Secret> = Api::namespaced(case.stage.client.clone(), &case.namespace);
        let twin = case.twin.clone();
        let works = move |text: &str| {
            let key = twin.look(|twin, now| twin.whose(now, text));
            key.is_some_and(|key| key.life == Life::Alive)
        };
        let (complaints, name) = (Arc::clone(&self.complaints), secret.to_owned());
        let complain = move |what: &str| {
            let mut complaints = complaints.lock().unwrap_or_else(PoisonError::into_inner);
            complaints.push(format!("{habit:?}, with Secret {name}: {what}"));
        };
        let (halt, name) = (self.halt.clone(), secret.to_owned());
        let worked = Arc::new(AtomicUsize::new(0));
        let mut all = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(&worked));
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
                    worked.fetch_add(1, Ordering::Relaxed);
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

    /// Ends them, and hears what they have to complain of.
    pub(super) fn content(&self) -> Result<()> {
        self.halt.cancel();
        let complaints = self
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
        let uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let uses: Vec<usize> = uses.iter().map(|it| it.load(Ordering::Relaxed)).collect();
        let all = !uses.is_empty() && uses.iter().all(|uses| *uses > 5);
        ensure!(all, "a program hardly used its key: {uses:?}");
        Ok(())
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
