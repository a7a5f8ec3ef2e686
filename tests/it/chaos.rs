//! Disturbed lives, in the simulated world: at each remote effect of making and ending a key and an
//! account, one thing goes wrong; then everything must come to the end that was declared.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `faults` | one wrong answer to each kind of call |
//! | `leaders` | two leaders, one of them held at every effect |
//! | `pairs` | two crashes, one after the other |
//! | `fleet` | many keys on many accounts |
//! | `matrix` | every disturbance at every effect, the effects found in an undisturbed life |
//! | `random` | schedules drawn from seeds |
//! | `replay` | the same life twice |
//! | `traces` | the schedules that broke earlier wordings of the protocol, by name |

mod faults;
mod fleet;
mod leaders;
mod matrix;
mod pairs;
mod random;
mod replay;
mod traces;

use crate::ladder::Rung;

/// The tests of this rung.
pub(crate) fn rung() -> Rung {
    let tests = matrix::tests()
        .into_iter()
        .chain(leaders::tests())
        .chain(pairs::tests())
        .chain(faults::tests())
        .chain(fleet::tests())
        .chain(traces::tests())
        .chain(random::tests())
        .chain(replay::tests());
    tests.fold(Rung::new("chaos"), |rung, (name, body)| {
        rung.apart(name, body)
    })
}
