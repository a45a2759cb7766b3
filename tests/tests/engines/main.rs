//! What engines do that takes more than one of them, or one that may be killed, and containers that no engine makes so fast.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test says that it failed"
)]

mod churn;
mod copies;
mod mirror;
mod own;
