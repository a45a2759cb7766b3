//! Published ports of core0's containers: datagrams are carried, and a port that looks free and is not leaves nothing behind.
//! Every test has a core0 of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test says that it failed")]

use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roadstead_backends::engines::core0::Core0Node;
use roadstead_core::{
    ConnectOptions, ContainerFilter, ContainerSpec, DeleteOptions, ErrorKind, Node, PortMapping, Protocol,
};
use roadstead_tests::engines::{OwnEngine, flist};

const SOON: Duration = Duration::from_secs(60);
const PORT: u16 = 7000;

async fn connect(uri: &str) -> Arc<dyn Node> {
    roadstead_backends::registry().connect("own", uri, &ConnectOptions::default()).await.expect("the node answers")
}

fn published(name: &str, host_port: Option<u16>, protocol: Protocol) -> ContainerSpec {
    let port = PortMapping { container_port: PORT, host_port, host_address: None, protocol };
    let mut spec = ContainerSpec::new(flist()).name(name).command(["sleep", "300"]);
    spec.ports = vec![port];
    spec
}

/// The port of the node that leads to the container.
async fn host_port(node: &dyn Node, id: &str) -> u16 {
    let details = node.container(id).inspect().await.expect("details");
    let [port] = details.summary.ports.as_slice() else { panic!("{:?}", details.summary.ports) };
    port.host_port.expect("it is published")
}

/// Answers each datagram that comes to the port in the network of process `pid`, for as long as the test runs.
fn answer(pid: u32) {
    let inside = std::thread::spawn(move || {
        let network = std::fs::File::open(format!("/proc/{pid}/ns/net")).expect("its network");
        // Of this thread alone; the socket stays in it.
        nix::sched::setns(network, nix::sched::CloneFlags::CLONE_NEWNET).expect("root may enter it");
        UdpSocket::bind(("0.0.0.0", PORT)).expect("bound")
    });
    let socket = inside.join().expect("a socket");
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let answer: Vec<u8> = buffer.iter().take(length).rev().copied().collect();
            let _ = socket.send_to(&answer, from);
        }
    });
}

/// Asks until it is answered: a datagram may be lost.
fn ask(client: &UdpSocket, port: u16, text: &str) -> String {
    client.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let until = Instant::now() + SOON;
    let mut buffer = [0; 2048];
    while Instant::now() < until {
        client.send_to(text.as_bytes(), ("127.0.0.1", port)).expect("sent");
        if let Ok((length, _)) = client.recv_from(&mut buffer) {
            return String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
        }
    }
    panic!("no answer from port {port}")
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_reach_the_container_and_come_back() {
    let Some(engine) = OwnEngine::core0("datagrams") else { return };
    let node = connect(engine.engine().uri()).await;
    let id = node.create_container(&published("udp", None, Protocol::Udp)).await.expect("it is created").id;
    node.container(&id).start().await.expect("it starts");
    let port = host_port(&*node, &id).await;
    answer(node.container(&id).inspect().await.expect("details").pid.expect("it runs"));
    let clients: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").expect("bound")).collect();
    for _ in 0..2 {
        for (client, (text, answer)) in clients.iter().zip([("abc", "cba"), ("de", "ed"), ("f", "f")]) {
            assert_eq!(ask(client, port, text), answer);
        }
    }
    node.container(&id).delete(&DeleteOptions::force()).await.expect("deleted");
    UdpSocket::bind(("0.0.0.0", port)).expect("the port is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_looks_free_and_is_not() {
    let Some(engine) = OwnEngine::core0("ports") else { return };
    let node = connect(engine.engine().uri()).await;
    let commands = node.engine().downcast_ref::<Core0Node>().expect("a core0").commands();
    // A node gives the lowest ports that no TCP listens on: on the next one there are datagrams.
    let mut next = commands.firewall().reserve(1).await.expect("a port").pop().expect("one");
    let taken = loop {
        next += 1;
        let used = TcpListener::bind(("0.0.0.0", next)).is_err();
        if let (false, Ok(socket)) = (used, UdpSocket::bind(("0.0.0.0", next))) {
            break socket;
        }
    };
    let all = || async { node.list_containers(&ContainerFilter::all()).await.expect("a list").len() };

    // One that the caller leaves open is looked for again.
    let id = node.create_container(&published("open", None, Protocol::Udp)).await.expect("another port is found").id;
    let found = host_port(&*node, &id).await;
    assert_ne!(found, next, "it is in use");
    assert_eq!(all().await, 1, "the try that failed is gone");
    node.container(&id).delete(&DeleteOptions::default()).await.expect("deleted");

    // One that the caller names is not.
    let error = node.create_container(&published("named", Some(next), Protocol::Udp)).await.expect_err("it is in use");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert_eq!(all().await, 0, "nothing is left");
    drop(taken);
    let id = node.create_container(&published("named", Some(next), Protocol::Udp)).await.expect("it is free now").id;
    assert_eq!(host_port(&*node, &id).await, next);
    node.container(&id).delete(&DeleteOptions::default()).await.expect("deleted");
}
