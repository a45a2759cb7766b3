//! Published ports as nodes write them: `8080`, `10.0.0.1:8080`, `eth0:8080|udp`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use roadstead_core::{Error, PortMapping, Protocol, Result};

/// A mapping as a node takes it: its side, and the container's.
pub(super) fn write(field: &str, port: &PortMapping, host_port: u16) -> Result<(String, u16)> {
    let protocol = match port.protocol {
        Protocol::Tcp => "",
        Protocol::Udp => "|udp",
        _ => return Err(Error::invalid(format!("{field}.protocol"), "this engine publishes TCP and UDP only")),
    };
    let address = match port.host_address {
        None => String::new(),
        Some(IpAddr::V4(address)) => format!("{address}:"),
        Some(IpAddr::V6(_)) => {
            return Err(Error::invalid(format!("{field}.host_address"), "this engine publishes on IPv4 only"));
        }
    };
    Ok((format!("{address}{host_port}{protocol}"), port.container_port))
}

/// The mappings of a container. Where the node's side is an interface or a range, no address is told.
pub(super) fn read(ports: &BTreeMap<String, u16>) -> Vec<PortMapping> {
    let mut all = Vec::new();
    for (host, container_port) in ports {
        let (place, protocols) = host.split_once('|').unwrap_or((host, "tcp"));
        let (address, port) = place.rsplit_once(':').unwrap_or(("", place));
        let Ok(host_port) = port.trim().parse() else { continue };
        for protocol in protocols.split('+') {
            let protocol = match protocol.trim() {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                _ => continue,
            };
            all.push(PortMapping {
                container_port: *container_port,
                host_port: Some(host_port),
                host_address: address.parse().ok(),
                protocol,
            });
        }
    }
    all.sort_by_key(|port| (port.container_port, port.host_port));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host_address: Option<&str>, protocol: Protocol) -> PortMapping {
        let host_address = host_address.map(|address| address.parse().unwrap());
        PortMapping { container_port: 80, host_port: Some(8080), host_address, protocol }
    }

    #[test]
    fn there_and_back() {
        for port in [
            mapping(None, Protocol::Tcp),
            mapping(Some("10.0.0.1"), Protocol::Tcp),
            mapping(Some("10.0.0.1"), Protocol::Udp),
        ] {
            let written = write("ports[0]", &port, 8080).unwrap();
            assert_eq!(read(&BTreeMap::from([written])), [port]);
        }
        let sctp = write("ports[0]", &mapping(None, Protocol::Sctp), 1).unwrap_err();
        assert_eq!(sctp.field(), Some("ports[0].protocol"));
        assert!(write("ports[0]", &mapping(Some("::1"), Protocol::Tcp), 1).is_err());
    }

    #[test]
    fn what_others_write() {
        let ports = BTreeMap::from([("eth0:53|tcp+udp".to_owned(), 53), ("10.0.0.0/24:1".to_owned(), 2)]);
        let read = read(&ports);
        assert_eq!(read.len(), 3);
        assert!(read.iter().all(|port| port.host_address.is_none()));
        assert!(super::read(&BTreeMap::from([("x|tcp".to_owned(), 1)])).is_empty());
    }
}
