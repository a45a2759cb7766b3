//! Zero-OS core0, the agent that is process 1 of a node, and coreX, which is process 1 of each container on it.
//!
//! They are spoken to through the node's Redis: a command is pushed to a list, and its result appears in another one.

mod address;
mod client;
mod command;
pub mod commands;
mod failure;
mod link;
mod outcome;
mod streams;

pub use command::Command;
pub use commands::{Commands, HostCommands};
pub use outcome::{Outcome, OutcomeState};
pub use streams::Entry;

/// Where a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// On the node itself.
    Host,
    /// In the container with this id.
    Container(u64),
}
