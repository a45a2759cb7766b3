//! What must be true of every text that is read from the kernel, and of files of containers that are read as the kernel's are.
//!
//! Each [`Target`] is fed with any bytes. It takes them as a file, of which it may only tell what stands there, and as choices that
//! make values, which have to be the same after they were written in the kernel's own way and read again. `fuzz` drives all of them
//! with a fuzzer; the tests here with fixtures, with every cut of these, and with what a few changed bytes make of them.

#[cfg(feature = "core0")]
use crate::engines::core0::fuzzing as core0;
#[cfg(feature = "lxd")]
use crate::engines::lxd::fuzzing as lxd;
use crate::host::fuzzing as host;

pub(crate) mod given;
#[cfg(test)]
mod tests;
pub(crate) mod truth;

/// One kind of file.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Target {
    /// That of the fuzz target.
    pub name: &'static str,
    /// Which files it is about, for a table.
    pub reads: &'static str,
    /// The functions that it is about, below the sources of this crate.
    pub parsers: &'static [&'static str],
    /// Files as kernels write them; those that are read together have a zero byte between them.
    pub seeds: &'static [&'static [u8]],
    /// Paths of such files on this machine; `*` stands for any one name.
    pub here: &'static [&'static str],
    /// Panics when something is not true of these bytes.
    pub oracle: fn(&[u8]),
}

/// All of them.
#[must_use]
pub fn targets() -> Vec<Target> {
    let lists = [
        host::group::TARGETS,
        host::pid::TARGETS,
        host::owner::TARGETS,
        host::sockets::TARGETS,
        host::machine::TARGETS,
        host::facts::TARGETS,
        #[cfg(feature = "lxd")]
        lxd::TARGETS,
        #[cfg(feature = "core0")]
        core0::TARGETS,
    ];
    lists.concat()
}

/// Feeds one of them.
///
/// # Panics
/// When something is not true of these bytes, or there is no target of this name.
pub fn run(name: &str, bytes: &[u8]) {
    let target = targets().into_iter().find(|target| target.name == name);
    (target.expect("a target of this name").oracle)(bytes);
}
