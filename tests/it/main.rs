//! The integration tests: one binary, see `docs/design.md`.
fn main() {}
