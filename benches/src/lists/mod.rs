//! Lists of containers under load: a server of ours, a bare server that sends the same bytes, and dockerd itself, one after the other
//! in many short rounds.

pub mod load;
pub mod null;
pub mod rest;
pub mod server;
pub mod start;
pub mod stock;
pub mod table;
pub mod visible;

/// What a measurement may fail with.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
