//! The sockets of a network.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use roadstead_core::{ConnectionFamily, ConnectionKind};

use crate::fuzzing::Target;
use crate::fuzzing::given::Given;
use crate::fuzzing::truth::{has, stands};
use crate::host::files::sockets::{Internet, Netlink, Packet, Unix, internet, netlink, packet, protocol, state, unix};
use crate::host::opened::inode;

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "sockets_internet",
        reads: "`/proc/PID/net/tcp`, `udp`, `udplite`, `icmp`, `raw`, and those for IPv6",
        parsers: &["host/files/sockets::internet", "host/files/sockets::state"],
        seeds: &[
            b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1 0 100 0\n   1: 0100007F:1F90 0200007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 1235 1 0 100 0\n",
            b"  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 9 1 0 100 0\n",
        ],
        here: &[
            "/proc/net/tcp",
            "/proc/net/tcp6",
            "/proc/net/udp",
            "/proc/net/udp6",
            "/proc/net/udplite",
            "/proc/net/udplite6",
            "/proc/net/icmp",
            "/proc/net/icmp6",
            "/proc/net/raw",
            "/proc/net/raw6",
        ],
        oracle: addresses,
    },
    Target {
        name: "sockets_unix",
        reads: "`/proc/PID/net/unix`, the links `/proc/PID/fd/*` of sockets",
        parsers: &["host/files/sockets::unix"],
        seeds: &[
            b"Num       RefCount Protocol Flags    Type St Inode Path\n0000000000000000: 00000002 00000000 00010000 0001 01 20001 /run/a b.sock\n0000000000000000: 00000003 00000000 00000000 0002 03    77\n0000000000000000: 00000002 00000000 00010000 0005 01 20002 @abstract@\n",
            b"socket:[1234]",
        ],
        here: &["/proc/net/unix"],
        oracle: paths,
    },
    Target {
        name: "sockets_packet",
        reads: "`/proc/PID/net/packet`",
        parsers: &["host/files/sockets::packet"],
        seeds: &[
            b"sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n00000000010881c9 3      3    0806   0     1 0      0      15245 \n00000000010881c9 3      2    0003   2     1 0      1000   15246 \n",
        ],
        here: &["/proc/net/packet"],
        oracle: packets,
    },
    Target {
        name: "sockets_netlink",
        reads: "`/proc/PID/net/netlink`",
        parsers: &["host/files/sockets::netlink"],
        seeds: &[
            b"sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n00000000cd780c9e 0   0          00000000 0        0        0     2        0        4       \n00000000f3f9aee2 15  4294962847 00000001 0        0        0     2        0        15246   \n",
        ],
        here: &["/proc/net/netlink"],
        oracle: ports,
    },
    Target {
        name: "sockets_protocol",
        reads: "the attribute `system.sockprotoname` of sockets",
        parsers: &["host/files/sockets::protocol"],
        seeds: &[b"TCPv6\0", b"UDP-Lite\0", b"UNIX-STREAM\0", b"RAW\0"],
        here: &[],
        oracle: protocols,
    },
];

fn addresses(text: &[u8]) {
    let found: Vec<_> = internet(text).collect();
    assert!(found.len() < text.split(|byte| *byte == b'\n').count().max(1));
    for socket in &found {
        assert!(stands(text, socket.inode) && has(text, b":"));
        assert!(socket.remote.is_none_or(|remote| remote.port() != 0 || !remote.ip().is_unspecified()));
        let _ = state(socket.state);
        // What is found is found again when the kernel writes it.
        let again = format!("head\n{}", written(socket));
        assert!(internet(again.as_bytes()).eq([socket.clone()]), "{again}");
    }
    let mut given = Given::new(text);
    let made = given.several(10, |given| Internet {
        inode: given.number(),
        local: any_address(given),
        remote: Some(any_address(given)).filter(|remote| remote.port() != 0 || !remote.ip().is_unspecified()),
        state: given.byte(),
    });
    let lines: String = made.iter().map(written).collect();
    let text = format!(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n{lines}"
    );
    assert!(internet(text.as_bytes()).eq(made), "{text}");
}

fn any_address(given: &mut Given<'_>) -> SocketAddr {
    let ip = match given.byte() % 4 {
        0 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        1 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        2 => IpAddr::V4(given.small().into()),
        _ => IpAddr::V6(std::array::from_fn::<u8, 16, _>(|_| given.byte()).into()),
    };
    (ip, u16::try_from(given.small() % 65536).unwrap()).into()
}

/// In words of four bytes as this machine has them.
fn hexadecimal(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut text = String::new();
    for word in octets.chunks(4) {
        write!(text, "{:08X}", u32::from_ne_bytes(word.try_into().unwrap())).unwrap();
    }
    write!(text, ":{:04X}", address.port()).unwrap();
    text
}

fn written(socket: &Internet) -> String {
    let nowhere: IpAddr =
        if socket.local.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let (local, remote) = (hexadecimal(socket.local), hexadecimal(socket.remote.unwrap_or((nowhere, 0).into())));
    let Internet { state, inode, .. } = socket;
    format!(
        "   0: {local} {remote} {state:02X} 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1 0000000000000000 100 0 0 10 0\n"
    )
}

fn paths(text: &[u8]) {
    let told = String::from_utf8_lossy(text);
    let found: Vec<_> = unix(text).collect();
    assert!(found.len() < text.split(|byte| *byte == b'\n').count().max(1));
    for socket in &found {
        assert!(stands(text, socket.inode) && told.contains(&socket.path));
    }
    if let Some(number) = std::str::from_utf8(text).ok().and_then(|text| inode(Path::new(text))) {
        assert!(stands(text, number));
    }
    let mut given = Given::new(text);
    let made = given.several(10, |given| {
        let path = given.maybe(|given| given.bytes(40, |byte| !matches!(byte, 0 | b'\n')));
        // A path that is empty is none.
        let path = String::from_utf8_lossy(&path.unwrap_or_default()).into_owned();
        Unix { inode: given.number(), kind: given.byte(), path }
    });
    let mut text = "Num       RefCount Protocol Flags    Type St Inode Path\n".to_owned();
    for Unix { inode: number, kind, path } in &made {
        let path = if path.is_empty() { String::new() } else { format!(" {path}") };
        writeln!(text, "0000000000000000: 00000002 00000000 00010000 {kind:04X} 01 {number:5}{path}").unwrap();
        assert_eq!(inode(Path::new(&format!("socket:[{number}]"))), Some(*number));
    }
    assert!(unix(text.as_bytes()).eq(made), "{text}");
}

fn packets(text: &[u8]) {
    let found: Vec<_> = packet(text).collect();
    assert!(found.len() < text.split(|byte| *byte == b'\n').count().max(1));
    for socket in &found {
        assert!(
            stands(text, socket.inode) && stands(text, socket.interface.into()) && stands(text, socket.kind.into())
        );
    }
    let mut given = Given::new(text);
    let made = given.several(10, |given| Packet {
        inode: given.number(),
        kind: given.byte().into(),
        protocol: u16::from_le_bytes([given.byte(), given.byte()]),
        interface: given.small(),
    });
    let mut text = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n".to_owned();
    for Packet { inode, kind, protocol, interface } in &made {
        writeln!(text, "0000000000000000 3      {kind:<4} {protocol:04x}   {interface:<5} 1 0      0      {inode:<6}")
            .unwrap();
    }
    assert!(packet(text.as_bytes()).eq(made), "{text}");
}

fn ports(text: &[u8]) {
    let found: Vec<_> = netlink(text).collect();
    assert!(found.len() < text.split(|byte| *byte == b'\n').count().max(1));
    for socket in &found {
        assert!(stands(text, socket.inode) && stands(text, socket.protocol.into()) && stands(text, socket.port.into()));
    }
    let mut given = Given::new(text);
    let made = given.several(10, |given| Netlink {
        inode: given.number(),
        protocol: given.byte().into(),
        port: given.small(),
    });
    let mut text =
        "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n".to_owned();
    for Netlink { inode, protocol, port } in &made {
        writeln!(
            text,
            "0000000000000000 {protocol:<3} {port:<10} 00000000 0        0        0     2        0        {inode:<8}"
        )
        .unwrap();
    }
    assert!(netlink(text.as_bytes()).eq(made), "{text}");
}

fn protocols(name: &[u8]) {
    let (family, kind) = protocol(name);
    // A family has the same kinds as the other one of the internet, and the end of a name tells which of the two it is.
    match family {
        ConnectionFamily::Ipv4 => assert!(!has(name, b"v6")),
        ConnectionFamily::Ipv6 => assert!(has(name, b"v6")),
        ConnectionFamily::Other => assert_eq!(kind, ConnectionKind::Other),
        _ => assert!(name.is_ascii()),
    }
    // With its end or without it, and never with anything else behind it.
    let whole = name.strip_suffix(b"\0").unwrap_or(name);
    if !whole.ends_with(b"\0") {
        assert_eq!(protocol(whole), (family, kind));
    }
    assert_eq!(protocol(&[whole, b"x"].concat()).0, ConnectionFamily::Other);
}
