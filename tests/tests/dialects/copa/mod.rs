//! COPA: the acceptance cases of its reference as black-box tests over HTTP, on every engine.

mod cases;
mod doors;
mod stage;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use libtest_mimic::{Failed, Trial};

use cases::{CASES, Outcome};
use stage::{Pair, Stage};

/// One trial for each engine plays all cases, in order, on one server.
pub(super) fn trials() -> Vec<Trial> {
    let on_engines = Pair::ALL.map(|pair| Trial::test(format!("copa::{}", pair.name()), move || play(pair)));
    on_engines.into_iter().chain(doors::trials()).collect()
}

fn play(pair: Pair) -> Result<(), Failed> {
    let Some(stage) = Stage::new(pair) else { return Ok(()) };
    let _cleaners = stage.cleaners();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut failed = Vec::new();
    for case in CASES {
        let played = runtime.block_on(AssertUnwindSafe((case.play)(&stage)).catch_unwind());
        match played {
            Ok(Outcome::Passed) => println!("{:02} passed: {}", case.number, case.words),
            Ok(Outcome::NotOffered(why)) => println!("{:02} not offered ({why}): {}", case.number, case.words),
            Err(_) => failed.push(format!("{:02} {}", case.number, case.words)),
        }
    }
    runtime.shutdown_background();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join("; ")).into()) }
}
