//! The programs of the simulated containers: as much of `sh` and of a few small tools as the conformance clauses use.
//!
//! It is a reference for engines, not a shell: no pipes, no command substitution.

mod parse;
mod run;
mod tools;

pub(super) use run::main;
pub(super) use tools::{NAMES as TOOLS, program_file};
