//! COPA: the acceptance cases of its reference as black-box tests over HTTP, on every engine.

mod cases;
mod containers;
mod doors;
mod images;
mod others;
mod pools;
mod stage;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use libtest_mimic::{Failed, Trial};

use cases::CASES;
use roadstead_tests::dialects::{self, Outcome, Place};
use stage::{Pair, Stage};

/// One trial for each engine plays all cases, in order, on one server.
pub(super) fn trials() -> Vec<Trial> {
    let on_engines = Pair::ALL.map(|pair| Trial::test(format!("copa::{}", pair.name()), move || play(pair)));
    let table = Trial::test("copa::the_table_names_every_case", || {
        let cases: Vec<_> = CASES.iter().map(|case| (case.number, case.words)).collect();
        dialects::check("copa", &Pair::ALL.map(Pair::name), &cases);
        Ok(())
    });
    on_engines.into_iter().chain([table]).chain(doors::trials()).collect()
}

fn play(pair: Pair) -> Result<(), Failed> {
    let Some(stage) = Stage::new(pair) else { return Ok(()) };
    let _cleaners = stage.cleaners();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut failed = Vec::new();
    for case in CASES {
        let played = runtime.block_on(AssertUnwindSafe((case.play)(&stage)).catch_unwind());
        match played {
            Ok(outcome) => {
                let place = Place { dialect: "copa", engine: pair.name(), number: case.number, words: case.words };
                // What it says of a case that the table has otherwise is a failure like any other.
                if std::panic::catch_unwind(AssertUnwindSafe(|| dialects::played(&place, &outcome))).is_err() {
                    failed.push(format!("{} {outcome:?}, and the table has it otherwise", case.number));
                }
                if outcome != Outcome::Shown {
                    println!("{} {outcome:?}: {}", case.number, case.words);
                }
            }
            Err(_) => failed.push(format!("{} {}", case.number, case.words)),
        }
    }
    runtime.shutdown_background();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join("; ")).into()) }
}
