//! What was used over time: steps with the least, the mean and the greatest of each number.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::names;
use crate::time::Timestamp;

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)+) => {
        /// A number of which history is kept.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[non_exhaustive]
        pub enum Metric {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Metric {
            /// All of them.
            pub const ALL: &'static [Metric] = &[$(Metric::$variant),+];

            /// Its name in JSON and in rules, which tells its unit.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Metric::$variant => $name,)+ }
            }
        }
    };
}

metrics! {
    /// Processor time: of a container or process in percent of one core, of a machine in percent of all.
    CpuPercent = "cpu_percent";
    /// Memory that is used: of a container with its page cache, of a machine what is not available, of a process what is resident.
    MemoryBytes = "memory_bytes";
    /// Memory of a container without the page cache that can be dropped at once.
    WorkingSetBytes = "working_set_bytes";
    /// Swap that is used.
    SwapBytes = "swap_bytes";
    /// Bytes read from block devices per second.
    ReadBytesPerSecond = "read_bytes_per_second";
    /// Bytes written to block devices per second.
    WrittenBytesPerSecond = "written_bytes_per_second";
    /// Bytes received per second.
    ReceivedBytesPerSecond = "received_bytes_per_second";
    /// Bytes sent per second.
    SentBytesPerSecond = "sent_bytes_per_second";
    /// Processes; of a container with their threads.
    Pids = "pids";
    /// Time that a limit of processors held a container back, in percent.
    ThrottledPercent = "throttled_percent";
    /// Time of the last ten seconds in which some task waited for a processor, in percent.
    CpuPressurePercent = "cpu_pressure_percent";
    /// The same for memory.
    MemoryPressurePercent = "memory_pressure_percent";
    /// The same for block devices.
    IoPressurePercent = "io_pressure_percent";
    /// Load of the last minute of a machine.
    Load = "load";
}

/// Whose history is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistoryOf {
    /// The machine and every container.
    #[default]
    Everything,
    /// These containers, by id or name.
    Containers(Vec<String>),
    /// The processes of these containers; of the whole node when empty.
    Processes(Vec<String>),
}

/// Which history is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryOptions {
    /// Whose.
    pub of: HistoryOf,
    /// From then on; as far back as there is any when absent.
    pub since: Option<Timestamp>,
    /// Length of a step; as it is kept when absent.
    pub step: Option<Duration>,
}

/// A step is at most a day long.
const STEP_MAX: Duration = Duration::from_hours(24);

impl HistoryOptions {
    /// All that is kept of `of`.
    #[must_use]
    pub fn of(of: HistoryOf) -> Self {
        HistoryOptions { of, since: None, step: None }
    }

    /// Checks everything that can be known without an engine.
    ///
    /// # Errors
    /// `InvalidInput` with the field `containers` or `step`.
    pub fn validate(&self) -> Result<()> {
        if let HistoryOf::Containers(containers) | HistoryOf::Processes(containers) = &self.of {
            containers.iter().try_for_each(|container| names::existing("containers", container))?;
        }
        match self.step {
            Some(step) if step.is_zero() || step > STEP_MAX => {
                Err(Error::invalid("step", "must be longer than nothing and at most a day"))
            }
            _ => Ok(()),
        }
    }
}

/// What was used over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct UsageHistory {
    /// Name of the node.
    pub node: String,
    /// One series for the machine, and one for each container or process.
    pub series: Vec<UsageSeries>,
}

/// The history of the machine, of a container or of a process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct UsageSeries {
    /// Id of the container that it is of, or that the process belongs to; absent for the machine and its own processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Name of that container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The process that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The steps, in the order of time. Steps in which nothing was seen are left out.
    pub points: Vec<UsagePoint>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct UsagePoint {
    /// When it begins.
    pub at: Timestamp,
    /// What was seen in it; numbers that are not told are left out.
    pub values: BTreeMap<Metric, Spread>,
}

impl UsagePoint {
    /// A step that begins at `at`.
    #[must_use]
    pub fn new(at: Timestamp, values: BTreeMap<Metric, Spread>) -> Self {
        UsagePoint { at, values }
    }
}

/// The least, the mean and the greatest that was seen of a number in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// These three.
    #[must_use]
    pub const fn new(min: f64, mean: f64, max: f64) -> Self {
        Spread { min, mean, max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        for metric in Metric::ALL {
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
        }
    }

    #[test]
    fn steps_that_make_no_sense_are_refused() {
        for (step, good) in [(0, false), (1, true), (86400, true), (86401, false)] {
            let options = HistoryOptions { step: Some(Duration::from_secs(step)), ..HistoryOptions::default() };
            assert_eq!(options.validate().is_ok(), good, "{step}");
        }
        let bad = HistoryOptions::of(HistoryOf::Containers(vec!["a/b".to_owned()]));
        assert_eq!(bad.validate().unwrap_err().field(), Some("containers"));
    }
}
