//! The conformance suite on everything there is: one trial per engine and clause, for example `docker::C20`. Of other ways to an
//! engine than its own socket only soaks try what does not depend on the way.
#![allow(clippy::expect_used, reason = "a panic is how a test says that it failed")]

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use roadstead_core::conformance::{self, Clause, Outcome, Record};
use roadstead_tests::left_out::left_out;
use roadstead_tests::outcomes;
use roadstead_tests::subjects::{SUBJECTS, Subject};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = SUBJECTS.into_iter().flat_map(trials_of).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials_of(subject: Subject) -> Vec<Trial> {
    if let Some(variable) = subject.missing() {
        let trial = Trial::test(format!("{}::engine", subject.name()), move || {
            left_out(&format!("conformance on {}: needs {variable}", subject.name()));
            Ok(())
        });
        return vec![trial];
    }
    conformance::clauses()
        .filter(|clause| subject.tries(clause))
        .map(|clause| Trial::test(format!("{}::{}", subject.name(), clause.number()), move || trial(subject, clause)))
        .collect()
}

fn trial(subject: Subject, clause: &'static Clause) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        match subject.fixture(clause).await {
            Ok((fixture, keep)) => {
                let outcome = conformance::run(clause, &fixture).await;
                drop(fixture);
                match keep.end().await {
                    Ok(()) => outcome,
                    Err(error) => Outcome::Failed(format!("ending: {error:?}")),
                }
            }
            Err(error) => Outcome::Failed(format!("connecting: {error:?}")),
        }
    });
    // Whatever the engine under test still does in the background must not keep the trial.
    runtime.shutdown_background();
    outcomes::keep(&Record::new(subject.name(), clause.number(), outcome.clone()))?;
    match outcome {
        Outcome::Failed(reason) => Err(format!("{clause:?}\n{reason}").into()),
        Outcome::Passed | Outcome::Gated(_) => Ok(()),
    }
}
