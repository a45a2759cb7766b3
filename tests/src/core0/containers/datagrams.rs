//! Datagrams that are carried between a port of the node and one of a container: what the kernel's connection tracking does
//! for a real node. Each peer has a socket of its own towards the container, so that answers find their way back.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::sleep;

/// What is kept of peers at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// So many: of more, the one that was silent for longest is forgotten.
    pub(super) peers: usize,
    /// So long after the last datagram of either side.
    pub(super) silence: Duration,
}

/// As connection tracking has them by default, but for the number.
pub(super) const BOUNDS: Bounds = Bounds { peers: 1024, silence: Duration::from_secs(120) };
/// Datagrams of one peer that wait to be sent; more are lost, as datagrams may be.
const WAITING: usize = 64;
/// The largest that there is.
const LARGEST: usize = 65_535;

struct Peer {
    /// Dropped, it ends the peer.
    outbox: Sender<Vec<u8>>,
    /// Which datagram was its last.
    last: u64,
}

/// Carries what peers send that are let in, until it is dropped.
pub(super) async fn carry(socket: UdpSocket, admits: impl Fn(IpAddr) -> bool + Send, to: SocketAddr, bounds: Bounds) {
    let socket = Arc::new(socket);
    let mut peers: HashMap<SocketAddr, Peer> = HashMap::new();
    let mut buffer = vec![0; LARGEST];
    for number in 0.. {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { return };
        if !admits(from.ip()) {
            continue;
        }
        // Those that were silent for too long have ended by themselves.
        if peers.get(&from).is_none_or(|peer| peer.outbox.is_closed()) {
            peers.retain(|_, peer| !peer.outbox.is_closed());
            if peers.len() >= bounds.peers
                && let Some(silent) = peers.iter().min_by_key(|(_, peer)| peer.last).map(|(address, _)| *address)
            {
                peers.remove(&silent);
            }
            let (outbox, inbox) = mpsc::channel(WAITING);
            tokio::spawn(serve(Arc::clone(&socket), from, inbox, to, bounds.silence));
            peers.insert(from, Peer { outbox, last: number });
        }
        if let Some(peer) = peers.get_mut(&from) {
            peer.last = number;
            let _ = peer.outbox.try_send(buffer[..length].to_vec());
        }
    }
}

/// Carries the datagrams of one peer and the answers to it.
async fn serve(
    node: Arc<UdpSocket>,
    peer: SocketAddr,
    mut inbox: Receiver<Vec<u8>>,
    to: SocketAddr,
    silence: Duration,
) {
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await else { return };
    if socket.connect(to).await.is_err() {
        return;
    }
    let mut buffer = vec![0; LARGEST];
    loop {
        tokio::select! {
            datagram = inbox.recv() => match datagram {
                // That nobody listens there is no end: somebody may later.
                Some(datagram) => drop(socket.send(&datagram).await),
                None => return,
            },
            received = socket.recv(&mut buffer) => if let Ok(length) = received {
                let _ = node.send_to(&buffer[..length], peer).await;
            },
            () = sleep(silence) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const SOON: Duration = Duration::from_secs(30);

    async fn socket() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").await.unwrap()
    }

    /// Where datagrams for the answerer go.
    async fn relay(to: &UdpSocket, bounds: Bounds) -> SocketAddr {
        let node = socket().await;
        let address = node.local_addr().unwrap();
        tokio::spawn(carry(node, |from| from.is_loopback(), to.local_addr().unwrap(), bounds));
        address
    }

    async fn received(socket: &UdpSocket) -> (String, SocketAddr) {
        let mut buffer = [0; 100];
        let (length, from) = tokio::time::timeout(SOON, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
        (String::from_utf8_lossy(&buffer[..length]).into_owned(), from)
    }

    #[tokio::test]
    async fn answers_find_their_way() {
        let (container, one, other) = (socket().await, socket().await, socket().await);
        let node = relay(&container, BOUNDS).await;
        let mut froms = Vec::new();
        for (peer, text) in [(&one, "one"), (&other, "other"), (&one, "one again")] {
            peer.send_to(text.as_bytes(), node).await.unwrap();
            let (said, from) = received(&container).await;
            assert_eq!(said, text);
            froms.push(from);
        }
        assert_eq!(froms[0], froms[2], "a peer is one");
        container.send_to(b"to other", froms[1]).await.unwrap();
        container.send_to(b"to one", froms[0]).await.unwrap();
        assert_eq!(received(&one).await, ("to one".to_owned(), node));
        assert_eq!(received(&other).await, ("to other".to_owned(), node));
    }

    #[tokio::test]
    async fn of_too_many_the_most_silent_is_forgotten() {
        let container = socket().await;
        let node = relay(&container, Bounds { peers: 2, ..BOUNDS }).await;
        let peers = [socket().await, socket().await, socket().await];
        let mut froms = Vec::new();
        for place in [0, 1, 0, 2, 0, 1] {
            peers[place].send_to(b"x", node).await.unwrap();
            froms.push(received(&container).await.1);
        }
        assert!(froms[0] == froms[2] && froms[0] == froms[4], "one that talks is kept");
        assert_ne!(froms[1], froms[5], "the silent one is another one now");
    }

    #[tokio::test]
    async fn whoever_is_silent_is_forgotten() {
        let (container, peer) = (socket().await, socket().await);
        let node = relay(&container, Bounds { silence: Duration::from_millis(20), ..BOUNDS }).await;
        let mut froms = std::collections::BTreeSet::new();
        let until = Instant::now() + SOON;
        while froms.len() < 2 {
            assert!(Instant::now() < until, "it is remembered for ever");
            peer.send_to(b"x", node).await.unwrap();
            froms.insert(received(&container).await.1);
            sleep(Duration::from_millis(100)).await;
        }
    }

    #[tokio::test]
    async fn nobody_who_listens_is_no_end() {
        let (container, peer) = (socket().await, socket().await);
        let address = container.local_addr().unwrap();
        let node = relay(&container, BOUNDS).await;
        peer.send_to(b"first", node).await.unwrap();
        let (_, from) = received(&container).await;
        drop(container);
        peer.send_to(b"nobody hears it", node).await.unwrap();
        let container = UdpSocket::bind(address).await.unwrap();
        peer.send_to(b"second", node).await.unwrap();
        loop {
            let (said, again) = received(&container).await;
            assert_eq!(again, from);
            if said == "second" {
                break;
            }
        }
    }
}
