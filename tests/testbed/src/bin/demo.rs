//! Shows the product working: `cargo demo`.
fn main() {}
