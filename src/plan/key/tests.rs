//! The planner of a key, held against the protocol: tables of situations, and a small world in
//! which schedules are played.

mod build;
mod deeds;
mod explore;
mod leader;
mod oracle;
mod tables;
mod traces;
mod world;
