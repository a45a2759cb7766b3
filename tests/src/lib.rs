//! What the black-box tests share: the real `roadstead` binary as a child process, the real engines, and the plain
//! tools to speak with both without any code of the program under test in between.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic is how a test says that it failed"
)]

pub mod core0;
pub mod cut;
pub mod dialects;
mod died;
pub mod engines;
pub mod etcd;
pub mod left_out;
pub mod lxd;
pub mod meddler;
pub mod moves;
pub mod outcomes;
pub mod proxy;
pub mod raw;
pub mod served;
pub mod server;
pub mod sse;
pub mod subjects;

pub use engines::{Cleaner, TestEngine};
pub use raw::{Answer, Request};
pub use server::{Server, ServerOptions};
