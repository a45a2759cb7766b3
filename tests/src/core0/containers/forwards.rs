//! Ports of the node that lead to ports of containers: a small forwarder in place of the packet filter's rules, which are
//! shown nevertheless as a real node has them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

use super::datagrams;

/// Where a forwarded connection may come from, and to which port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// An address, a network, the name of an interface, or nothing.
    from: String,
    pub(super) port: u16,
    protocols: Vec<String>,
}

impl Source {
    /// Parses `[address:]port[|protocol[+protocol]]`.
    ///
    /// # Errors
    /// In the node's words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (address, protocols) = text.split_once('|').unwrap_or((text, "tcp"));
        let protocols: Vec<String> = protocols.split('+').map(str::to_owned).collect();
        if let Some(other) = protocols.iter().find(|protocol| *protocol != "tcp" && *protocol != "udp") {
            return Err(format!("invalid protocol '{other}'"));
        }
        let (from, port) = address.split_once(':').unwrap_or(("", address));
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("expected integer".to_owned());
        }
        match port.parse() {
            Ok(port @ 1..) => {
                Ok(Source { from: if from == "0.0.0.0" { String::new() } else { from.to_owned() }, port, protocols })
            }
            _ => Err("invalid port number".to_owned()),
        }
    }

    /// As it is shown.
    pub(super) fn shown(&self) -> String {
        let from = if self.from.is_empty() { String::new() } else { format!("{}:", self.from) };
        let protocols =
            if self.protocols == ["tcp"] { String::new() } else { format!("|{}", self.protocols.join("+")) };
        format!("{from}{}{protocols}", self.port)
    }

    fn overlaps(&self, other: &Source) -> bool {
        self.port == other.port && self.protocols.iter().any(|protocol| other.protocols.contains(protocol))
    }

    /// The rules of the packet filter that a real node makes of it.
    fn rules(&self, id: u16, to: SocketAddr) -> Vec<String> {
        let matched = if self.from.is_empty() {
            String::new()
        } else if self.network().is_some() {
            format!("ip saddr {} ", self.from)
        } else {
            format!("iifname \"{}\" ", self.from)
        };
        let rule = |protocol: &String| {
            format!("ip daddr @host {matched}{protocol} dport {} mark set 0x01{id:06x} dnat to {to}", self.port)
        };
        self.protocols.iter().map(rule).collect()
    }

    fn network(&self) -> Option<(u32, u32)> {
        let (address, bits) = self.from.split_once('/').unwrap_or((&self.from, "32"));
        let (address, bits): (Ipv4Addr, u32) = (address.parse().ok()?, bits.parse().ok()?);
        let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or_default();
        Some((u32::from(address) & mask, mask))
    }

    fn admits(&self, peer: IpAddr) -> bool {
        match (self.network(), peer) {
            _ if self.from.is_empty() => true,
            (Some((network, mask)), IpAddr::V4(peer)) => u32::from(peer) & mask == network,
            // The forwarder listens on the loopback interface only.
            (None, peer) => self.from == "lo" && peer.is_loopback(),
            _ => false,
        }
    }
}

#[derive(Debug)]
struct Forward {
    source: Source,
    to: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// All forwards of a node, by container.
#[derive(Debug)]
pub(super) struct Forwards {
    address: String,
    all: Mutex<BTreeMap<u16, Vec<Forward>>>,
}

impl Forwards {
    pub(super) fn new(address: &str) -> Self {
        Forwards { address: address.to_owned(), all: Mutex::default() }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u16, Vec<Forward>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// When the text is no source, or its port is taken.
    pub(super) async fn add(&self, id: u16, source: &str, to: SocketAddr) -> Result<(), String> {
        let source = Source::parse(source)?;
        let taken = || format!("port {} already in use", source.port);
        if self.all().values().flatten().any(|forward| forward.source.overlaps(&source)) {
            return Err(taken());
        }
        let has = |protocol: &str| source.protocols.iter().any(|found| found == protocol);
        let place = (self.address.as_str(), source.port);
        // Both before either is served.
        let listener = if has("tcp") { Some(TcpListener::bind(place).await.map_err(|_| taken())?) } else { None };
        let socket = if has("udp") { Some(UdpSocket::bind(place).await.map_err(|_| taken())?) } else { None };
        let mut tasks = Vec::new();
        if let Some(listener) = listener {
            tasks.push(tokio::spawn(serve(listener, source.clone(), to)));
        }
        if let Some(socket) = socket {
            let source = source.clone();
            let admits = move |peer| source.admits(peer);
            tasks.push(tokio::spawn(datagrams::carry(socket, admits, to, datagrams::BOUNDS)));
        }
        self.all().entry(id).or_default().push(Forward { source, to, tasks });
        Ok(())
    }

    pub(super) fn remove(&self, id: u16, source: &str, port: u16) {
        let Ok(source) = Source::parse(source) else { return };
        if let Some(forwards) = self.all().get_mut(&id) {
            forwards.retain(|forward| forward.source != source || forward.to.port() != port);
        }
    }

    pub(super) fn remove_all(&self, id: u16) {
        self.all().remove(&id);
    }

    /// Those of a container, as they are shown.
    pub(super) fn of(&self, id: u16) -> BTreeMap<String, i64> {
        let all = self.all();
        let forwards = all.get(&id).into_iter().flatten();
        forwards.map(|forward| (forward.source.shown(), i64::from(forward.to.port()))).collect()
    }

    pub(super) fn rules(&self) -> Vec<String> {
        let all = self.all();
        all.iter()
            .flat_map(|(id, forwards)| forwards.iter().flat_map(|forward| forward.source.rules(*id, forward.to)))
            .collect()
    }
}

async fn serve(listener: TcpListener, source: Source, to: SocketAddr) {
    while let Ok((mut from, peer)) = listener.accept().await {
        if source.admits(peer.ip()) {
            tokio::spawn(async move {
                if let Ok(mut stream) = TcpStream::connect(to).await {
                    let _ = copy_bidirectional(&mut from, &mut stream).await;
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_shown_as_short_as_can_be() {
        for (text, shown) in [
            ("8080", "8080"),
            ("8080|tcp", "8080"),
            ("0.0.0.0:8080", "8080"),
            ("10.11.12.0/24:9091|tcp+udp", "10.11.12.0/24:9091|tcp+udp"),
            ("eth0:80|udp", "eth0:80|udp"),
        ] {
            assert_eq!(Source::parse(text).unwrap().shown(), shown);
        }
        for text in ["abc", "", "0", "65536", "80|sctp", "80:abc"] {
            assert!(Source::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rules_are_those_of_a_real_node() {
        let to = "172.18.0.5:92".parse().unwrap();
        assert_eq!(
            Source::parse("10.11.12.0/24:9091|tcp+udp").unwrap().rules(4, to),
            [
                "ip daddr @host ip saddr 10.11.12.0/24 tcp dport 9091 mark set 0x01000004 dnat to 172.18.0.5:92",
                "ip daddr @host ip saddr 10.11.12.0/24 udp dport 9091 mark set 0x01000004 dnat to 172.18.0.5:92",
            ]
        );
        assert_eq!(
            Source::parse("8080").unwrap().rules(4, to),
            ["ip daddr @host tcp dport 8080 mark set 0x01000004 dnat to 172.18.0.5:92"]
        );
    }
}
