//! The tables.

use std::time::Duration;

use super::load::Load;
use super::rest::Rest;
use super::start::Start;
use super::visible::Visible;

/// Ours and another under the same load.
#[derive(Clone, Debug)]
pub struct Row {
    /// Containers.
    pub containers: usize,
    /// Bytes of our answer.
    pub bytes: usize,
    /// How both are connected.
    pub connection: &'static str,
    /// Connections at once.
    pub connections: usize,
    /// The other.
    pub other: &'static str,
    /// Ours.
    pub ours: Load,
    /// The other's.
    pub theirs: Load,
}

/// The head of [`Row::line`].
pub const HEAD: &str = "| containers | beside | over | connections | Roadstead, a second | other, a second | ratio | Roadstead p50, p99 | other p50, p99 | processor time per answer: Roadstead, other |\n|---|---|---|---|---|---|---|---|---|---|";

fn shown(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn per_answer(load: &Load) -> String {
    load.cpu.map_or_else(
        || "–".to_owned(),
        |cpu| format!("{:.1} µs", cpu.as_secs_f64() * 1e6 / load.times.len().max(1) as f64),
    )
}

impl Row {
    /// A line of the table.
    #[must_use]
    pub fn line(&self) -> String {
        let quantiles = |load: &Load| format!("{}, {}", shown(load.quantile(500)), shown(load.quantile(990)));
        format!(
            "| {} ({} kB) | {} | {} | {} | {:.0} | {:.0} | {:.2} | {} | {} | {}, {} |",
            self.containers,
            self.bytes / 1000,
            self.other,
            self.connection,
            self.connections,
            self.ours.rate(),
            self.theirs.rate(),
            self.ours.rate() / self.theirs.rate().max(f64::MIN_POSITIVE),
            quantiles(&self.ours),
            quantiles(&self.theirs),
            per_answer(&self.ours),
            per_answer(&self.theirs),
        )
    }
}

/// Lines of how soon changes are seen.
#[must_use]
pub fn visible(containers: usize, visible: &Visible) -> String {
    let quantiles = |load: &Load| {
        let at = |part| shown(load.quantile(part));
        format!("{}, {}, {}", at(500), at(990), at(1000))
    };
    format!(
        "| {containers} | {} | {} | {} |",
        visible.asked.times.len(),
        quantiles(&visible.answered),
        quantiles(&visible.asked)
    )
}

/// The head of [`visible`].
pub const VISIBLE_HEAD: &str = "| containers | changes | seen after the engine's answer: p50, p99, most | seen after the request to the engine: p50, p99, most |\n|---|---|---|---|";

/// A line of what a server costs at rest.
#[must_use]
pub fn rest(nodes: usize, containers: usize, rest: &Rest) -> String {
    format!("| {nodes} | {containers} | {:.3} % | {:.1} MB |", rest.cpu_percent, rest.resident_bytes as f64 / 1e6)
}

/// The head of [`rest`].
pub const REST_HEAD: &str =
    "| nodes | containers in memory | processor time, of one core | resident |\n|---|---|---|---|";

/// A line of starts of a server.
#[must_use]
pub fn starts(containers: usize, starts: &[Start]) -> String {
    let of = |time: fn(&Start) -> Duration| {
        let mut times: Vec<_> = starts.iter().map(time).collect();
        times.sort_unstable();
        let middle = times.get(times.len() / 2).copied().unwrap_or_default();
        format!("{}, {}", shown(middle), shown(times.last().copied().unwrap_or_default()))
    };
    format!("| {containers} | {} | {} | {} |", starts.len(), of(|start| start.ready), of(|start| start.whole))
}

/// The head of [`starts`].
pub const STARTS_HEAD: &str =
    "| containers | starts | ready: median, worst | all containers shown: median, worst |\n|---|---|---|---|";
