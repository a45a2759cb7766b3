//! Says loudly what a run did not test: a skipped test must never look like a passed one.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Where the lines are collected: `ROADSTEAD_LEFT_OUT`, or `left-out.txt` in the target directory.
#[must_use]
pub fn file() -> PathBuf {
    std::env::var_os("ROADSTEAD_LEFT_OUT")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/left-out.txt"), PathBuf::from)
}

/// Notes that something was left out, and why. Under `CI=true` that is a failure.
///
/// # Panics
/// Under `CI=true`, or when it cannot be noted.
pub fn left_out(what: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("{test}: {what}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "left out under CI=true: {line}");
    eprintln!("LEFT OUT: {line}");
    let path = file();
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .unwrap_or_else(|error| panic!("cannot note what was left out in {}: {error}", path.display()));
    // One write, so that lines of several processes do not mix.
    file.write_all(format!("{line}\n").as_bytes()).expect("the line is written");
}

/// Whether the long soaks run, too (`ROADSTEAD_SOAK=1`).
#[must_use]
pub fn soak() -> bool {
    std::env::var("ROADSTEAD_SOAK").as_deref() == Ok("1")
}
