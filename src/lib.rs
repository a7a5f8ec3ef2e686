//! The map of this house.
//!
//! | room | what lives there |
//! | --- | --- |
//! | [`api`] | what people write: the custom resources, their schema, the words of conditions |
//! | [`plan`] | what should happen: pure functions from facts to one step |
//! | [`servers`] | the deploy servers: one folder each, behind one trait |
//! | [`controllers`] | the shell: see, act, report |
//! | [`app`] | everything put together |
//! | [`cli`] | the command line: what people can ask the program for |
//! | [`check`] | what the operator needs of a cluster, and whether it is there |
//! | [`lease`] | who leads, of several operators |
//! | [`telemetry`], [`metrics`], [`health`] | what the operator says of itself |
//!
//! Arrows of import point one way: `api ← plan ← servers ← controllers ← app`. A test (`layers`)
//! holds the `use` lines of this folder against the table in `docs/design.md`.

pub mod api;
pub mod app;
pub mod check;
pub mod cli;
pub mod clock;
pub mod controllers;
pub mod health;
pub mod lease;
pub mod metrics;
pub mod plan;
pub mod secret;
pub mod servers;
pub mod telemetry;
