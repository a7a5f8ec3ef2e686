//! The map of this house.
//!
//! | room | what lives there |
//! | --- | --- |
//! | [`api`] | what people write: the custom resources, their schema, the words of conditions |
//! | [`plan`] | what should happen: pure functions from facts to one step |
//! | [`servers`] | the deploy servers: one folder each, behind one trait |
//!
//! Arrows of import point one way: `api ← plan ← servers ← controllers ← app`. A test (`layers`)
//! holds the `use` lines of this folder against the table in `docs/design.md`.

pub mod api;
pub mod app;
pub mod clock;
pub mod controllers;
pub mod plan;
pub mod secret;
pub mod servers;
