//! The shell.
pub mod cluster;
