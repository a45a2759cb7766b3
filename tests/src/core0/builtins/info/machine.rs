//! Processors, memory, mounted partitions and the system, from `/proc` and `/sys`.

use std::fs;

use serde_json::{Value, json};

use crate::core0::builtins::{Failure, errors};

/// One entry per hardware thread.
pub(super) fn processors() -> Result<Value, Failure> {
    let text = errors::read("/proc/cpuinfo")?;
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    Ok(blocks.enumerate().map(|(index, block)| processor(index, block)).collect())
}

fn processor(index: usize, block: &str) -> Value {
    let field = |name: &str| {
        let value = |line: &'_ str| {
            line.split_once(':').filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
        };
        block.lines().find_map(value).unwrap_or_default()
    };
    let number = |name: &str| field(name).parse::<i64>().unwrap_or(0);
    let directory = format!("/sys/devices/system/cpu/cpu{index}");
    let fastest = fs::read_to_string(format!("{directory}/cpufreq/cpuinfo_max_freq"));
    // Told in kHz there, while the other place tells what it runs at just now.
    let fastest = fastest.ok().and_then(|text| text.trim().parse::<f64>().ok()).map(|speed| speed / 1000.0);
    let core = match field("core id") {
        empty if empty.is_empty() => fs::read_to_string(format!("{directory}/topology/core_id")).unwrap_or_default(),
        core => core,
    };
    json!({
        "cpu": number("processor"), "vendorId": field("vendor_id"), "family": field("cpu family"), "model": field("model"),
        "stepping": number("stepping"), "physicalId": field("physical id"), "coreId": core.trim(), "cores": 1,
        "modelName": field("model name"), "mhz": fastest.unwrap_or_else(|| field("cpu MHz").parse().unwrap_or(0.0)),
        "cacheSize": field("cache size").trim_end_matches(" KB").parse::<i64>().unwrap_or(0),
        "flags": field("flags").split_whitespace().collect::<Vec<_>>(), "microcode": field("microcode"),
    })
}

/// The fields of `/proc/meminfo` in bytes.
pub(super) fn memory() -> Result<Value, Failure> {
    let text = errors::read("/proc/meminfo")?;
    let bytes = |name: &str| {
        let field =
            |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.trim().trim_end_matches(" kB").parse().ok();
        text.lines().find_map(field).map_or(0, |kilobytes: u64| kilobytes * 1024)
    };
    let (total, available) = (bytes("MemTotal"), bytes("MemAvailable"));
    let used = total.saturating_sub(available);
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    let percent = used as f64 / total as f64 * 100.0;
    Ok(json!({
        "total": total, "available": available, "used": used, "usedPercent": percent, "free": bytes("MemFree"),
        "active": bytes("Active"), "inactive": bytes("Inactive"), "wired": 0, "buffers": bytes("Buffers"),
        "cached": bytes("Cached"), "writeback": bytes("Writeback"), "dirty": bytes("Dirty"),
        "writebacktmp": bytes("WritebackTmp"), "shared": bytes("Shmem"), "slab": bytes("Slab"),
        "pagetables": bytes("PageTables"), "swapcached": bytes("SwapCached"),
    }))
}

/// Mounts of file systems that need a device.
pub(super) fn partitions() -> Result<Value, Failure> {
    let known = errors::read("/proc/filesystems")?;
    let on_devices: Vec<&str> = known.lines().filter(|line| !line.starts_with("nodev")).map(str::trim).collect();
    let mounts = errors::read("/proc/self/mounts")?;
    let partition = |line: &str| {
        let mut fields = line.split_whitespace();
        let (device, mountpoint, kind, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        (device != "none" && on_devices.contains(&kind))
            .then(|| json!({"device": device, "mountpoint": mountpoint, "fstype": kind, "opts": options}))
    };
    Ok(mounts.lines().filter_map(partition).collect())
}

/// Name, age and kind of the system.
pub(super) fn system() -> Result<Value, Failure> {
    let uptime = errors::read("/proc/uptime")?;
    let uptime = uptime.split('.').next().and_then(|seconds| seconds.parse::<u64>().ok()).unwrap_or(0);
    let stat = errors::read("/proc/stat")?;
    let boot = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok()).unwrap_or(0);
    let numbered = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().parse::<u32>().is_ok();
    let processes = fs::read_dir("/proc").map_err(errors::at("open", "/proc"))?.flatten().filter(numbered).count();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix('=')?.trim_matches('"').to_owned());
        release.lines().find_map(value).unwrap_or_default()
    };
    let platform = field("ID");
    let family = if platform == "ubuntu" { "debian".to_owned() } else { platform.clone() };
    let version = match fs::read_to_string("/etc/debian_version") {
        Ok(version) if platform == "debian" => version.trim().to_owned(),
        _ => field("VERSION_ID"),
    };
    Ok(json!({
        "hostname": errors::read("/proc/sys/kernel/hostname")?.trim(), "uptime": uptime, "bootTime": boot, "procs": processes,
        "os": "linux", "platform": platform, "platformFamily": family, "platformVersion": version,
        "kernelVersion": errors::read("/proc/sys/kernel/osrelease")?.trim(), "virtualizationSystem": "",
        "virtualizationRole": "",
        "hostid": fs::read_to_string("/sys/class/dmi/id/product_uuid").unwrap_or_default().trim().to_lowercase(),
    }))
}
