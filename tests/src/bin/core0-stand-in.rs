//! A core0 to test against, since the real one cannot be had here: it answers the protocol on a real Redis, and really runs
//! what it is told. What makes it honest is the replay of captures of a real core0.
//! See `roadstead_tests::core0`.

use std::process::ExitCode;

fn main() -> ExitCode {
    roadstead_tests::core0::main()
}
