//! The measurements of COPA: what each kind holds, under COPA's own names.

use roadstead_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::super::answer::Refusal;
use super::super::form::Form;
use super::Monitor;
use super::fields::Fields;
use crate::series::{Document, Series};

/// A kind of measurement.
pub(super) trait Kind: Document {
    /// Its name in the store, and the word by which its list says that it succeeded.
    const WORD: &'static str;
    /// What one is called in errors.
    const NOUN: &'static str;
    /// The fields that have to be there, in the order in which they are missed.
    const FIELDS: &'static [&'static str];
    /// How many of these, from the first on, are loci.
    const LOCI: usize = 1;

    /// The series of it.
    fn series(monitor: &Monitor) -> &Series<Self>;

    /// The locus under which it is listed.
    fn locus(&self) -> &str;

    /// What a form says whose fields are all there.
    ///
    /// # Errors
    /// `InvalidInput` that names the field.
    fn read(form: &Form) -> Result<Self>;
}

/// Looks whether all fields of a kind are there; gives its loci.
///
/// # Errors
/// The first one that is missing.
pub(super) fn present<K: Kind>(form: &Form) -> std::result::Result<Vec<&str>, Refusal> {
    let values = K::FIELDS.iter().map(|name| form.required(name)).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(values.into_iter().take(K::LOCI).collect())
}

/// What was measured between two loci, by the first of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KpiLink {
    pub(super) locus1_id: String,
    pub(super) locus2_id: String,
    pub(super) jitter_1to2: f64,
    pub(super) latency_max_1to2: f64,
    pub(super) latency_median_1to2: f64,
    pub(super) latency_min_1to2: f64,
    pub(super) jitter_2to1: f64,
    pub(super) latency_max_2to1: f64,
    pub(super) latency_median_2to1: f64,
    pub(super) latency_min_2to1: f64,
    /// Mbit/s of the first locus, over all its interfaces.
    pub(super) throughput: f64,
}

impl Document for KpiLink {
    fn subjects(&self) -> impl Iterator<Item = &str> {
        [self.locus1_id.as_str(), &self.locus2_id].into_iter()
    }
}

impl Kind for KpiLink {
    const WORD: &'static str = "kpilink";
    const NOUN: &'static str = "measurement of a link";
    const FIELDS: &'static [&'static str] = &[
        "locus1",
        "locus2",
        "jitter_1to2",
        "latency_max_1to2",
        "latency_median_1to2",
        "latency_min_1to2",
        "jitter_2to1",
        "latency_max_2to1",
        "latency_median_2to1",
        "latency_min_2to1",
        "throughput",
    ];
    const LOCI: usize = 2;

    fn series(monitor: &Monitor) -> &Series<Self> {
        &monitor.links
    }

    fn locus(&self) -> &str {
        &self.locus1_id
    }

    fn read(form: &Form) -> Result<Self> {
        let fields = Fields(form);
        Ok(KpiLink {
            locus1_id: fields.text("locus1", LOCUS_MAX)?,
            locus2_id: fields.text("locus2", LOCUS_MAX)?,
            jitter_1to2: fields.number("jitter_1to2")?,
            latency_max_1to2: fields.number("latency_max_1to2")?,
            latency_median_1to2: fields.number("latency_median_1to2")?,
            latency_min_1to2: fields.number("latency_min_1to2")?,
            jitter_2to1: fields.number("jitter_2to1")?,
            latency_max_2to1: fields.number("latency_max_2to1")?,
            latency_median_2to1: fields.number("latency_median_2to1")?,
            latency_min_2to1: fields.number("latency_min_2to1")?,
            throughput: fields.number("throughput")?,
        })
    }
}

/// Names of nodes have at most so many characters.
const LOCUS_MAX: usize = 63;

/// How long a command took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KpiCommand {
    pub(super) locus_id: String,
    pub(super) cmd: String,
    /// `v`, by voice, or `g`, by gesture.
    pub(super) cmd_type: String,
    pub(super) proc_time: f64,
    pub(super) response_time: f64,
}

impl Document for KpiCommand {
    fn subjects(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.locus_id.as_str())
    }
}

impl Kind for KpiCommand {
    const WORD: &'static str = "kpicommand";
    const NOUN: &'static str = "measurement of a command";
    const FIELDS: &'static [&'static str] = &["locus", "cmd", "cmd_type", "proc_time", "response_time"];

    fn series(monitor: &Monitor) -> &Series<Self> {
        &monitor.commands
    }

    fn locus(&self) -> &str {
        &self.locus_id
    }

    fn read(form: &Form) -> Result<Self> {
        let fields = Fields(form);
        let cmd_type = fields.text("cmd_type", 1)?;
        if !matches!(cmd_type.as_str(), "v" | "g") {
            return Err(Error::invalid("cmd_type", "must be v or g"));
        }
        Ok(KpiCommand {
            locus_id: fields.text("locus", LOCUS_MAX)?,
            cmd: fields.text("cmd", 200)?,
            cmd_type,
            proc_time: fields.number("proc_time")?,
            response_time: fields.number("response_time")?,
        })
    }
}

/// How busy a locus is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KpiResource {
    pub(super) locus_id: String,
    /// Percent of the whole machine.
    #[serde(rename = "CPU")]
    pub(super) cpu: f64,
    /// Percent of its memory.
    pub(super) memory: f64,
}

impl Document for KpiResource {
    fn subjects(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.locus_id.as_str())
    }
}

impl Kind for KpiResource {
    const WORD: &'static str = "kpiresource";
    const NOUN: &'static str = "measurement of resources";
    const FIELDS: &'static [&'static str] = &["locus", "CPU", "memory"];

    fn series(monitor: &Monitor) -> &Series<Self> {
        &monitor.resources
    }

    fn locus(&self) -> &str {
        &self.locus_id
    }

    fn read(form: &Form) -> Result<Self> {
        let fields = Fields(form);
        Ok(KpiResource {
            locus_id: fields.text("locus", LOCUS_MAX)?,
            cpu: fields.number("CPU")?,
            memory: fields.number("memory")?,
        })
    }
}

/// What an access point of a locus tells of a station.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KpiWireless {
    pub(super) locus_id: String,
    pub(super) mac: String,
    pub(super) mfb: bool,
    pub(super) tdls: bool,
    pub(super) wmm: bool,
    pub(super) authenticated: bool,
    pub(super) authorized: bool,
    pub(super) expected_throughput: String,
    pub(super) inactive_time: String,
    pub(super) preamble: String,
    pub(super) rx_bitrate: String,
    pub(super) rx_bytes: u64,
    pub(super) rx_packets: u64,
    pub(super) signal: String,
    pub(super) signal_avg: String,
    pub(super) tx_bitrate: String,
    pub(super) tx_bytes: u64,
    pub(super) tx_failed: u64,
    pub(super) tx_retries: u64,
}

impl Document for KpiWireless {
    fn subjects(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.locus_id.as_str())
    }
}

impl Kind for KpiWireless {
    const WORD: &'static str = "kpiwireless";
    const NOUN: &'static str = "measurement of a station";
    const FIELDS: &'static [&'static str] = &[
        "locus",
        "mac",
        "mfb",
        "tdls",
        "wmm",
        "authenticated",
        "authorized",
        "expected_throughput",
        "inactive_time",
        "preamble",
        "rx_bitrate",
        "rx_bytes",
        "rx_packets",
        "signal",
        "signal_avg",
        "tx_bitrate",
        "tx_bytes",
        "tx_failed",
        "tx_retries",
    ];

    fn series(monitor: &Monitor) -> &Series<Self> {
        &monitor.wireless
    }

    fn locus(&self) -> &str {
        &self.locus_id
    }

    fn read(form: &Form) -> Result<Self> {
        let fields = Fields(form);
        Ok(KpiWireless {
            locus_id: fields.text("locus", LOCUS_MAX)?,
            mac: fields.text("mac", 17)?,
            mfb: fields.truth("mfb")?,
            tdls: fields.truth("tdls")?,
            wmm: fields.truth("wmm")?,
            authenticated: fields.truth("authenticated")?,
            authorized: fields.truth("authorized")?,
            expected_throughput: fields.text("expected_throughput", 10)?,
            inactive_time: fields.text("inactive_time", 10)?,
            preamble: fields.text("preamble", 10)?,
            rx_bitrate: fields.text("rx_bitrate", 20)?,
            rx_bytes: fields.count("rx_bytes")?,
            rx_packets: fields.count("rx_packets")?,
            signal: fields.text("signal", 20)?,
            signal_avg: fields.text("signal_avg", 20)?,
            tx_bitrate: fields.text("tx_bitrate", 30)?,
            tx_bytes: fields.count("tx_bytes")?,
            tx_failed: fields.count("tx_failed")?,
            tx_retries: fields.count("tx_retries")?,
        })
    }
}
