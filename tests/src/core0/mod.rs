//! A core0 to test against, since the real one cannot be had here: it answers the protocol on a real Redis, and really runs
//! what it is told. What makes it honest is the replay of captures of a real core0 (`tests/tests/core0`).
//!
//! ```text
//! sink (BLPOP core:default) ─┐
//! local (management socket) ─┼→ engine: jobs, queues, limits ─→ process | built-in | container
//! containers (dispatch) ─────┘         │                                               │ JSON lines
//!                                      └→ outlet: results, logs, metrics → Redis       └→ the same engine, as process 1
//! ```
//!
//! A container is the same program once more (`inside`), with the same engine, whose outlet is the socket to its node.

mod arguments;
pub mod builtins;
mod command;
mod containers;
mod engine;
mod go;
mod inside;
mod job;
mod local;
mod logs;
mod message;
mod metrics;
mod node;
mod node_commands;
mod options;
mod output;
mod proc_files;
mod process;
mod proxy;
mod redis_link;
mod result;
pub mod shape;
mod sink;
mod statistics;
mod token;

pub use node::main;
