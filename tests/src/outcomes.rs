//! Outcomes of conformance clauses, kept as files until the table is made of them.

use std::io;
use std::path::{Path, PathBuf};

use roadstead_core::conformance::{Clause, Outcome, Record, Table, clauses};

use crate::subjects::SUBJECTS;

/// Where the outcomes are: one directory per engine, one file per clause, so that trials may run in any number of
/// processes.
#[must_use]
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/conformance")
}

/// Keeps an outcome; a later one of the same trial replaces it.
///
/// # Errors
/// When it cannot be written.
pub fn keep(record: &Record) -> io::Result<()> {
    let engine = directory().join(&record.engine);
    std::fs::create_dir_all(&engine)?;
    std::fs::write(engine.join(&record.clause), format!("{record}\n"))
}

/// Forgets all outcomes, before a run.
///
/// # Errors
/// When there are some and they cannot be deleted.
pub fn forget() -> io::Result<()> {
    match std::fs::remove_dir_all(directory()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The table of all outcomes, engines in their usual order, and the lines of those that failed. What is tried when soaking only is
/// gated by that word.
///
/// # Errors
/// When they cannot be read.
pub fn table() -> io::Result<(Table, Vec<Record>)> {
    let mut records = Vec::new();
    for subject in SUBJECTS {
        let files = match std::fs::read_dir(directory().join(subject.name())) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let untried = clauses().filter(|clause| !subject.tries(clause));
        let soak = |clause: &Clause| Record::new(subject.name(), clause.number(), Outcome::Gated("soak".to_owned()));
        records.extend(untried.map(soak));
        for file in files {
            let text = std::fs::read_to_string(file?.path())?;
            records.extend(text.lines().filter_map(Record::parse));
        }
    }
    let failed = |record: &&Record| matches!(record.outcome, Outcome::Failed(_));
    let failures = records.iter().filter(failed).cloned().collect();
    Ok((Table::new(records), failures))
}
