//! A WebSocket by hand: the handshake and small frames are all that is needed here.

use crate::rig::Rig;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

struct Socket(TcpStream);

impl Socket {
    async fn open(rig: &Rig, path: &str) -> Socket {
        let mut stream = TcpStream::connect(rig.running.addresses()[0]).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {}\r\n\r\n",
            rig.running.token().expose()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Socket(stream)
    }

    /// Frames of a client are masked; a mask of zeros leaves them readable.
    async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    async fn receive(&mut self) -> (u8, Vec<u8>) {
        let read = async {
            let opcode = self.0.read_u8().await.unwrap() & 0x0f;
            let length = match self.0.read_u8().await.unwrap() {
                126 => usize::from(self.0.read_u16().await.unwrap()),
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.unwrap();
            (opcode, payload)
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), read).await.expect("a frame in time")
    }
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn input_reaches_the_process_and_its_answer_comes_back() {
    let rig = Rig::start().await;
    let id = rig.container_with("cat", json!({"command": ["cat"], "stdin": true})).await;
    let mut socket = Socket::open(&rig, &format!("/v1/nodes/sea/containers/{id}/attach?stdin=true")).await;
    socket.send(BINARY, b"hello\n").await;
    assert_eq!(socket.receive().await, (BINARY, b"\x01hello\n".to_vec()));
    socket.send(TEXT, br#"{"type":"close_stdin"}"#).await;
    let (opcode, reason) = socket.receive().await;
    assert_eq!((opcode, reason), (CLOSE, 1000_u16.to_be_bytes().to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_does_not_say_that_the_process_did() {
    let rig = Rig::start().await;
    let id = rig.container_with("cat", json!({"command": ["cat"], "stdin": true})).await;
    let mut socket = Socket::open(&rig, &format!("/v1/nodes/sea/containers/{id}/attach?stdin=true")).await;
    let (ended, (opcode, reason)) = tokio::join!(rig.running.shutdown(), socket.receive());
    ended.unwrap();
    assert_eq!((opcode, reason), (CLOSE, 1001_u16.to_be_bytes().to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_answered_with_a_problem() {
    let rig = Rig::start().await;
    for (name, bad) in [("c1", r#"{"type":"nope"}"#), ("c2", r#"{"type":"resize","columns":0,"rows":1}"#), ("c3", "x")]
    {
        let id = rig.container_with(name, json!({"command": ["cat"], "stdin": true})).await;
        let path = format!("/v1/nodes/sea/containers/{id}/attach?stdin=true");
        let mut socket = Socket::open(&rig, &path).await;
        socket.send(TEXT, bad.as_bytes()).await;
        let (opcode, text) = socket.receive().await;
        let problem: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((opcode, &problem["code"]), (TEXT, &json!("invalid_input")), "{bad}");
        assert_eq!(socket.receive().await.0, CLOSE);
    }
}
