//! The stand-in for core0, held to what a real core0 answered, and tried where the captures have nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a panic is how a test says that it failed"
)]

mod captures;
mod compare;
mod odd;
mod proxied;
mod replay;
mod replayer;
mod world;
