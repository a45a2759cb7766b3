//! File systems as tar streams: reading them as they pass, putting several together into one, and what they hold as a
//! list that can be compared. Nothing is held in memory but the list.

mod header;
mod look;
mod manifest;
mod reader;
mod splice;

pub(super) use look::{Look, empty_directory, look};
pub use manifest::Content;
pub(super) use manifest::Manifest;
pub(super) use splice::{Open, Part, Progress, Splice, scan};

/// Paths that engines make or change on their own, so that they say nothing of a container's content: these, and all below
/// those that end with a slash.
pub const VOLATILE: &[&str] = &[
    "dev/",
    "proc/",
    "sys/",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
    ".dockerenv",
    "run/.containerenv",
    ".roadstead/",
];

/// Whether a path without leading slash is one of [`VOLATILE`].
pub(super) fn is_volatile(path: &[u8]) -> bool {
    VOLATILE.iter().any(|pattern| match pattern.strip_suffix('/') {
        Some(directory) => is_within(path, directory.as_bytes()),
        None => path == pattern.as_bytes(),
    })
}

/// Whether `path` is `directory` or below it.
pub(super) fn is_within(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(all(test, feature = "memory"))]
mod tests;
