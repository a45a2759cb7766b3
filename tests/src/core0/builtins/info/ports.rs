//! `info.port`: sockets that listen, and whose they are.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

use crate::core0::builtins::Failure;

/// Listening TCP and UDP sockets, and named unix sockets that no other end is connected to.
pub(super) fn all() -> Result<Value, Failure> {
    let owners = owners();
    let pid = |inode: &str| owners.get(inode).copied().unwrap_or(0);
    let mut ports = Vec::new();
    for network in ["tcp", "tcp6", "udp", "udp6"] {
        for (address, port, inode) in listening(network) {
            let mut entry = json!({"network": network, "ip": address.to_string(), "pid": pid(&inode)});
            // Go leaves a zero out.
            if port != 0 {
                entry["port"] = port.into();
            }
            ports.push(entry);
        }
    }
    // The thread's own: its network namespace may be another than that of the process.
    let text = fs::read_to_string("/proc/thread-self/net/unix").unwrap_or_default();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, _, _, _, "01", inode, path, ..] = fields.as_slice() {
            ports.push(json!({"network": "unix", "unix": path, "pid": pid(inode)}));
        }
    }
    Ok(Value::Array(ports))
}

/// The TCP ports on which something listens.
pub(in crate::core0::builtins) fn listening_tcp() -> Vec<u16> {
    listening("tcp").into_iter().map(|(_, port, _)| port).collect()
}

/// Address, port and inode of each listening socket.
fn listening(network: &str) -> Vec<(IpAddr, u16, String)> {
    let text = fs::read_to_string(format!("/proc/thread-self/net/{network}")).unwrap_or_default();
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        // Listening, and for UDP: not connected.
        if !matches!(*state, "0A" | "07") {
            return None;
        }
        let (address, port) = local.split_once(':')?;
        Some((parse(address)?, u16::from_str_radix(port, 16).ok()?, (*inode).to_owned()))
    };
    text.lines().skip(1).filter_map(socket).collect()
}

/// Addresses are printed as words of 32 bits in the byte order of the machine.
fn parse(address: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for word in address.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => Some(Ipv4Addr::from(bytes).into()),
        Err(_) => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).into()),
    }
}

/// Which process has a socket open, by its inode.
fn owners() -> HashMap<String, u64> {
    let mut owners = HashMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<u64>() else { continue };
        for descriptor in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let target = target.to_string_lossy();
            if let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
                owners.insert(inode.to_owned(), pid);
            }
        }
    }
    owners
}
