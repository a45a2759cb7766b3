//! A server that says whatever a test wants: one answer for each connection.

use std::sync::{Arc, Mutex};

use roadstead_core::{Capabilities, Node};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// A status and a JSON document.
    Json(u16, Value),
    /// These bytes, and then the end of the connection.
    Raw(Vec<u8>),
    /// A head, and then these bytes again and again.
    Endless(&'static str, &'static [u8]),
    /// Nothing, for as long as the client waits.
    Silence,
    /// Nothing: the connection ends once the request is there.
    HangUp,
}

impl Say {
    /// A whole answer with this body.
    pub(crate) fn body(media: &str, body: &[u8]) -> Say {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {media}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Say::Raw([head.as_bytes(), body].concat())
    }
}

pub(crate) struct Fake {
    port: u16,
    /// First lines of the requests.
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// `answer` is given the first line of each request but those for the capabilities of the node `far`, which has all.
    pub(crate) async fn start(answer: impl Fn(&str) -> Say + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                tokio::spawn(async move { serve(client, &*answer, &log).await });
            }
        });
        Fake { port, seen, task }
    }

    /// Where its node `far` is.
    pub(crate) fn uri(&self) -> String {
        format!("roadstead+http://:t0ken@127.0.0.1:{}/far", self.port)
    }

    pub(crate) async fn node(&self) -> Arc<dyn Node> {
        crate::connect("near", &self.uri()).await.unwrap()
    }

    /// The first lines of the requests so far.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(mut client: TcpStream, answer: &(dyn Fn(&str) -> Say + Send + Sync), log: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    if client.read_exact(&mut body).await.is_err() {
        return;
    }
    let first = head.lines().next().unwrap().to_owned();
    log.lock().unwrap().push(first.clone());
    let say = if first.contains("/capabilities") {
        let mut all = serde_json::to_value(Capabilities::all()).unwrap();
        all["time_travel"] = true.into();
        Say::Json(200, all)
    } else {
        answer(&first)
    };
    let bytes = match say {
        Say::Silence => {
            // The end of the client's patience.
            let _ = client.read_u8().await;
            return;
        }
        Say::HangUp => return,
        Say::Raw(bytes) => bytes,
        Say::Json(status, value) => {
            let body = value.to_string();
            let length = body.len();
            let head = "content-type: application/json\r\nconnection: close";
            format!("HTTP/1.1 {status} X\r\n{head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
        }
        Say::Endless(head, piece) => {
            let mut bytes = head.as_bytes().to_vec();
            while client.write_all(&bytes).await.is_ok() {
                bytes = piece.repeat(1 + 100_000 / piece.len());
            }
            return;
        }
    };
    let _ = client.write_all(&bytes).await;
    let _ = client.shutdown().await;
}
