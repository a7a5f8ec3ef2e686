//! Programs: they live, crash, stand still, and are started again.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::{Arc, MutexGuard, PoisonError};

use apikey_operator::app::{self, Identity, Signs, Stamp, operate};
use apikey_operator::health::Gates;
use apikey_operator::lease::{Terms, Times};
use apikey_operator::plan::marker::Installation;
use apikey_operator::plan::sweep::{Claim, Scope};
use apikey_operator::servers::Allowed;
use jiff::SignedDuration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{INSTALLATION, LEASE, Scene};
use crate::clock::{SeededEntropy, SimulatedClock};
use crate::effect::Process;
use crate::manifests;
use crate::sign::Sign;
use crate::wire::Wires;

/// A program that is started again whenever it crashes.
pub(super) struct Program {
    life: Process,
    /// The clock of its machine.
    clock: SimulatedClock,
    pub(super) work: Option<JoinHandle<()>>,
    /// Whether a next life may begin.
    next: Sign<Next>,
    /// Asks it to end, for good.
    stop: CancellationToken,
}

/// Whether a next life may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    AtOnce,
    Waits,
}

impl Scene {
    /// Starts an operator, and again whenever it crashes.
    pub fn start(&self, program: &str) {
        self.start_under(program, None);
    }

    /// Starts an operator that works while it leads; when it leads no more its life ends.
    pub fn start_elected(&self, program: &str) {
        let terms = Terms {
            name: LEASE.to_owned(),
            pod: program.to_owned(),
            times: Times::default(),
        };
        self.start_under(program, Some(terms));
    }

    fn start_under(&self, program: &str, lease: Option<Terms>) {
        let process = Process::new(program);
        let life = Program {
            life: process.clone(),
            clock: self.world.clock.apart(),
            work: None,
            next: Sign::new(Next::AtOnce),
            stop: CancellationToken::new(),
        };
        self.programs().insert(program.to_owned(), life);
        let scene = self.clone();
        let work = self
            .world
            .run(&process, move |life| scene.live(&life, lease.clone()));
        if let Some(program) = self.programs().get_mut(program) {
            program.work = Some(work);
        }
    }

    /// Asks a program to end, as the kubelet does when an update takes its pod away.
    pub fn stop(&self, program: &str) {
        if let Some(program) = self.programs().get(program) {
            program.stop.cancel();
        }
    }

    /// Lets no next life of a program begin until [`Scene::restart`].
    pub fn keep_down(&self, program: &str) {
        self.set_next(program, Next::Waits);
    }

    /// Lets the next life of a program begin.
    pub fn restart(&self, program: &str) {
        self.set_next(program, Next::AtOnce);
    }

    fn set_next(&self, program: &str, next: Next) {
        if let Some(program) = self.programs().get(program) {
            program.next.change(|known| *known = next);
        }
    }

    /// One life of an operator.
    fn live(
        &self,
        life: &Process,
        lease: Option<Terms>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let mut next = Sign::new(Next::AtOnce);
        let mut stop = CancellationToken::new();
        let mut clock = self.world.clock.clone();
        if let Some(program) = self.programs().get_mut(life.name.as_ref()) {
            program.life = life.clone();
            stop = program.stop.clone();
            clock = program.clock.clone();
            if life.life > 0 {
                next = program.next.clone();
            }
        }
        let seed = life.name.bytes().map(u64::from).sum::<u64>() * 1000 + u64::from(life.life);
        let world = app::World {
            client: self.world.client(life),
            clock: Arc::new(clock),
            entropy: Arc::new(SeededEntropy::new(seed)),
            doors: Arc::new(self.wires(life)),
        };
        let identity = Installation::parse(INSTALLATION).map(|installation| Identity {
            claim: Claim {
                installation,
                scope: Scope::Cluster,
            },
            allowed: Allowed {
                hosts: Vec::new(),
                refused: Vec::new(),
            },
            own_namespace: manifests::OWN.to_owned(),
            stamp: Stamp::Ignored,
            lease,
        });
        let signs = Signs {
            gates: Gates::closed(),
            metrics: self.metrics.clone(),
        };
        let (recorder, life) = (self.world.recorder.clone(), life.clone());
        async move {
            next.until(|next| *next == Next::AtOnce).await;
            if let Some(identity) = identity {
                let ended = operate(world, identity, signs, stop.clone()).await;
                if ended.is_err() {
                    // The kubelet starts it anew.
                    recorder.crash(&life);
                }
                if ended.is_err() || stop.is_cancelled() {
                    pending::<()>().await;
                }
            }
        }
    }

    /// The wires of a process to the deploy servers.
    pub fn wires(&self, process: &Process) -> Wires {
        Wires {
            process: process.clone(),
            recorder: self.world.recorder.clone(),
            servers: self.servers.clone(),
            overheard: self.overheard.clone(),
        }
    }

    /// The present life of a program.
    pub fn life(&self, program: &str) -> Process {
        self.programs()
            .get(program)
            .map_or_else(|| Process::new(program), |program| program.life.clone())
    }

    /// Ends the present life of a program; the next begins at once.
    pub fn crash(&self, program: &str) {
        self.world.recorder.crash(&self.life(program));
    }

    /// Holds a program's requests, and the answers to those under way.
    pub fn pause(&self, program: &str) {
        self.world.recorder.pause(&self.life(program));
    }

    /// Lets it go on.
    pub fn wake(&self, program: &str) {
        self.world.recorder.wake(&self.life(program));
    }

    /// Moves the clock of a program's machine; its timers do not notice.
    pub fn jump(&self, program: &str, by: SignedDuration) {
        if let Some(program) = self.programs().get(program) {
            program.clock.jump(by);
        }
    }

    pub(super) fn programs(&self) -> MutexGuard<'_, BTreeMap<String, Program>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
