//! What the operator asks of its surroundings, counted at the doors.

use simulation::effect::Door;
use simulation::kubernetes::Durability;
use simulation::scene::{OPERATOR, Scene};

/// So many requests of each kind. Events are not counted.
#[derive(Debug, Default)]
pub(super) struct Cost {
    /// Writes to Kubernetes that last.
    pub(super) writes: usize,
    /// Writes that are only tried.
    pub(super) rehearsals: usize,
    /// Reads of one object, past the watches.
    pub(super) reads: usize,
    /// Requests to the deploy server.
    pub(super) calls: usize,
    /// Lists of a managed account's keys, first pages. Of our own account, the list tells when our
    /// own key ends: once in a process.
    pub(super) lists: usize,
}

impl Cost {
    /// What the operator has asked since a mark.
    pub(super) fn since(scene: &Scene, mark: usize) -> Self {
        let mut cost = Self::default();
        let own = scene
            .twin
            .look(|twin, _| twin.start().operator.user.clone());
        for heard in scene.calls(OPERATOR, mark) {
            let call = &heard.call;
            match call.door {
                Door::Server(_) => {
                    cost.calls += 1;
                    let lists = call.path.ends_with("/apikeys")
                        && !call.path.contains(&own)
                        && !call.is_effect();
                    cost.lists += usize::from(lists && call.query.contains("skip=0"));
                }
                Door::Kubernetes if call.path.contains("/events") => {}
                Door::Kubernetes if !call.is_effect() => {
                    let one = call.target().is_some_and(|target| target.name.is_some());
                    cost.reads += usize::from(one);
                }
                Door::Kubernetes if call.durability == Durability::Rehearsed => {
                    cost.rehearsals += 1;
                }
                Door::Kubernetes => cost.writes += 1,
            }
        }
        cost
    }
}
