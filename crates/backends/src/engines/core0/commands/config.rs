//! How a node is configured: `config.get`, section 12.1 of the reference.

use serde_json::Value;

use super::reading::{Read, record};

record! {
    /// The configuration that a node was started with.
    pub struct Config {
        /// How many jobs run at once; more wait.
        max_jobs: u64 = "main" in max_jobs;
        /// Directories whose files are read as well.
        include: Vec<String> = "main" in include;
        /// The file with the network's configuration.
        network: String = "main" in network;
        /// What is logged: `info`, `debug` …
        log_level: String = "main" in log_level;
        /// Where files of flists come from unless a container says otherwise.
        storage: String = "globals" in storage;
        /// How many containers there may be.
        max_containers: u64 = "containers" in max_containers;
        /// Whether metrics are gathered.
        statistics: bool = "stats" in enabled;
        /// Levels that are written to files; all when empty.
        file_levels: Vec<u16> = "logger" in file_levels;
        /// Levels that are kept in Redis; all when empty.
        kept_levels: Vec<u16> = "logger" in kept_levels;
        /// How many log records are kept in Redis.
        kept_records: u64 = "logger" in kept_records;
        /// Names of the extensions: commands that are programs of the node.
        extensions: Vec<String> = "extension" in names;
    }
}

/// What is found on the way of these names, in any case.
fn at<T: Read>(value: &Value, path: &[&str]) -> Option<T> {
    let mut here = value;
    for name in path {
        here = here.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)?;
    }
    T::read(here)
}

fn max_jobs(main: &Value) -> Option<u64> {
    at(main, &["max_jobs"])
}

fn include(main: &Value) -> Option<Vec<String>> {
    at(main, &["include"])
}

fn network(main: &Value) -> Option<String> {
    at(main, &["network"])
}

fn log_level(main: &Value) -> Option<String> {
    at(main, &["log_level"])
}

fn storage(globals: &Value) -> Option<String> {
    at(globals, &["storage"])
}

fn max_containers(containers: &Value) -> Option<u64> {
    at(containers, &["max_count"])
}

fn enabled(stats: &Value) -> Option<bool> {
    at(stats, &["enabled"])
}

fn file_levels(logger: &Value) -> Option<Vec<u16>> {
    at(logger, &["file", "levels"])
}

// Named after the store of older nodes.
fn kept_levels(logger: &Value) -> Option<Vec<u16>> {
    at(logger, &["ledis", "ledis", "levels"])
}

fn kept_records(logger: &Value) -> Option<u64> {
    at(logger, &["ledis", "size"])
}

fn names(extensions: &Value) -> Option<Vec<String>> {
    Some(extensions.as_object()?.keys().cloned().collect())
}
