//! Which families of samples there are. Units have no prefixes, and what only grows is a counter.

use super::text::{Family, Kind};

macro_rules! families {
    ($($constant:ident $kind:ident $name:literal $($unit:literal)? : $help:literal;)+) => {
        $(pub(super) static $constant: Family =
            Family { name: concat!("roadstead_", $name), kind: Kind::$kind, unit: unit(&[$($unit)?]), help: $help };)+

        /// All of them.
        #[cfg(test)]
        pub(super) static ALL: &[&Family] = &[$(&$constant),+];
    };
}

const fn unit(given: &[&'static str]) -> Option<&'static str> {
    match given {
        [unit] => Some(unit),
        _ => None,
    }
}

families! {
    UP Gauge "node_up": "Whether the node answered.";
    LEFT_OUT Gauge "node_series_left_out": "Series of the node that are not told, since there are too many.";
    FAILED Gauge "node_container_errors": "Containers of the node of which it could not be told what they use.";
    ON Info "node_machine": "Which machine the node is on.";

    UPTIME Gauge "machine_uptime_seconds" "seconds": "Time since the machine was started.";
    CPU Counter "machine_cpu_seconds" "seconds": "What the processors of the machine did, all together.";
    CORE Counter "machine_core_seconds" "seconds": "What each processor of the machine did.";
    LOAD Gauge "machine_load": "Tasks that run or wait for a disk, on average over some minutes.";
    PROCESSES Gauge "machine_processes": "Processes of the machine.";
    MEMORY Gauge "machine_memory_size_bytes" "bytes": "Memory of the machine.";
    MEMORY_USED Gauge "machine_memory_used_bytes" "bytes": "Memory that is not available.";
    MEMORY_AVAILABLE Gauge "machine_memory_available_bytes" "bytes": "Memory that a new program may have without swapping.";
    MEMORY_FREE Gauge "machine_memory_free_bytes" "bytes": "Memory that holds nothing.";
    MEMORY_BUFFERS Gauge "machine_memory_buffers_bytes" "bytes": "Memory that holds blocks of devices.";
    MEMORY_CACHED Gauge "machine_memory_cached_bytes" "bytes": "Memory that holds files.";
    MEMORY_SHARED Gauge "machine_memory_shared_bytes" "bytes": "Memory of temporary file systems, and between processes.";
    MEMORY_ACTIVE Gauge "machine_memory_active_bytes" "bytes": "Memory that was used of late.";
    MEMORY_INACTIVE Gauge "machine_memory_inactive_bytes" "bytes": "Memory that was not used of late.";
    SWAP Gauge "machine_swap_size_bytes" "bytes": "Swap of the machine.";
    SWAP_USED Gauge "machine_swap_used_bytes" "bytes": "Swap that is used.";
    WAITING Counter "machine_pressure_waiting_seconds" "seconds": "Time in which some task waited for a resource.";
    STALLED Counter "machine_pressure_stalled_seconds" "seconds": "Time in which all tasks at once waited for a resource.";
    DISK_READ Counter "machine_disk_read_bytes" "bytes": "Read from a disk.";
    DISK_WRITTEN Counter "machine_disk_written_bytes" "bytes": "Written to a disk.";
    DISK_READS Counter "machine_disk_reads": "Reads from a disk.";
    DISK_WRITES Counter "machine_disk_writes": "Writes to a disk.";
    DISK_BUSY Counter "machine_disk_busy_seconds" "seconds": "Time in which a disk had something to do.";
    FILES Gauge "machine_filesystem_size_bytes" "bytes": "Size of a file system.";
    FILES_USED Gauge "machine_filesystem_used_bytes" "bytes": "What is used of it.";
    FILES_AVAILABLE Gauge "machine_filesystem_available_bytes" "bytes": "What users other than root may still use of it.";
    INODES Gauge "machine_filesystem_inodes": "Files that it can hold; 0 where it has no such limit.";
    INODES_FREE Gauge "machine_filesystem_inodes_free": "Files that it can still take.";
    NIC_RECEIVED Counter "machine_network_received_bytes" "bytes": "Received by an interface.";
    NIC_SENT Counter "machine_network_sent_bytes" "bytes": "Sent by an interface.";
    NIC_PACKETS_RECEIVED Counter "machine_network_received_packets": "Packets received by an interface.";
    NIC_PACKETS_SENT Counter "machine_network_sent_packets": "Packets sent by an interface.";
    NIC_RECEIVE_ERRORS Counter "machine_network_receive_errors": "Errors of an interface on receiving.";
    NIC_SEND_ERRORS Counter "machine_network_send_errors": "Errors of an interface on sending.";
    NIC_RECEIVE_DROPPED Counter "machine_network_receive_dropped": "Packets that were dropped on receiving.";
    NIC_SEND_DROPPED Counter "machine_network_send_dropped": "Packets that were dropped on sending.";
    TEMPERATURE Gauge "machine_temperature_celsius" "celsius": "What a sensor shows.";
    TEMPERATURE_CRITICAL Gauge "machine_temperature_critical_celsius" "celsius": "From where on it is critical.";
    INTERVAL Gauge "machine_sampling_interval_seconds" "seconds": "From one look at the machine to the next, as it is now.";
    INTERVAL_ASKED Gauge "machine_sampling_asked_interval_seconds" "seconds": "The same, as it was asked for.";
    SLOWED Gauge "machine_sampling_slowed": "Whether it looks less often than asked for, to stay within its budget.";
    BUDGET Gauge "machine_sampling_budget_ratio" "ratio": "How much of one core looking may use.";
    COST Gauge "machine_sampling_cost_ratio" "ratio": "How much of one core looking used of late.";
    LOOK_COST Gauge "machine_sampling_look_seconds" "seconds": "Processor time of the last look.";
    HISTORY Gauge "machine_sampling_history_bytes" "bytes": "Memory that the history takes.";

    C_CPU Counter "container_cpu_seconds" "seconds": "Processor time.";
    C_CPU_USER Counter "container_cpu_user_seconds" "seconds": "Processor time of programs.";
    C_CPU_SYSTEM Counter "container_cpu_system_seconds" "seconds": "Processor time of the kernel.";
    C_CPUS Gauge "container_cpus": "Cores that it may use.";
    C_THROTTLED Counter "container_cpu_throttled_seconds" "seconds": "Time in which the limit held it back.";
    C_THROTTLED_PERIODS Counter "container_cpu_throttled_periods": "In how many periods that was.";
    C_MEMORY Gauge "container_memory_usage_bytes" "bytes": "Memory, page cache included.";
    C_WORKING_SET Gauge "container_memory_working_set_bytes" "bytes": "Memory without the page cache that can be dropped at once.";
    C_MEMORY_LIMIT Gauge "container_memory_limit_bytes" "bytes": "Limit of memory.";
    C_SWAP Gauge "container_memory_swap_bytes" "bytes": "Swap.";
    C_RSS Gauge "container_memory_rss_bytes" "bytes": "Memory that no file backs.";
    C_CACHE Gauge "container_memory_cache_bytes" "bytes": "Page cache.";
    C_PEAK Gauge "container_memory_peak_bytes" "bytes": "The most memory that it had.";
    C_SWAP_PEAK Gauge "container_memory_swap_peak_bytes" "bytes": "The most swap that it had.";
    C_OOM Counter "container_oom_kills": "Processes that the kernel ended for want of memory.";
    C_READ Counter "container_block_read_bytes" "bytes": "Read from block devices.";
    C_WRITTEN Counter "container_block_written_bytes" "bytes": "Written to block devices.";
    C_RECEIVED Counter "container_network_received_bytes" "bytes": "Received by all interfaces.";
    C_SENT Counter "container_network_sent_bytes" "bytes": "Sent by all interfaces.";
    C_NAMESPACE_RECEIVED Counter "container_network_namespace_received_bytes" "bytes": "Received in the network namespace, the loopback included.";
    C_NAMESPACE_SENT Counter "container_network_namespace_sent_bytes" "bytes": "Sent in the network namespace, the loopback included.";
    C_PACKETS_RECEIVED Counter "container_network_received_packets": "Packets received by all interfaces.";
    C_PACKETS_SENT Counter "container_network_sent_packets": "Packets sent by all interfaces.";
    C_RECEIVE_ERRORS Counter "container_network_receive_errors": "Errors of all interfaces on receiving.";
    C_SEND_ERRORS Counter "container_network_send_errors": "Errors of all interfaces on sending.";
    C_RECEIVE_DROPPED Counter "container_network_receive_dropped": "Packets that were dropped on receiving.";
    C_SEND_DROPPED Counter "container_network_send_dropped": "Packets that were dropped on sending.";
    C_PIDS Gauge "container_pids": "Processes and threads.";
    C_PIDS_LIMIT Gauge "container_pids_limit": "Limit of processes and threads.";
    C_WAITING Counter "container_pressure_waiting_seconds" "seconds": "Time in which some task waited for a resource.";
    C_STALLED Counter "container_pressure_stalled_seconds" "seconds": "Time in which all tasks at once waited for a resource.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_units() {
        for family in ALL {
            let is_free =
                ["_total", "_info", "_created", "_count", "_sum"].iter().all(|end| !family.name.ends_with(end));
            assert!(is_free && family.help.ends_with('.'), "{family:?}");
            assert!(family.unit.is_none_or(|unit| family.name.ends_with(&format!("_{unit}"))), "{family:?}");
        }
        let mut names: Vec<_> = ALL.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
