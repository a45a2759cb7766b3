//! What the proxy in front of a node says to those who have no token, or a bad one.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use roadstead_core::{ConnectOptions, ErrorKind};

use super::super::super::address::Address;
use super::super::super::client::Client;
use super::super::HostCommands;

/// Plays a captured log in which nothing is allowed before AUTH; nothing for other captures.
pub(super) async fn without_a_token(whole: &Value) -> Option<String> {
    let log = whole["log"].as_array()?;
    let refusal = |command: &str| {
        let entry = log.iter().find(|entry| entry["send"][0] == command)?;
        entry["reply"]["redis_error"].as_str().map(str::to_owned)
    };
    let (refused, bad) = (refusal("PING")?, refusal("AUTH")?);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, refused.clone(), bad.clone()));
        }
    });
    for token in ["", ":bad.jwt.token@"] {
        let uri = format!("core0+redis://{token}127.0.0.1:{port}").parse().unwrap();
        let client = Client::new(Address::read(&uri, &ConnectOptions::default()).unwrap());
        let node = HostCommands::new(client).with_deadline(Duration::from_secs(30));
        let error = node.commands().agent().ping().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
        assert!(!error.to_string().contains("bad.jwt.token"));
    }
    served.abort();
    Some("no token, and a bad one: unauthenticated".to_owned())
}

/// Answers each command, an array of texts, with one of the two errors.
async fn serve(stream: TcpStream, refused: String, bad: String) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut words = Vec::new();
        let Some(count) = number(&mut stream).await else { return };
        for _ in 0..count {
            let Some(length) = number(&mut stream).await else { return };
            let mut word = vec![0; length + 2];
            if stream.read_exact(&mut word).await.is_err() {
                return;
            }
            words.push(String::from_utf8_lossy(&word).trim().to_owned());
        }
        let error = if words.first().is_some_and(|word| word == "AUTH") { &bad } else { &refused };
        if stream.write_all(format!("-{error}\r\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The number of a line such as `*3` or `$5`.
async fn number(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim().get(1..)?.parse().ok()
}
