//! Downloads to a node, live figures for a dashboard, and looking into the agent itself: `web.download`, `rtinfo.*` and
//! `pprof.*`, section 12.8 of the reference.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use roadstead_core::{Error, Result, Timestamp};

use super::job::json_text;
use super::reading::{Named, Read, at_nanoseconds, nanoseconds, record};
use super::{Commands, HOUR};

/// `web.download`, `rtinfo.*` and `pprof.*`.
#[derive(Clone, Copy, Debug)]
pub struct Diagnostics<'a>(pub(super) &'a Commands);

/// Where live figures are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct RtinfoArguments {
    /// The machine.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Beginnings of the names of disks that are told about; all when empty.
    pub disks: Vec<String>,
}

record! {
    /// Memory of core0 itself, as the runtime of Go counts it.
    pub struct MemoryStatistics {
        /// Objects on the heap, in bytes.
        alloc_bytes: u64 = "Alloc";
        /// All that ever was on the heap, in bytes.
        total_alloc_bytes: u64 = "TotalAlloc";
        /// All that was taken from the system, in bytes.
        system_bytes: u64 = "Sys";
        /// Objects that were ever made.
        mallocs: u64 = "Mallocs";
        /// Objects that were freed again.
        frees: u64 = "Frees";
        /// The heap, in bytes.
        heap_system_bytes: u64 = "HeapSys";
        /// What of the heap nothing uses, in bytes.
        heap_idle_bytes: u64 = "HeapIdle";
        /// What of the heap is used, in bytes.
        heap_in_use_bytes: u64 = "HeapInuse";
        /// What of the heap was given back to the system, in bytes.
        heap_released_bytes: u64 = "HeapReleased";
        /// Objects on the heap.
        heap_objects: u64 = "HeapObjects";
        /// Stacks, in bytes.
        stack_in_use_bytes: u64 = "StackInuse";
        /// At this size of the heap it is cleaned up next, in bytes.
        next_gc_bytes: u64 = "NextGC";
        /// When it was cleaned up last.
        last_gc_at: Option<Timestamp> = "LastGC" in at_nanoseconds;
        /// How long everything stood still for that, all in all.
        pause_total: Duration = "PauseTotalNs" in nanoseconds;
        /// How often it was cleaned up.
        gc_cycles: u64 = "NumGC";
        /// Which part of all processor time that took, 0 to 1.
        gc_cpu_fraction: f64 = "GCCPUFraction";
    }
}

/// A value as its JSON text.
struct Json(String);

impl Read for Json {
    fn read(value: &Value) -> Option<Self> {
        json_text(value).map(Json)
    }
}

fn file(path: Option<&str>) -> Value {
    path.map_or_else(|| json!({}), |path| json!({"file": path}))
}

/// `web.download`, `rtinfo.*` and `pprof.*`.
impl Diagnostics<'_> {
    /// Downloads a file to the node, and gives where it is: `web.download`. It may take an hour.
    ///
    /// # Errors
    /// As every command; `InvalidInput` without a URL or a destination.
    pub async fn download(&self, url: &str, destination: &str) -> Result<String> {
        for (field, value) in [("url", url), ("destination", destination)] {
            if value.is_empty() {
                return Err(Error::invalid(field, "must not be empty"));
            }
        }
        self.0.call_for(HOUR, "web.download", json!({"url": url, "destination": destination})).await
    }

    /// Begins to send live figures: `rtinfo.start`.
    ///
    /// # Errors
    /// As every command.
    pub async fn start_rtinfo(&self, arguments: &RtinfoArguments) -> Result<()> {
        self.0.done("rtinfo.start", arguments).await
    }

    /// Ends that: `rtinfo.stop`.
    ///
    /// # Errors
    /// As every command.
    pub async fn stop_rtinfo(&self, host: &str, port: u16) -> Result<()> {
        self.0.done("rtinfo.stop", json!({"host": host, "port": port})).await
    }

    /// Where figures are sent, and what else a node says of it, as JSON: `rtinfo.list`.
    ///
    /// # Errors
    /// As every command.
    pub async fn rtinfo(&self) -> Result<BTreeMap<String, String>> {
        let Named(targets) = self.0.call::<Named<Json>>("rtinfo.list", ()).await?;
        Ok(targets.into_iter().map(|(target, Json(json))| (target, json)).collect())
    }

    /// Begins to write down what the agent spends its time with, to a file of the node: `pprof.cpu.start`.
    ///
    /// # Errors
    /// As every command.
    pub async fn start_cpu_profile(&self, path: Option<&str>) -> Result<()> {
        self.0.done("pprof.cpu.start", file(path)).await
    }

    /// Ends that: `pprof.cpu.stop`.
    ///
    /// # Errors
    /// As every command.
    pub async fn stop_cpu_profile(&self) -> Result<()> {
        self.0.done("pprof.cpu.stop", ()).await
    }

    /// Writes down what is in the agent's memory, to a file of the node: `pprof.mem.write`.
    ///
    /// # Errors
    /// As every command.
    pub async fn write_memory_profile(&self, path: Option<&str>) -> Result<()> {
        self.0.done("pprof.mem.write", file(path)).await
    }

    /// The agent's own memory: `pprof.mem.stat`.
    ///
    /// # Errors
    /// As every command.
    pub async fn memory(&self) -> Result<MemoryStatistics> {
        self.0.call("pprof.mem.stat", ()).await
    }
}
