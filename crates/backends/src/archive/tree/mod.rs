//! Trees of files as archives: every entry as values, with owner, mode, links and extended attributes, read from a stream
//! and written as blocks. For engines that take files one by one, and for archives whose paths must be changed.

mod entry;
mod read;

pub(crate) use entry::{Entry, Kind};
pub(crate) use read::Entries;
