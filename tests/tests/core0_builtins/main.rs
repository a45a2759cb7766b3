//! The built-in functions of the stand-in for core0, by themselves: against the captures of a real node, and where those have
//! nothing, against what the machine shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test says that it failed"
)]

mod captures;
mod functions;
mod world;
