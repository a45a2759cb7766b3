//! What processes have open: files, and sockets with both their ends.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use roadstead_core::{Connection, ConnectionFamily, ConnectionKind, OpenFile};

use super::files::scan::number;
use super::files::sockets::{internet, netlink, packet, protocol, state, unix};

/// A process's open files, by ascending number; nothing when it has ended or is not ours to see. Only regular files count.
pub(super) fn files(root: &Path, pid: u32) -> Option<Vec<OpenFile>> {
    let mut files: Vec<_> = descriptors(root, pid)?
        .filter(|(_, path, target)| target.is_absolute() && fs::metadata(path).is_ok_and(|found| found.is_file()))
        .map(|(fd, _, target)| {
            let mut file = OpenFile::default();
            (file.fd, file.path) = (fd, target.to_string_lossy().into_owned());
            file
        })
        .collect();
    files.sort_by_key(|file| file.fd);
    Some(files)
}

/// Number, path below `/proc` and target of each descriptor.
fn descriptors(root: &Path, pid: u32) -> Option<impl Iterator<Item = (u32, PathBuf, PathBuf)>> {
    let all = fs::read_dir(root.join(format!("{pid}/fd"))).ok()?;
    Some(all.flatten().filter_map(|entry| {
        let fd = u32::try_from(number(entry.file_name().as_encoded_bytes())?).ok()?;
        // One that was closed meanwhile is left out.
        let target = fs::read_link(entry.path()).ok()?;
        Some((fd, entry.path(), target))
    }))
}

/// The sockets of every network that was asked about, each network read once.
#[derive(Debug, Default)]
pub(super) struct Sockets(HashMap<OsString, HashMap<u64, Connection>>);

impl Sockets {
    /// A process's connections, by ascending number; nothing when it has ended or is not ours to see.
    pub(super) fn of(&mut self, root: &Path, pid: u32) -> Option<Vec<Connection>> {
        let all: Vec<_> = descriptors(root, pid)?.filter_map(|(fd, _, target)| Some((fd, inode(&target)?))).collect();
        if all.is_empty() {
            return Some(Vec::new());
        }
        let own = root.join(format!("{pid}/fd"));
        let network = fs::read_link(root.join(format!("{pid}/ns/net"))).ok()?.into_os_string();
        let known = self.0.entry(network).or_insert_with(|| network_of(root, pid));
        let mut connections: Vec<_> = all
            .into_iter()
            .map(|(fd, inode)| {
                let listed = known.get(&inode).cloned();
                let mut connection = listed.unwrap_or_else(|| unlisted(&own.join(fd.to_string())));
                connection.fd = fd;
                connection
            })
            .collect();
        connections.sort_by_key(|connection| connection.fd);
        Some(connections)
    }
}

/// A socket that is in no list of the process's network: neither bound nor connected, or of another network. There is the name of its
/// protocol, where the kernel has one.
fn unlisted(descriptor: &Path) -> Connection {
    let mut name = [0; 32];
    let length = rustix::fs::getxattr(descriptor, "system.sockprotoname", &mut name).unwrap_or(0);
    let mut connection = Connection::default();
    (connection.family, connection.kind) = protocol(name.get(..length).unwrap_or_default());
    connection
}

/// `socket:[1234]`.
pub(super) fn inode(target: &Path) -> Option<u64> {
    number(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.as_bytes())
}

/// All sockets of the network that a process is in, by inode.
fn network_of(root: &Path, pid: u32) -> HashMap<u64, Connection> {
    let read = |name: &str| fs::read(root.join(format!("{pid}/net/{name}"))).unwrap_or_default();
    let mut all = HashMap::new();
    for (name, family, kind) in [
        ("tcp", ConnectionFamily::Ipv4, ConnectionKind::Stream),
        ("tcp6", ConnectionFamily::Ipv6, ConnectionKind::Stream),
        ("udp", ConnectionFamily::Ipv4, ConnectionKind::Datagram),
        ("udp6", ConnectionFamily::Ipv6, ConnectionKind::Datagram),
        ("udplite", ConnectionFamily::Ipv4, ConnectionKind::Datagram),
        ("udplite6", ConnectionFamily::Ipv6, ConnectionKind::Datagram),
        ("icmp", ConnectionFamily::Ipv4, ConnectionKind::Datagram),
        ("icmp6", ConnectionFamily::Ipv6, ConnectionKind::Datagram),
        ("raw", ConnectionFamily::Ipv4, ConnectionKind::Raw),
        ("raw6", ConnectionFamily::Ipv6, ConnectionKind::Raw),
    ] {
        for socket in internet(&read(name)) {
            let mut connection = Connection::default();
            (connection.family, connection.kind) = (family, kind);
            connection.local = socket.local.to_string();
            connection.remote = socket.remote.map(|remote| remote.to_string());
            if kind == ConnectionKind::Stream {
                connection.state = state(socket.state).map(str::to_owned);
            }
            all.insert(socket.inode, connection);
        }
    }
    for socket in packet(&read("packet")) {
        let mut connection = Connection::default();
        connection.family = ConnectionFamily::Packet;
        connection.kind = match socket.kind {
            2 => ConnectionKind::Datagram,
            3 => ConnectionKind::Raw,
            _ => ConnectionKind::Other,
        };
        connection.local = format!("{:04x}:{}", socket.protocol, socket.interface);
        all.insert(socket.inode, connection);
    }
    for socket in netlink(&read("netlink")) {
        let mut connection = Connection::default();
        (connection.family, connection.kind) = (ConnectionFamily::Netlink, ConnectionKind::Datagram);
        connection.local = format!("{}:{}", socket.protocol, socket.port);
        all.insert(socket.inode, connection);
    }
    for socket in unix(&read("unix")) {
        let mut connection = Connection::default();
        connection.family = ConnectionFamily::Unix;
        connection.kind = match socket.kind {
            1 => ConnectionKind::Stream,
            2 => ConnectionKind::Datagram,
            _ => ConnectionKind::Other,
        };
        connection.local = socket.path;
        // A path may have a line end in it, and what follows may look like the line of another socket.
        all.entry(socket.inode).or_insert(connection);
    }
    all
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::{AsRawFd, OwnedFd};

    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, SocketType, bind, socket};

    use super::*;

    #[test]
    fn this_very_process_has_what_it_opened() {
        let (root, own) = (Path::new("/proc"), std::process::id());
        let file = tempfile::NamedTempFile::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let number = |fd: i32| u32::try_from(fd).unwrap();
        let files = files(root, own).unwrap();
        let found = files.iter().find(|open| open.fd == number(file.as_raw_fd())).unwrap();
        assert_eq!(Path::new(&found.path), file.path());
        assert!(files.is_sorted_by_key(|open| open.fd));
        let connections = Sockets::default().of(root, own).unwrap();
        let of = |fd: i32| connections.iter().find(|connection| connection.fd == number(fd)).unwrap();
        let listening = of(listener.as_raw_fd());
        assert_eq!((listening.state.as_deref(), &listening.remote), (Some("listen"), &None));
        assert_eq!(listening.local, listener.local_addr().unwrap().to_string());
        let connected = of(stream.as_raw_fd());
        assert_eq!(
            (connected.state.as_deref(), connected.remote.as_ref()),
            (Some("established"), Some(&listening.local))
        );
        let datagram = of(datagrams.as_raw_fd());
        assert_eq!((datagram.kind, datagram.family), (ConnectionKind::Datagram, ConnectionFamily::Ipv4));
        assert!(super::files(root, u32::MAX).is_none());
    }

    #[test]
    fn sockets_of_every_kind_are_there() {
        let of = |socket: &OwnedFd| {
            let connections = Sockets::default().of(Path::new("/proc"), std::process::id()).unwrap();
            let number = u32::try_from(socket.as_raw_fd()).unwrap();
            let found = connections.into_iter().find(|connection| connection.fd == number).unwrap();
            (found.family, found.kind, found.local)
        };
        let netlink = socket(AddressFamily::NETLINK, SocketType::RAW, None).unwrap();
        assert_eq!(of(&netlink), (ConnectionFamily::Netlink, ConnectionKind::Datagram, String::new()));
        bind(&netlink, &SocketAddrNetlink::new(0, 0)).unwrap();
        let (family, kind, local) = of(&netlink);
        assert_eq!((family, kind), (ConnectionFamily::Netlink, ConnectionKind::Datagram));
        assert!(local.strip_prefix("0:").is_some_and(|port| port.parse::<u32>().is_ok()), "{local}");
        // Neither bound nor connected: the kernel has these in no list.
        let nowhere = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        assert_eq!(of(&nowhere), (ConnectionFamily::Ipv4, ConnectionKind::Stream, String::new()));
        let nowhere = socket(AddressFamily::INET6, SocketType::DGRAM, None).unwrap();
        assert_eq!(of(&nowhere), (ConnectionFamily::Ipv6, ConnectionKind::Datagram, String::new()));
        // For these one must be root.
        if let Ok(raw) = socket(AddressFamily::INET, SocketType::RAW, Some(rustix::net::ipproto::ICMP)) {
            assert_eq!(of(&raw), (ConnectionFamily::Ipv4, ConnectionKind::Raw, "0.0.0.0:1".to_owned()));
        }
        if let Ok(packet) = socket(AddressFamily::PACKET, SocketType::DGRAM, None) {
            let (family, kind, _) = of(&packet);
            assert_eq!((family, kind), (ConnectionFamily::Packet, ConnectionKind::Datagram));
        }
    }
}
