//! Published ports as proxy devices: the server itself listens on the node and passes on to the container's loopback.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use roadstead_core::{Error, PortMapping, Protocol, Result};

use super::super::instance::{Config, Devices};
use super::chance;

/// Ports of the node that are picked when none was asked for: those that Linux gives to clients are left alone.
const PICKED: std::ops::Range<u16> = 20_000..32_768;

/// The device of the published port with this number, whose port on the node is known.
pub(super) fn device(number: usize, port: &PortMapping, host_port: u16) -> Result<Config> {
    let word = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        _ => {
            let field = format!("ports[{number}].protocol");
            return Err(Error::unsupported_field(field, "publishing ports of other protocols than TCP and UDP"));
        }
    };
    // One socket on this address takes what comes by IPv4, too.
    let address = port.host_address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let listen = SocketAddr::new(address, host_port);
    let keys = [
        ("type", "proxy".to_owned()),
        ("listen", format!("{word}:{listen}")),
        ("connect", format!("{word}:127.0.0.1:{}", port.container_port)),
    ];
    Ok(keys.map(|(key, value)| (key.to_owned(), value)).into())
}

/// A port for the node, by chance: the server does not pick one, and only the start tells whether it is free.
pub(super) fn pick(taken: &[u16]) -> u16 {
    let span = usize::from(PICKED.end - PICKED.start);
    let begin = usize::try_from(chance()).unwrap_or(0) % span;
    let mut ports = PICKED.cycle().skip(begin).take(span);
    ports.find(|port| !taken.contains(port)).unwrap_or(PICKED.start)
}

/// The ports that are published.
pub(super) fn read(devices: &Devices) -> Vec<PortMapping> {
    let mut ports: Vec<_> = devices.values().filter_map(mapping).collect();
    ports.sort_by_key(|port| (port.container_port, port.host_port, port.host_address));
    ports
}

/// What a proxy device publishes; none when it connects something else, or a range.
pub(super) fn mapping(keys: &Config) -> Option<PortMapping> {
    let get = |key: &str| keys.get(key).map(String::as_str).filter(|value| !value.is_empty());
    // `bind=instance` goes the other way round.
    if get("type") != Some("proxy") || !matches!(get("bind"), None | Some("host")) {
        return None;
    }
    let (word, listen) = get("listen")?.split_once(':')?;
    let (_, connect) = get("connect")?.split_once(':')?;
    let listen: SocketAddr = listen.parse().ok()?;
    let protocol = match word {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    Some(PortMapping {
        container_port: connect.rsplit_once(':')?.1.parse().ok()?,
        host_port: Some(listen.port()),
        host_address: Some(listen.ip()).filter(|address| !address.is_unspecified()),
        protocol,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(address: Option<&str>, protocol: Protocol) -> PortMapping {
        let host_address = address.map(|address| address.parse().unwrap());
        PortMapping { container_port: 80, host_port: Some(8080), host_address, protocol }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for address in [None, Some("127.0.0.1"), Some("::1")] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let asked = port(address, protocol);
                assert_eq!(mapping(&device(0, &asked, 8080).unwrap()), Some(asked));
            }
        }
        assert_eq!(device(0, &port(None, Protocol::Tcp), 1).unwrap()["listen"], "tcp:[::]:1");
        assert_eq!(device(3, &port(None, Protocol::Sctp), 1).unwrap_err().field(), Some("ports[3].protocol"));
    }

    #[test]
    fn what_others_connect_is_no_port() {
        for (listen, connect, bind) in [
            ("unix:/a", "unix:/b", ""),
            ("tcp:0.0.0.0:80-90", "tcp:127.0.0.1:80-90", ""),
            ("tcp:0.0.0.0:80", "tcp:127.0.0.1:80", "instance"),
        ] {
            let keys = [("type", "proxy"), ("listen", listen), ("connect", connect), ("bind", bind)];
            assert_eq!(mapping(&keys.map(|(key, value)| (key.to_owned(), value.to_owned())).into()), None, "{listen}");
        }
    }

    #[test]
    fn picked_ports_are_in_their_range_and_not_taken() {
        for _ in 0..100 {
            let first = pick(&[]);
            assert!(PICKED.contains(&first) && pick(&[first]) != first);
        }
    }
}
