//! Published ports as nodes write them: `8080`, `8080|udp`, `10.0.0.0/24:8080`.
//!
//! What stands before the port is whom a node lets in, an address, a range or an interface, and not an address of the node:
//! ports are published on all of those.

use std::collections::BTreeMap;

use roadstead_core::{Error, PortMapping, Protocol, Result};

/// A mapping as a node takes it: its side, and the container's.
pub(super) fn write(field: &str, port: &PortMapping, host_port: u16) -> Result<(String, u16)> {
    let protocol = match port.protocol {
        Protocol::Tcp => "",
        Protocol::Udp => "|udp",
        _ => return Err(Error::invalid(format!("{field}.protocol"), "this engine publishes TCP and UDP only")),
    };
    if port.host_address.is_some_and(|address| !address.is_unspecified()) {
        let field = format!("{field}.host_address");
        return Err(Error::invalid(field, "this engine publishes on all addresses of the node"));
    }
    Ok((format!("{host_port}{protocol}"), port.container_port))
}

/// The mappings of a container.
pub(super) fn read(ports: &BTreeMap<String, u16>) -> Vec<PortMapping> {
    let mut all = Vec::new();
    for (host, container_port) in ports {
        let (place, protocols) = host.split_once('|').unwrap_or((host, "tcp"));
        let port = place.rsplit_once(':').map_or(place, |(_, port)| port);
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
                host_address: None,
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

    fn mapping(protocol: Protocol) -> PortMapping {
        PortMapping { container_port: 80, host_port: Some(8080), host_address: None, protocol }
    }

    #[test]
    fn there_and_back() {
        for port in [mapping(Protocol::Tcp), mapping(Protocol::Udp)] {
            let written = write("ports[0]", &port, 8080).unwrap();
            assert_eq!(read(&BTreeMap::from([written])), [port]);
        }
        let sctp = write("ports[0]", &mapping(Protocol::Sctp), 1).unwrap_err();
        assert_eq!(sctp.field(), Some("ports[0].protocol"));
        let addressed = |address: &str| PortMapping { host_address: address.parse().ok(), ..mapping(Protocol::Tcp) };
        assert_eq!(write("ports[0]", &addressed("::1"), 1).unwrap_err().field(), Some("ports[0].host_address"));
        assert!(write("ports[0]", &addressed("0.0.0.0"), 1).is_ok());
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
