//! What a virtual machine has used, in the words of Go: `kvm.info`.

use std::time::Duration;

use super::super::reading::{nanoseconds, record};

record! {
    /// What a virtual machine has used since it was started.
    pub struct MachineStatistics {
        /// Its processors.
        vcpus: Vec<VcpuStatistics> = "Vcpu";
        /// Its network interfaces.
        nics: Vec<NicStatistics> = "Net";
        /// Its disks.
        disks: Vec<BlockStatistics> = "Block";
    }
}

record! {
    /// A processor.
    pub struct VcpuStatistics {
        /// What it does, by libvirt's number: 0 nothing, 1 runs, 2 waits.
        state: i64 = "State";
        /// How long it has run.
        time: Duration = "Time" in nanoseconds;
    }
}

record! {
    /// A network interface.
    pub struct NicStatistics {
        /// The node's end of it.
        name: String = "Name";
        /// Bytes received.
        received_bytes: u64 = "RxBytes";
        /// Packets received.
        received_packets: u64 = "RxPkts";
        /// Errors of receiving.
        receive_errors: u64 = "RxErrs";
        /// Packets that were dropped on their way in.
        receive_drops: u64 = "RxDrop";
        /// Bytes sent.
        sent_bytes: u64 = "TxBytes";
        /// Packets sent.
        sent_packets: u64 = "TxPkts";
        /// Errors of sending.
        send_errors: u64 = "TxErrs";
        /// Packets that were dropped on their way out.
        send_drops: u64 = "TxDrop";
    }
}

record! {
    /// A disk.
    pub struct BlockStatistics {
        /// Its name in the machine.
        name: String = "Name";
        /// Bytes read.
        read_bytes: u64 = "RdBytes";
        /// How long reading took.
        read_time: Duration = "RdTimes" in nanoseconds;
        /// Bytes written.
        written_bytes: u64 = "WrBytes";
        /// How long writing took.
        write_time: Duration = "WrTimes" in nanoseconds;
    }
}
