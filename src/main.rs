//! The operator's program: parse, install the crypto provider, run, exit code.

fn main() {}
