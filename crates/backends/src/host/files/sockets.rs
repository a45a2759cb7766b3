//! The sockets of a network: `net/tcp`, `net/udp`, `net/raw` and their like, those of IPv6, `net/unix`, `net/packet` and
//! `net/netlink`, and what the kernel calls the protocol of one. Sources: proc(5), Documentation/networking/proc_net_tcp.rst of the
//! kernel, `packet_seq_show` of net/packet/af_packet.c, `netlink_seq_show` of net/netlink/af_netlink.c, and the names of `struct proto`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use roadstead_core::{ConnectionFamily, ConnectionKind};

use super::scan::{fields, lines, number};

/// A line of `tcp`, `udp`, `udplite`, `raw`, `icmp` or one of these for IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Internet {
    pub(in crate::host) inode: u64,
    pub(in crate::host) local: SocketAddr,
    /// Nothing where there is no other side.
    pub(in crate::host) remote: Option<SocketAddr>,
    /// The kernel's number of it.
    pub(in crate::host) state: u8,
}

/// All of them; lines that make no sense are passed over.
pub(in crate::host) fn internet(text: &[u8]) -> impl Iterator<Item = Internet> {
    lines(text).skip(1).filter_map(|line| {
        let mut fields = fields(line).skip(1);
        let local = address(fields.next()?)?;
        let remote = address(fields.next()?)?;
        let state = u8::from_str_radix(std::str::from_utf8(fields.next()?).ok()?, 16).ok()?;
        let inode = number(fields.nth(5)?)?;
        let is_somewhere = remote.port() != 0 || !remote.ip().is_unspecified();
        Some(Internet { inode, local, remote: is_somewhere.then_some(remote), state })
    })
}

/// `0100007F:1F90`: words as this machine has them in memory, where they stand in the order of the network.
fn address(field: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = std::str::from_utf8(field).ok()?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match ip.len() {
        8 => Some((Ipv4Addr::from(word(0)?), port).into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let octets: [u8; 16] = words.concat().try_into().ok()?;
            Some((Ipv6Addr::from(octets), port).into())
        }
        _ => None,
    }
}

/// A state of TCP in the kernel's words.
pub(in crate::host) fn state(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "established",
        2 => "syn_sent",
        3 | 12 => "syn_recv",
        4 => "fin_wait1",
        5 => "fin_wait2",
        6 => "time_wait",
        7 => "close",
        8 => "close_wait",
        9 => "last_ack",
        10 => "listen",
        11 => "closing",
        _ => return None,
    })
}

/// A line of `unix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Unix {
    pub(in crate::host) inode: u64,
    /// The kernel's number of it: 1 is a stream, 2 datagrams.
    pub(in crate::host) kind: u8,
    /// May be empty; begins with `@` where it is no file. The kernel writes a line end in it as it is, so it is cut there.
    pub(in crate::host) path: String,
}

/// All of them; lines that make no sense are passed over.
pub(in crate::host) fn unix(text: &[u8]) -> impl Iterator<Item = Unix> {
    lines(text).skip(1).filter_map(|line| {
        // The path is what is left after one blank, with its own.
        let line = String::from_utf8_lossy(line);
        let mut rest = line.trim_start();
        let mut next = || {
            let (field, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = after.trim_start();
            field
        };
        let kind = (0..5).map(|_| next()).last()?;
        let kind = u8::from_str_radix(kind, 16).ok()?;
        next();
        let (inode, path) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Unix { inode: number(inode.as_bytes())?, kind, path: path.to_owned() })
    })
}

/// A line of `packet`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Packet {
    pub(in crate::host) inode: u64,
    /// The kernel's number of it: 2 is datagrams, 3 is raw.
    pub(in crate::host) kind: u16,
    pub(in crate::host) protocol: u16,
    /// The number of the interface; 0 is all.
    pub(in crate::host) interface: u32,
}

/// All of them; lines that make no sense are passed over.
pub(in crate::host) fn packet(text: &[u8]) -> impl Iterator<Item = Packet> {
    lines(text).skip(1).filter_map(|line| {
        let mut fields = fields(line).skip(2);
        let kind = u16::try_from(number(fields.next()?)?).ok()?;
        let protocol = std::str::from_utf8(fields.next()?).ok().filter(|protocol| !protocol.starts_with('+'))?;
        let protocol = u16::from_str_radix(protocol, 16).ok()?;
        let interface = u32::try_from(number(fields.next()?)?).ok()?;
        Some(Packet { inode: number(fields.nth(3)?)?, kind, protocol, interface })
    })
}

/// A line of `netlink`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host) struct Netlink {
    pub(in crate::host) inode: u64,
    pub(in crate::host) protocol: u32,
    /// By which the kernel sends to it, often the number of the process.
    pub(in crate::host) port: u32,
}

/// All of them; lines that make no sense are passed over.
pub(in crate::host) fn netlink(text: &[u8]) -> impl Iterator<Item = Netlink> {
    lines(text).skip(1).filter_map(|line| {
        let mut fields = fields(line).skip(1);
        let protocol = u32::try_from(number(fields.next()?)?).ok()?;
        let port = u32::try_from(number(fields.next()?)?).ok()?;
        Some(Netlink { inode: number(fields.nth(6)?)?, protocol, port })
    })
}

/// What a socket is by the name of its protocol, which ends with a zero: `TCPv6`.
pub(in crate::host) fn protocol(name: &[u8]) -> (ConnectionFamily, ConnectionKind) {
    match name.strip_suffix(b"\0").unwrap_or(name) {
        b"TCP" | b"MPTCP" => (ConnectionFamily::Ipv4, ConnectionKind::Stream),
        b"TCPv6" | b"MPTCPv6" => (ConnectionFamily::Ipv6, ConnectionKind::Stream),
        b"UDP" | b"UDP-Lite" | b"PING" => (ConnectionFamily::Ipv4, ConnectionKind::Datagram),
        b"UDPv6" | b"UDPLITEv6" | b"PINGv6" => (ConnectionFamily::Ipv6, ConnectionKind::Datagram),
        b"RAW" => (ConnectionFamily::Ipv4, ConnectionKind::Raw),
        b"RAWv6" => (ConnectionFamily::Ipv6, ConnectionKind::Raw),
        b"SCTP" => (ConnectionFamily::Ipv4, ConnectionKind::Other),
        b"SCTPv6" => (ConnectionFamily::Ipv6, ConnectionKind::Other),
        b"UNIX-STREAM" => (ConnectionFamily::Unix, ConnectionKind::Stream),
        // What else there is; of older kernels streams, too.
        b"UNIX" => (ConnectionFamily::Unix, ConnectionKind::Other),
        b"PACKET" => (ConnectionFamily::Packet, ConnectionKind::Other),
        b"NETLINK" => (ConnectionFamily::Netlink, ConnectionKind::Datagram),
        _ => (ConnectionFamily::Other, ConnectionKind::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let text =
            b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1 0 100 0\n\
            1: 0100007F:1F90 0200007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 1235 1 0 100 0\n\
            2: nonsense\n";
        let found: Vec<_> = internet(text).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].local.to_string().as_str(), found[0].remote, state(found[0].state)),
            ("127.0.0.1:8080", None, Some("listen"))
        );
        assert_eq!((found[1].inode, found[1].remote.unwrap().to_string().as_str()), (1235, "127.0.0.2:49153"));
        let six = b"head\n 0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 9 1 0\n";
        assert_eq!(internet(six).next().unwrap().local.to_string(), "[::1]:22");
        for nonsense in [&b""[..], b":", b"0100007F", b"0100007F:x", b"0100:1", "\u{e9}\u{e9}\u{e9}\u{e9}:1".as_bytes()]
        {
            assert_eq!(address(nonsense), None);
        }
    }

    #[test]
    fn raw_sockets_have_a_protocol_for_a_port() {
        let text = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n \
            228: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 15243 2 0000000089f57120 0\n";
        let found: Vec<_> = internet(text).collect();
        let [raw] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((raw.inode, raw.local.to_string().as_str(), raw.remote), (15243, "0.0.0.0:1", None));
    }

    #[test]
    fn packet_sockets_are_of_interfaces() {
        let text = b"sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
            00000000010881c9 3      3    0806   2     1 0      0      15245 \n\
            00000000010881c9 3      2    ffff   0     1 0      1000   15246 \n\
            broken 3 3 zz 0 1 0 0 7\n";
        let found: Vec<_> = packet(text).collect();
        let made = |inode, kind, protocol, interface| Packet { inode, kind, protocol, interface };
        assert_eq!(found, [made(15245, 3, 0x0806, 2), made(15246, 2, 0xffff, 0)]);
    }

    #[test]
    fn netlink_sockets_have_ports() {
        let text = b"sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n\
            00000000cd780c9e 0   0          00000000 0        0        0     2        0        4       \n\
            00000000f3f9aee2 15  4294962847 00000001 0        0        0     2        0        15246   \n\
            short 0 1 2\n";
        let found: Vec<_> = netlink(text).collect();
        let made = |inode, protocol, port| Netlink { inode, protocol, port };
        assert_eq!(found, [made(4, 0, 0), made(15246, 15, 4_294_962_847)]);
    }

    #[test]
    fn protocols_tell_what_a_socket_is() {
        for (name, family, kind) in [
            (&b"TCP\0"[..], ConnectionFamily::Ipv4, ConnectionKind::Stream),
            (b"UDPv6\0", ConnectionFamily::Ipv6, ConnectionKind::Datagram),
            (b"RAW", ConnectionFamily::Ipv4, ConnectionKind::Raw),
            (b"AF_VSOCK\0", ConnectionFamily::Other, ConnectionKind::Other),
            (b"", ConnectionFamily::Other, ConnectionKind::Other),
        ] {
            assert_eq!(protocol(name), (family, kind));
        }
    }

    #[test]
    fn paths_are_what_is_left() {
        let text = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 20001 /run/a b.sock\n\
            0000000000000000: 00000003 00000000 00000000 0002 03   77\nbroken\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 20002  b \n\
            0000000000000000: 00000002 00000000 00010000 0001 01 20003 /run/cut\nhere\n";
        let found: Vec<_> = unix(text).map(|socket| (socket.inode, socket.kind, socket.path)).collect();
        let expected = [(20001, 1, "/run/a b.sock"), (77, 2, ""), (20002, 1, " b "), (20003, 1, "/run/cut")];
        assert_eq!(found, expected.map(|(inode, kind, path)| (inode, kind, path.to_owned())));
    }
}
