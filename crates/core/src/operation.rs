//! Every operation of the traits by its stable name: what layers decide by, what spans and errors are called, and what
//! faults are scripted for.
//!
//! One list; a test proves that it names every asynchronous method of the traits exactly once.

use tracing::Span;

/// What an operation does to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Looks only: may be repeated at will.
    Read,
    /// Changes something, and doing it twice is like doing it once.
    IdempotentWrite,
    /// Changes something; doing it twice is not like doing it once, or an argument is used up by the first try.
    Write,
}

/// How long an operation may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pace {
    /// The engine answers soon.
    Quick,
    /// It moves data or waits for processes.
    Slow,
    /// The caller says how long.
    CallerDeadline,
}

/// One operation of a trait.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Operation {
    /// Stable name, noun and verb, for example `container.start`.
    pub name: &'static str,
    /// The trait that has it.
    pub noun: &'static str,
    /// Its method.
    pub method: &'static str,
    /// What it does to the node.
    pub access: Access,
    /// How long it may take.
    pub pace: Pace,
    span: fn(&str, &str) -> Span,
}

impl Operation {
    /// A tracing span called `roadstead.` and the name, with empty fields for what is known at its end.
    #[must_use]
    pub fn span(&self, node: &str, resource: &str) -> Span {
        (self.span)(node, resource)
    }

    /// The operation of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Operation> {
        ALL.iter().copied().find(|operation| operation.name == name)
    }
}

macro_rules! operations {
    ($($constant:ident = $name:literal, $noun:ident::$method:ident, $access:ident, $pace:ident;)+) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $constant: Operation = Operation {
                name: $name,
                noun: stringify!($noun),
                method: stringify!($method),
                access: Access::$access,
                pace: Pace::$pace,
                // The name of a span must be known when the program is compiled, hence one function per operation.
                span: |node, resource| {
                    tracing::info_span!(
                        concat!("roadstead.", $name),
                        node,
                        resource,
                        outcome = tracing::field::Empty,
                        kind = tracing::field::Empty,
                        duration_seconds = tracing::field::Empty,
                    )
                },
            };
        )+

        /// Every operation.
        pub static ALL: &[&Operation] = &[$(&$constant),+];
    };
}

operations! {
    NODE_PING = "node.ping", Node::ping, Read, Quick;
    NODE_INFO = "node.info", Node::info, Read, Quick;
    NODE_LIST_CONTAINERS = "node.list_containers", Node::list_containers, Read, Quick;
    NODE_CREATE_CONTAINER = "node.create_container", Node::create_container, Write, Quick;
    NODE_CHECK_CONTAINER = "node.check_container", Node::check_container, Read, Quick;
    NODE_RESTORE_CONTAINER = "node.restore_container", Node::restore_container, Write, Slow;
    NODE_COPY_WAYS = "node.copy_ways", Node::copy_ways, Read, Quick;
    NODE_COPY_CONTAINER = "node.copy_container", Node::copy_container, Write, Slow;
    NODE_EVENTS = "node.events", Node::events, Read, Quick;
    NODE_RUN = "node.run", Node::run, Write, Quick;
    NODE_JOBS = "node.jobs", Node::jobs, Read, Quick;
    NODE_JOB = "node.job", Node::job, Read, Quick;
    NODE_POOL = "node.pool", Node::pool, Read, Quick;

    METRICS_HOST = "metrics.host", Metrics::host, Read, Quick;
    METRICS_USAGE = "metrics.usage", Metrics::usage, Read, Quick;
    METRICS_WATCH = "metrics.watch", Metrics::watch_usage, Read, Quick;
    METRICS_HISTORY = "metrics.history", Metrics::usage_history, Read, Quick;
    METRICS_PROCESSES = "metrics.processes", Metrics::list_processes, Read, Quick;

    CONTAINER_INSPECT = "container.inspect", Container::inspect, Read, Quick;
    CONTAINER_START = "container.start", Container::start, IdempotentWrite, Quick;
    CONTAINER_STOP = "container.stop", Container::stop, IdempotentWrite, Slow;
    CONTAINER_RESTART = "container.restart", Container::restart, Write, Slow;
    CONTAINER_KILL = "container.kill", Container::kill, Write, Quick;
    CONTAINER_FREEZE = "container.freeze", Container::freeze, IdempotentWrite, Quick;
    CONTAINER_UNFREEZE = "container.unfreeze", Container::unfreeze, IdempotentWrite, Quick;
    CONTAINER_RENAME = "container.rename", Container::rename, Write, Quick;
    CONTAINER_UPDATE = "container.update", Container::update, IdempotentWrite, Quick;
    CONTAINER_DELETE = "container.delete", Container::delete, IdempotentWrite, Quick;
    CONTAINER_WAIT = "container.wait", Container::wait, Read, CallerDeadline;
    CONTAINER_COMMIT = "container.commit", Container::commit, Write, Slow;
    CONTAINER_EXPORT = "container.export", Container::export, Read, Slow;
    CONTAINER_SNAPSHOTS = "container.snapshots", Container::snapshots, Read, Quick;
    CONTAINER_CREATE_SNAPSHOT = "container.create_snapshot", Container::create_snapshot, Write, Slow;
    CONTAINER_RESTORE_SNAPSHOT = "container.restore_snapshot", Container::restore_snapshot, Write, Slow;
    CONTAINER_DELETE_SNAPSHOT = "container.delete_snapshot", Container::delete_snapshot, IdempotentWrite, Slow;
    CONTAINER_BACKUP = "container.backup", Container::backup, Read, Slow;
    CONTAINER_COPY_OUT = "container.copy_out", Container::copy_out, Read, Slow;
    CONTAINER_COPY_IN = "container.copy_in", Container::copy_in, Write, Slow;
    CONTAINER_LOGS = "container.logs", Container::logs, Read, Quick;
    CONTAINER_ATTACH = "container.attach", Container::attach, Write, Quick;
    CONTAINER_RESIZE = "container.resize", Container::resize, IdempotentWrite, Quick;
    CONTAINER_STATS = "container.stats", Container::stats, Read, Quick;
    CONTAINER_PROCESSES = "container.processes", Container::processes, Read, Quick;
    CONTAINER_RUN = "container.run", Container::run, Write, Quick;
    CONTAINER_JOBS = "container.jobs", Container::jobs, Read, Quick;

    JOB_STATUS = "job.status", Job::status, Read, Quick;
    JOB_OUTPUT = "job.output", Job::output, Read, Quick;
    JOB_WRITE_STDIN = "job.write_stdin", Job::write_stdin, Write, Quick;
    JOB_CLOSE_STDIN = "job.close_stdin", Job::close_stdin, IdempotentWrite, Quick;
    JOB_RESIZE = "job.resize", Job::resize, IdempotentWrite, Quick;
    JOB_KILL = "job.kill", Job::kill, Write, Quick;
    JOB_WAIT = "job.wait", Job::wait, Read, CallerDeadline;

    IMAGE_LIST = "image.list", Images::list_images, Read, Quick;
    IMAGE_INSPECT = "image.inspect", Images::inspect_image, Read, Quick;
    IMAGE_PULL = "image.pull", Images::pull_image, IdempotentWrite, Slow;
    IMAGE_IMPORT = "image.import", Images::import_image, Write, Slow;
    IMAGE_LOAD = "image.load", Images::load_images, Write, Slow;
    IMAGE_SAVE = "image.save", Images::save_images, Read, Slow;
    IMAGE_TAG = "image.tag", Images::tag_image, IdempotentWrite, Quick;
    IMAGE_DELETE = "image.delete", Images::delete_image, IdempotentWrite, Quick;

    NETWORK_LIST = "network.list", Networks::list_networks, Read, Quick;
    NETWORK_INSPECT = "network.inspect", Networks::inspect_network, Read, Quick;
    NETWORK_CREATE = "network.create", Networks::create_network, Write, Quick;
    NETWORK_DELETE = "network.delete", Networks::delete_network, IdempotentWrite, Quick;

    VOLUME_LIST = "volume.list", Volumes::list_volumes, Read, Quick;
    VOLUME_INSPECT = "volume.inspect", Volumes::inspect_volume, Read, Quick;
    VOLUME_CREATE = "volume.create", Volumes::create_volume, Write, Quick;
    VOLUME_DELETE = "volume.delete", Volumes::delete_volume, IdempotentWrite, Quick;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The asynchronous methods of the trait `noun` as its source declares them.
    fn declared(source: &str, noun: &str) -> Vec<String> {
        let start = source.find(&format!("pub trait {noun}:")).unwrap();
        let body = &source[start..];
        let end = body.find("\n}\n").unwrap_or(body.len());
        body[..end]
            .lines()
            .filter_map(|line| line.trim().strip_prefix("async fn "))
            .map(|rest| rest.split(['(', '<']).next().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn the_list_names_every_method_of_the_traits_once() {
        for (noun, source) in [
            ("Node", include_str!("node.rs")),
            ("Metrics", include_str!("usage/mod.rs")),
            ("Container", include_str!("container/mod.rs")),
            ("Job", include_str!("job.rs")),
            ("Images", include_str!("image.rs")),
            ("Networks", include_str!("network.rs")),
            ("Volumes", include_str!("volume.rs")),
        ] {
            let listed: Vec<_> = ALL.iter().filter(|o| o.noun == noun).map(|o| o.method.to_owned()).collect();
            assert_eq!(listed, declared(source, noun), "{noun}");
        }
        let mut names: Vec<_> = ALL.iter().map(|operation| operation.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(Operation::named("container.start").is_some() && Operation::named("container.fly").is_none());
    }
}
