//! Prints the table engine × clause of the outcomes that the conformance trials have kept.
//!
//! Usage: conformance-table [--forget]; with `--forget` it deletes the outcomes instead, before a run.
//! Exits with 1 when a clause failed or was not tried, but for those that only soaks try, which count as gated.
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use std::process::ExitCode;

use roadstead_tests::outcomes;

fn main() -> std::io::Result<ExitCode> {
    if std::env::args().nth(1).as_deref() == Some("--forget") {
        outcomes::forget()?;
        return Ok(ExitCode::SUCCESS);
    }
    let (table, failures) = outcomes::table()?;
    print!("{table}");
    for failure in &failures {
        println!("{failure}");
    }
    Ok(ExitCode::from(u8::from(table.has_gaps())))
}
