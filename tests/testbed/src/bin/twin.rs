//! Runs one twin alone: `cargo twin octopus`.
fn main() {}
