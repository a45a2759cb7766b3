//! The daemon's inspection of a container, as far as it is read. Everything may be absent or null, and words are
//! strings: daemons of other versions and makes never break a call by what they add or leave out.

use std::collections::BTreeMap;

use serde::Deserialize;

macro_rules! wire {
    ($($(#[doc = $doc:literal])+ $name:ident {
        $($(#[$attribute:meta])* $field:ident: $type:ty,)+
        $(..$rest:ident)?
    })+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Default, Deserialize)]
            #[serde(rename_all = "PascalCase", default)]
            pub(super) struct $name {
                $($(#[$attribute])* pub(super) $field: Option<$type>,)+
                $(
                    /// What else the daemon tells of it.
                    #[serde(flatten)]
                    pub(super) $rest: serde_json::Map<String, serde_json::Value>,
                )?
            }
        )+
    };
}

/// Ports such as `80/tcp`, each with its places on the node.
pub(super) type Ports = BTreeMap<String, Option<Vec<PortBinding>>>;

wire! {
    /// The whole answer.
    Inspected {
        id: String,
        created: String,
        path: String,
        state: State,
        image: String,
        name: String,
        restart_count: i64,
        host_config: HostConfig,
        mounts: Vec<MountPoint>,
        config: Config,
        network_settings: NetworkSettings,
    }
    /// What it does.
    State {
        status: String,
        #[serde(rename = "OOMKilled")]
        oom_killed: bool,
        #[serde(rename = "Pid")]
        process: i64,
        exit_code: i64,
        error: String,
        started_at: String,
        finished_at: String,
        health: HealthState,
    }
    /// What its health check found.
    HealthState {
        status: String,
    }
    /// What was asked for, as far as it does not depend on the node.
    Config {
        hostname: String,
        user: String,
        tty: bool,
        open_stdin: bool,
        env: Vec<String>,
        cmd: Vec<String>,
        healthcheck: HealthConfig,
        image: String,
        working_dir: String,
        entrypoint: Vec<String>,
        labels: BTreeMap<String, Option<String>>,
        stop_signal: String,
        stop_timeout: i64,
        ..rest
    }
    /// How its health is checked; times in nanoseconds.
    HealthConfig {
        test: Vec<String>,
        interval: i64,
        timeout: i64,
        start_period: i64,
        retries: i64,
    }
    /// What was asked for of the node.
    HostConfig {
        auto_remove: bool,
        port_bindings: Ports,
        restart_policy: Policy,
        cap_add: Vec<String>,
        cap_drop: Vec<String>,
        dns: Vec<String>,
        dns_options: Vec<String>,
        dns_search: Vec<String>,
        extra_hosts: Vec<String>,
        privileged: bool,
        readonly_rootfs: bool,
        init: bool,
        tmpfs: BTreeMap<String, Option<String>>,
        mounts: Vec<AskedMount>,
        memory: i64,
        memory_swap: i64,
        nano_cpus: i64,
        cpu_quota: i64,
        cpu_period: i64,
        cpu_shares: i64,
        cpuset_cpus: String,
        pids_limit: i64,
        network_mode: String,
        binds: Vec<String>,
        ..rest
    }
    /// When it is started again.
    Policy {
        name: String,
        maximum_retry_count: i64,
    }
    /// A mount as it was asked for.
    AskedMount {
        target: String,
        tmpfs_options: TmpfsOptions,
    }
    /// What was asked for of a tmpfs.
    TmpfsOptions {
        size_bytes: i64,
    }
    /// A mount as it is.
    MountPoint {
        #[serde(rename = "Type")]
        kind: String,
        name: String,
        source: String,
        destination: String,
        #[serde(rename = "RW")]
        rw: bool,
    }
    /// Its networks.
    NetworkSettings {
        ports: Ports,
        networks: BTreeMap<String, Option<Endpoint>>,
    }
    /// Where a port is on the node.
    PortBinding {
        host_ip: String,
        host_port: String,
    }
    /// Its place on a network.
    Endpoint {
        #[serde(rename = "IPAMConfig")]
        ipam_config: FixedAddress,
        aliases: Vec<String>,
        gateway: String,
        #[serde(rename = "IPAddress")]
        ip_address: String,
        #[serde(rename = "IPv6Gateway")]
        ipv6_gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        global_ipv6_address: String,
        mac_address: String,
    }
    /// The address that was asked for.
    FixedAddress {
        #[serde(rename = "IPv4Address")]
        ipv4_address: String,
        #[serde(rename = "IPv6Address")]
        ipv6_address: String,
    }
}

impl State {
    /// The main process's id on the node, while there is one.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0)
    }
}
