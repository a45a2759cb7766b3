//! The node itself: `pprof.*`, `config.get`, `logger.set_level`, `logger.reopen` and `monitor`.

use std::fs;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::arguments::{Kind, Shape};
use super::{Failure, errors};

const FILE: Shape = Shape { go: r#"struct { File string "json:\"file\"" }"#, fields: &[("file", Kind::Text)] };
const LEVEL: Shape = Shape { go: "builtin.LogLevel", fields: &[("level", Kind::Text)] };
const DOMAIN: Shape = Shape { go: r#"struct { Domain string "json:\"domain\"" }"#, fields: &[("domain", Kind::Text)] };
const LEVELS: [&str; 6] = ["CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];
/// The classes in which Go keeps small objects, by their bytes.
const SIZES: [u32; 61] = [
    0, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352, 384, 416, 448,
    480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2688, 3072, 3200, 3456, 4096,
    4864, 5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336, 16384, 18432,
];

/// What can be set of a running node.
#[derive(Debug)]
pub(super) struct Runtime {
    level: Mutex<String>,
}

impl Default for Runtime {
    fn default() -> Self {
        Self { level: Mutex::new("info".to_owned()) }
    }
}

impl Runtime {
    /// The commands of this module; `None` for any other name.
    pub(super) fn call(&self, command: &str, arguments: &Value) -> Option<Result<Value, Failure>> {
        Some(match command {
            "pprof.cpu.start" => FILE.decode(arguments, 500).and_then(|arguments| {
                // Nothing of Go runs here that could be profiled; the file is there, as after a profile of no time.
                fs::File::create(arguments.text("file")).map_err(errors::at("open", arguments.text("file")))?;
                Ok(Value::Null)
            }),
            "pprof.cpu.stop" => Ok(Value::Null),
            "pprof.mem.write" => FILE.decode(arguments, 500).and_then(|arguments| {
                let file = arguments.text("file");
                fs::write(file, errors::read("/proc/self/smaps_rollup")?).map_err(errors::at("open", file))?;
                Ok(Value::Null)
            }),
            "pprof.mem.stat" => memory(),
            "config.get" => Ok(self.config()),
            // Its log goes to standard error, which cannot be reopened.
            "logger.reopen" => Ok(Value::Null),
            "logger.set_level" => LEVEL.decode(arguments, 500).and_then(|arguments| {
                let level = arguments.text("level");
                if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
                    return Err(Failure::new(500, format!("invalid log level: {level}")));
                }
                *self.level.lock().unwrap_or_else(PoisonError::into_inner) = level.to_lowercase();
                Ok(Value::Null)
            }),
            "monitor" => DOMAIN.decode(arguments, 500).and_then(|arguments| sample(arguments.text("domain"))),
            _ => return None,
        })
    }

    /// The configuration that the node is shipped with.
    fn config(&self) -> Value {
        let level = self.level.lock().unwrap_or_else(PoisonError::into_inner).clone();
        json!({
            "main": {"max_jobs": 524_288, "include": ["/etc/zero-os/conf"], "network": "", "log_level": level},
            "globals": {"storage": ""}, "extension": null,
            "logger": {"file": {"levels": [2, 4, 7, 8, 9]}, "Ledis": {"ledis": {"levels": null}, "size": 50_000}},
            "containers": {"max_count": 1000}, "stats": {"enabled": true},
        })
    }
}

/// Reads what a domain is sampled from; whoever keeps statistics samples the same places.
fn sample(domain: &str) -> Result<Value, Failure> {
    let files: &[&str] = match domain.to_lowercase().as_str() {
        "disk" => &["/proc/diskstats", "/proc/self/mounts"],
        "cpu" => &["/proc/stat"],
        "memory" => &["/proc/meminfo"],
        "network" => &["/proc/thread-self/net/dev"],
        _ => return Err(Failure::new(500, format!("invalid monitoring domain: {domain}"))),
    };
    for file in files {
        errors::read(file)?;
    }
    Ok(Value::Null)
}

/// The members of Go's memory statistics. What Linux counts for this process is told, what only Go counts is zero.
fn memory() -> Result<Value, Failure> {
    let status = errors::read("/proc/self/status")?;
    let bytes = |name: &str| {
        let field =
            |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.trim().trim_end_matches(" kB").parse().ok();
        status.lines().find_map(field).map_or(0, |kilobytes: u64| kilobytes * 1024)
    };
    let (used, data, stack) = (bytes("RssAnon"), bytes("VmData"), bytes("VmStk"));
    let zeros = || vec![0; 256];
    Ok(json!({
        "Alloc": used, "TotalAlloc": bytes("VmPeak"), "Sys": bytes("VmSize"), "Lookups": 0, "Mallocs": 0, "Frees": 0,
        "HeapAlloc": used, "HeapSys": data, "HeapIdle": data.saturating_sub(used), "HeapInuse": used, "HeapReleased": 0,
        "HeapObjects": 0, "StackInuse": stack, "StackSys": stack, "MSpanInuse": 0, "MSpanSys": 0, "MCacheInuse": 0,
        "MCacheSys": 0, "BuckHashSys": 0, "GCSys": 0, "OtherSys": bytes("VmLib"), "NextGC": 0, "LastGC": 0,
        "PauseTotalNs": 0, "PauseNs": zeros(), "PauseEnd": zeros(), "NumGC": 0, "NumForcedGC": 0, "GCCPUFraction": 0.0,
        "EnableGC": false, "DebugGC": false,
        "BySize": SIZES.iter().map(|size| json!({"Size": size, "Mallocs": 0, "Frees": 0})).collect::<Value>(),
    }))
}
