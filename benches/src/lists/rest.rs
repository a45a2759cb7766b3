//! What a server costs at which nobody asks.

use std::time::Duration;

use super::Outcome;
use super::load::cpu_time;

/// What a process used.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// Of one core, in percent.
    pub cpu_percent: f64,
    /// Resident memory at the end.
    pub resident_bytes: u64,
}

/// Looks at a process for so long.
///
/// # Errors
/// When there is no such process.
pub async fn measure(pid: u32, time: Duration) -> Outcome<Rest> {
    let before = cpu_time(pid)?;
    tokio::time::sleep(time).await;
    let used = cpu_time(pid)?.saturating_sub(before);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(Rest { cpu_percent: 100.0 * used.as_secs_f64() / time.as_secs_f64(), resident_bytes: kilobytes * 1024 })
}
