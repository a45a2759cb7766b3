//! The sockets of a network: `net/tcp`, `net/udp`, `net/unix` and those of IPv6. Source: proc(5) and
//! Documentation/networking/proc_net_tcp.rst of the kernel.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::scan::{fields, lines, number};

/// A line of `tcp`, `tcp6`, `udp` or `udp6`.
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
    /// May be empty; begins with `@` where it is no file.
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
    fn paths_are_what_is_left() {
        let text = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 20001 /run/a b.sock\n\
            0000000000000000: 00000003 00000000 00000000 0002 03   77\nbroken\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 20002  b \n";
        let found: Vec<_> = unix(text).map(|socket| (socket.inode, socket.kind, socket.path)).collect();
        let expected = [(20001, 1, "/run/a b.sock"), (77, 2, ""), (20002, 1, " b ")];
        assert_eq!(found, expected.map(|(inode, kind, path)| (inode, kind, path.to_owned())));
    }
}
