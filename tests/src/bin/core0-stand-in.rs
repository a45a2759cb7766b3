//! See `roadstead_tests::core0`.

fn main() {}
