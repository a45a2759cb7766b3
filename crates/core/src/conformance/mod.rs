//! The conformance suite: one test per numbered clause of the trait docs, for every engine and every layer.
//!
//! A [`Fixture`] says which node is tried and what it may be tried with; [`run`] tries one [`Clause`] on it. A clause
//! that needs a capability which the node does not report is [`Outcome::Gated`], never left out in silence.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use roadstead_core::conformance::{self, Fixture, Outcome};
//! use roadstead_core::memory::{MemoryEngine, PRESET_IMAGE};
//! use roadstead_core::{ConnectOptions, Registry};
//!
//! let registry = Registry::new().with(MemoryEngine); // or an engine of your own
//! let node = registry.connect("mine", "memory:", &ConnectOptions::default()).await?;
//! let fixture = Fixture::new(node, PRESET_IMAGE);
//! for clause in conformance::clauses().filter(|clause| clause.number().starts_with('V')) {
//!     let outcome = conformance::run(clause, &fixture).await;
//!     assert_eq!(outcome, Outcome::Passed, "{clause:?}");
//! }
//! # Ok::<(), roadstead_core::Error>(()) }).unwrap();
//! ```

mod backups;
mod calls;
pub(crate) mod check;
mod copies;
mod create;
mod events;
mod files;
mod fixture;
mod images;
mod io;
mod jobs;
mod lifecycle;
mod networks;
mod node;
mod observe;
mod pool;
mod process_jobs;
mod refusals;
mod scene;
mod sick;
mod snapshots;
mod table;
mod tar;
mod unreliable;
mod usage;
mod verbs;
mod volumes;

use std::fmt;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

pub use fixture::{Fixture, Outage, PullReferences};
pub use table::{Record, Table};
pub use unreliable::Unreliable;

use crate::capabilities::Capability;
use check::{Check, Failure};
use scene::Scene;

/// One numbered clause of the trait docs, with its test.
pub struct Clause {
    number: &'static str,
    title: &'static str,
    needs: &'static [Capability],
    wants: &'static [Extra],
    test: for<'a> fn(&'a Scene) -> BoxFuture<'a, Check>,
}

impl Clause {
    /// Its number in the docs, for example `C20`.
    #[must_use]
    pub const fn number(&self) -> &'static str {
        self.number
    }

    /// What it promises, in a few words.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        self.title
    }

    /// The capabilities without which it cannot be tried.
    #[must_use]
    pub const fn needs(&self) -> &'static [Capability] {
        self.needs
    }

    /// What a fixture should bring beyond its node, for this clause only; without it the clause is gated.
    #[must_use]
    pub const fn wants(&self) -> &'static [Extra] {
        self.wants
    }
}

/// What a fixture may bring beyond its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extra {
    /// [`Fixture::pull`].
    Registry,
    /// [`Fixture::outage`].
    Outage,
}

impl fmt::Debug for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.number, self.title)
    }
}

/// Declares the clauses of a module: number, title, needed capabilities, wanted extras, test.
macro_rules! declare {
    ($($number:ident $title:literal [$($capability:ident)*] $(+ $extra:ident)* $test:ident;)+) => {
        pub(super) const CLAUSES: &[$crate::conformance::Clause] = &[$(
            $crate::conformance::Clause {
                number: stringify!($number),
                title: $title,
                needs: &[$($crate::Capability::$capability),*],
                wants: &[$($crate::conformance::Extra::$extra),*],
                test: |scene| Box::pin($test(scene)),
            }
        ),+];
    };
}
use declare;

const MODULES: [&[Clause]; 20] = [
    node::CLAUSES,
    create::CLAUSES,
    refusals::CLAUSES,
    copies::CLAUSES,
    events::CLAUSES,
    calls::CLAUSES,
    lifecycle::CLAUSES,
    verbs::CLAUSES,
    files::CLAUSES,
    snapshots::CLAUSES,
    backups::CLAUSES,
    observe::CLAUSES,
    usage::CLAUSES,
    io::CLAUSES,
    process_jobs::CLAUSES,
    jobs::CLAUSES,
    images::CLAUSES,
    networks::CLAUSES,
    volumes::CLAUSES,
    pool::CLAUSES,
];

/// Every clause, by noun (node, usage, container, snapshots, backups, job, images, networks, volumes, pool) and number.
pub fn clauses() -> impl Iterator<Item = &'static Clause> {
    let mut all: Vec<&Clause> = MODULES.into_iter().flatten().collect();
    all.sort_by_key(|clause| {
        let (noun, number) = clause.number.split_at_checked(1).unwrap_or_default();
        ("NUCSBJIWVP".find(noun), number.parse::<u32>().ok())
    });
    all.into_iter()
}

/// The clause with this number.
#[must_use]
pub fn clause(number: &str) -> Option<&'static Clause> {
    clauses().find(|clause| clause.number == number)
}

/// What trying a clause gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The node keeps it.
    Passed,
    /// It cannot be tried here: the name of a capability that the node lacks, or what the fixture lacks.
    Gated(String),
    /// The node breaks it, and how.
    Failed(String),
}

/// Tries one clause, and deletes whatever that made, however it ends.
pub async fn run(clause: &Clause, fixture: &Fixture) -> Outcome {
    let capabilities = fixture.node.capabilities();
    if let Some(missing) = clause.needs.iter().find(|capability| !capabilities.has(**capability)) {
        return Outcome::Gated(missing.name().to_owned());
    }
    let scene = Scene::new(clause.number, fixture);
    let tried = tokio::time::timeout(fixture.deadline, AssertUnwindSafe((clause.test)(&scene)).catch_unwind()).await;
    let outcome = match tried {
        Ok(Ok(Ok(()))) => Outcome::Passed,
        Ok(Ok(Err(Failure::Gated(reason)))) => Outcome::Gated(reason),
        Ok(Ok(Err(Failure::Failed(reason)))) => Outcome::Failed(reason),
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text");
            Outcome::Failed(format!("panicked: {text}"))
        }
        Err(_) => Outcome::Failed(format!("did not end within {} s", fixture.deadline.as_secs())),
    };
    match (scene.clean().await, outcome) {
        (Ok(()), outcome) => outcome,
        (Err(left), Outcome::Failed(reason)) => Outcome::Failed(format!("{reason}\nand afterwards: {left}")),
        (Err(left), _) => Outcome::Failed(format!("what it made could not be deleted: {left}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the clauses that a source's docs state.
    fn stated(source: &str) -> Vec<String> {
        source
            .lines()
            .filter_map(|line| line.trim().strip_prefix("/// * **")?.split_once("**:"))
            .map(|(number, _)| number.to_owned())
            .collect()
    }

    #[test]
    fn every_clause_has_one_test_and_every_test_its_clause() {
        let mut docs: Vec<String> = [
            include_str!("../node.rs"),
            include_str!("../usage/mod.rs"),
            include_str!("../container/mod.rs"),
            include_str!("../job.rs"),
            include_str!("../image.rs"),
            include_str!("../network.rs"),
            include_str!("../volume.rs"),
            include_str!("../pool/mod.rs"),
        ]
        .into_iter()
        .flat_map(stated)
        .collect();
        docs.sort();
        let mut tests: Vec<String> = clauses().map(|clause| clause.number.to_owned()).collect();
        tests.sort();
        assert!(docs.len() > 100, "the docs were not understood: {docs:?}");
        assert_eq!(tests, docs);
        for number in &tests {
            assert_eq!(clause(number).unwrap().number(), number);
        }
    }
}
