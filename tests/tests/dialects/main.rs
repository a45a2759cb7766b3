//! Dialects as their clients see them: black-box tests over HTTP, on every engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a panic is how a test says that it failed, and what a trial prints is read when it does"
)]

mod copa;
mod fuzz;
mod pharos;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let trials = copa::trials().into_iter().chain(pharos::trials()).chain(fuzz::trials()).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
