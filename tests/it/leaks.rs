//! leaks

use crate::cluster::Stages;
use crate::ladder::Rung;

/// The rung.
pub(crate) fn rung(_: &Stages) -> Rung {
    Rung::new("leaks")
}
