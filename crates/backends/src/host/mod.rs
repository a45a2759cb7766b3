//! This machine, as its kernel tells it: what containers use, and which processes they have.
//!
//! Engines ask here instead of asking their daemon when the node is this machine: reading a container's cgroup files
//! takes microseconds where the daemon takes up to seconds. [`Cgroup::of_container`] is the only way in, and makes sure
//! that a process id that an engine tells really belongs to the container, so that a daemon that is elsewhere after all
//! is never mistaken for one here.
//!
//! Who wants to know again and again asks the [`Sampler`], a thread that looks at everything for all. Every other function reads files
//! of `/proc` and `/sys` at once and without waiting; none starts a thread or a process.

#![cfg_attr(
    not(any(feature = "docker", feature = "lxd")),
    allow(
        dead_code,
        unused_imports,
        reason = "only engines that can be on this machine ask whose containers are here"
    )
)]

mod blocks;
mod cgroup;
mod facts;
mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod groups;
mod guests;
mod history;
mod kept;
mod machine;
mod members;
mod named;
mod numbers;
mod opened;
mod pace;
mod process;
mod rest;
mod sampler;
mod table;
mod usage;

pub use cgroup::Cgroup;
pub use facts::facts;
pub(crate) use members::{Members, Owner, OwnerName};
pub use named::GroupName;
pub use sampler::{GroupSample, Sample, Sampler, SamplerOptions};

/// Lets this process have as many descriptors as its hard limit allows: the sampler keeps about ten for each container, and what
/// is beyond its share is opened anew at each look, which costs several times as much. For programs; a library leaves limits alone.
pub fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(errno) = raised {
        tracing::warn!("the limit of open files stays as it is: {errno}");
    }
}

/// The name of this machine.
#[must_use]
pub fn hostname() -> Option<String> {
    one_line("/proc/sys/kernel/hostname")
}

/// The version of the running kernel.
#[must_use]
pub fn kernel_version() -> Option<String> {
    one_line("/proc/sys/kernel/osrelease")
}

fn one_line(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}
