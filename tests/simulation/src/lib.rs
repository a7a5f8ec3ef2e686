//! A world in one process: the operator, a simulated Kubernetes API and twins of the servers,
//! under tokio's paused clock.
//!
//! | file | what lives there |
//! | --- | --- |
//! | [`kubernetes`] | the simulated API server |
//! | [`recorder`] [`effect`] [`script`] | the doors: effects, oracles, what a test may do to a request |
//! | [`clock`] | time and chance |
//! | [`world`] | one of each, and the processes that live in it |
//! | [`scene`] [`servers`] [`manifests`] [`wire`] | a world with deploy servers, and the operator at work in it |
//! | [`schedule`] | an hour in which much goes wrong, drawn from a seed |
//! | [`fleet`] | many keys on many accounts for many days |
//! | [`life`] | a whole life of a key and its account, to be disturbed |
//! | [`pairs`] | two crashes in one life |
//! | [`witness`] [`consumer`] | who says what is wrong: the invariants, and the users of keys |
//! | [`mutants`] | patches that break the operator on purpose, and who notices |
//! | [`conformance`] | what holds the simulated API to a real one |

pub mod clock;
pub mod conformance;
pub mod consumer;
pub mod effect;
pub mod fleet;
pub mod kubernetes;
pub mod life;
pub mod manifests;
pub mod mutants;
pub mod pairs;
pub mod recorder;
pub mod scene;
pub mod schedule;
pub mod script;
pub mod servers;
mod sign;
pub mod wire;
pub mod witness;
pub mod world;
