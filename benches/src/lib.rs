//! Measurements of Roadstead beside what it stands on, in one run: ratios, never bare figures.

pub mod fleet;
pub mod host;
pub mod lists;
pub mod raw;
pub mod resp;
pub mod section;

use std::time::Duration;

/// Two ways to the same answer, timed in turn.
#[derive(Clone, Debug)]
pub struct Pair {
    /// What was asked for.
    pub what: String,
    /// The name of the other way.
    pub beside: &'static str,
    /// Times of Roadstead.
    pub ours: Vec<Duration>,
    /// Times of the other way.
    pub theirs: Vec<Duration>,
}

/// The median of some times.
#[must_use]
pub fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

impl Pair {
    /// A line of the table: medians and their ratio.
    #[must_use]
    pub fn line(&self) -> String {
        let (ours, theirs) = (median(&self.ours), median(&self.theirs));
        format!(
            "| {} | {} | {:.2} ms | {:.2} ms | {:.2} | {} |",
            self.what,
            self.beside,
            ours.as_secs_f64() * 1e3,
            theirs.as_secs_f64() * 1e3,
            ours.as_secs_f64() / theirs.as_secs_f64().max(f64::MIN_POSITIVE),
            self.ours.len(),
        )
    }
}

/// The head of the table.
pub const HEAD: &str = "| asked for | beside | Roadstead | other | ratio | runs |\n|---|---|---|---|---|---|";
