//! The interfaces of containers: virtual cables to bridges, made with `ip` and `nsenter`.

use std::process::Stdio;

use super::super::builtins::Failure;
use super::super::go;
use super::create::Nic;

/// The network of containers, and how its links are called.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) bridge: String,
    pub(super) subnet: [u8; 2],
    /// What the names of cables begin with.
    prefix: String,
}

/// Runs a program to its end.
///
/// # Errors
/// With what it complained of.
pub(super) async fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let mut command = tokio::process::Command::new(program);
    let output = command.args(arguments).stdin(Stdio::null()).output().await.map_err(|error| go::errno(&error))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

async fn ip(arguments: &[&str]) -> Result<(), String> {
    run("ip", arguments).await.map_err(|reason| format!("ip {}: {reason}", arguments.join(" ")))
}

async fn ip_in(pid: i32, arguments: &[&str]) -> Result<(), String> {
    let namespace = format!("--net=/proc/{pid}/ns/net");
    let mut all = vec![namespace.as_str(), "ip"];
    all.extend(arguments);
    run("nsenter", &all).await.map_err(|reason| format!("ip {}: {reason}", arguments.join(" ")))
}

/// Whether there is a link. Not from `/sys`, which may be that of another network namespace.
pub(super) fn link_exists(name: &str) -> bool {
    let text = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
    text.lines().any(|line| line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))
}

async fn is_bridge(name: &str) -> bool {
    let mut command = tokio::process::Command::new("ip");
    command.args(["link", "show", "dev", name, "type", "bridge"]).stdin(Stdio::null());
    command.output().await.is_ok_and(|output| !output.stdout.is_empty())
}

impl Network {
    pub(super) fn new(bridge: &str, subnet: [u8; 2]) -> Self {
        // Interfaces have up to 15 characters, and several nodes may share a machine.
        let prefix = if bridge == "core0" {
            "cont".to_owned()
        } else {
            let sum = bridge.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
            format!("c{:05x}", sum % 0x10_0000)
        };
        Network { bridge: bridge.to_owned(), subnet, prefix }
    }

    fn address(&self, id: u16) -> String {
        let [high, low] = id.to_be_bytes();
        format!("{}.{}.{high}.{low}", self.subnet[0], self.subnet[1])
    }

    /// Where a container's default interface is found; the bridge itself has the first address.
    pub(super) fn container_address(&self, id: u16) -> String {
        self.address(id + 1)
    }

    /// Makes the bridge of the default interfaces.
    ///
    /// # Errors
    /// What `ip` complained of.
    pub(super) async fn make_bridge(&self) -> Result<(), String> {
        if !link_exists(&self.bridge) {
            ip(&["link", "add", &self.bridge, "type", "bridge"]).await?;
            ip(&["address", "add", &format!("{}/16", self.address(1)), "dev", &self.bridge]).await?;
        }
        ip(&["link", "set", &self.bridge, "up"]).await
    }

    pub(super) async fn remove_bridge(&self) {
        if link_exists(&self.bridge)
            && let Err(reason) = ip(&["link", "delete", &self.bridge]).await
        {
            eprintln!("core0: {reason}");
        }
    }

    fn cable(&self, id: u16, index: usize) -> String {
        format!("{}{id}-{index}", self.prefix)
    }

    /// What can be told before there is a container.
    ///
    /// # Errors
    /// When it cannot be connected to.
    pub(super) async fn check(&self, nic: &Nic) -> Result<(), Failure> {
        let needs_ovs = |kind: &str| {
            let number = nic
                .id
                .parse::<i64>()
                .map_err(|_| Failure::new(500, format!("strconv.ParseInt: parsing {:?}: invalid syntax", nic.id)))?;
            if kind == "VLAN" && !(0..4095).contains(&number) {
                return Err(Failure::new(500, "invalid vlan id (0-4094)"));
            }
            Err(Failure::new(412, format!("ovs is needed for {kind} network type")))
        };
        let bridge = match nic.kind.as_str() {
            "vlan" => return needs_ovs("VLAN"),
            "vxlan" => return needs_ovs("VXLAN"),
            "default" => &self.bridge,
            "bridge" => &nic.id,
            "macvlan" | "passthrough" => {
                let missing = || Failure::new(404, format!("link '{}' not found: Link not found", nic.id));
                return if link_exists(&nic.id) { Ok(()) } else { Err(missing()) };
            }
            _ => return Ok(()),
        };
        if !link_exists(bridge) {
            return Err(Failure::new(404, format!("bridge '{bridge}' not found: Link not found")));
        }
        if !is_bridge(bridge).await {
            return Err(Failure::new(400, format!("'{bridge}' is not a bridge")));
        }
        Ok(())
    }

    /// The loopback interface of a container.
    ///
    /// # Errors
    /// What `ip` complained of.
    pub(super) async fn loopback(&self, pid: i32) -> Result<(), String> {
        ip_in(pid, &["link", "set", "lo", "up"]).await
    }

    /// Connects a container.
    ///
    /// # Errors
    /// What `ip` complained of.
    pub(super) async fn connect(&self, id: u16, pid: i32, index: usize, nic: &Nic) -> Result<(), String> {
        let (device, process) = (nic.device(index), pid.to_string());
        match nic.kind.as_str() {
            "default" | "bridge" => {
                let bridge = if nic.kind == "default" { &self.bridge } else { &nic.id };
                let cable = self.cable(id, index);
                let mut add = vec!["link", "add", &cable, "mtu", "1500", "type", "veth", "peer", "name", &device];
                if !nic.hwaddr.is_empty() {
                    add.extend(["address", &nic.hwaddr]);
                }
                add.extend(["netns", &process]);
                ip(&add).await?;
                ip(&["link", "set", &cable, "master", bridge, "up"]).await?;
            }
            "macvlan" => {
                let add = [
                    "link", "add", "link", &nic.id, "name", &device, "netns", &process, "type", "macvlan", "mode",
                    "bridge",
                ];
                ip(&add).await?;
            }
            "passthrough" => ip(&["link", "set", &nic.id, "netns", &process, "name", &device]).await?,
            "zerotier" => return Err(format!("zerotier for container '{id}' exited with 'false'")),
            other => return Err(format!("unkown network type '{other}'")),
        }
        let own = (format!("{}/16", self.container_address(id)), self.address(1));
        let (cidr, gateway) =
            if nic.kind == "default" { (&own.0, &own.1) } else { (&nic.config.cidr, &nic.config.gateway) };
        if !cidr.is_empty() {
            ip_in(pid, &["link", "set", "dev", &device, "up"]).await?;
            ip_in(pid, &["address", "add", cidr, "dev", &device]).await?;
        }
        if !gateway.is_empty() {
            ip_in(pid, &["route", "add", "metric", "1000", "default", "via", gateway, "dev", &device]).await?;
        }
        Ok(())
    }

    /// The name servers that an interface brings.
    pub(super) fn name_servers(&self, nic: &Nic) -> Vec<String> {
        if nic.kind == "default" { vec![self.address(1)] } else { nic.config.dns.clone().unwrap_or_default() }
    }

    /// Takes an interface away again.
    ///
    /// # Errors
    /// What `ip` complained of.
    pub(super) async fn disconnect(&self, id: u16, pid: i32, index: usize, nic: &Nic) -> Result<(), String> {
        match nic.kind.as_str() {
            "default" | "bridge" => {
                let cable = self.cable(id, index);
                if !link_exists(&cable) {
                    return Err("Link not found".to_owned());
                }
                ip(&["link", "delete", &cable]).await
            }
            _ => ip_in(pid, &["link", "delete", &nic.device(index)]).await,
        }
    }
}
