//! A node of the second generation, whose Redis is another program: what asks about keys is about texts only there, and lists
//! have words of their own.

use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use roadstead_core::{ConnectOptions, ErrorKind};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::super::super::address::Address;
use super::super::super::client::{Client, Flag};
use super::files::success;
use super::node::Node;

/// What the front does with the words that ask for flags.
#[derive(Clone, Copy)]
enum Way {
    /// As LedisDB answers them.
    Ledis,
    /// Its connection breaks.
    Breaks,
}

async fn number(stream: &mut BufReader<TcpStream>) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim().get(1..)?.parse().ok()
}

async fn words(stream: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for _ in 0..number(stream).await? {
        let mut word = vec![0; number(stream).await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(word.len() - 2);
        words.push(String::from_utf8(word).unwrap());
    }
    Some(words)
}

fn encode(value: &Value) -> Vec<u8> {
    match value {
        Value::Int(number) => format!(":{number}\r\n").into_bytes(),
        Value::BulkString(text) => [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat(),
        Value::SimpleString(text) => format!("+{text}\r\n").into_bytes(),
        Value::Okay => b"+OK\r\n".to_vec(),
        Value::Array(values) => {
            let all: Vec<u8> = values.iter().flat_map(encode).collect();
            [format!("*{}\r\n", values.len()).into_bytes(), all].concat()
        }
        _ => b"$-1\r\n".to_vec(),
    }
}

async fn serve(stream: TcpStream, mut redis: MultiplexedConnection, way: Way) {
    let mut stream = BufReader::new(stream);
    while let Some(words) = words(&mut stream).await {
        let (word, rest) = words.split_first().unwrap();
        let word = match (word.as_str(), way) {
            ("EXISTS" | "TTL" | "LKEYEXISTS" | "LTTL", Way::Breaks) => return,
            // There is no text by this name.
            ("EXISTS", Way::Ledis) => {
                stream.write_all(b":0\r\n").await.unwrap();
                continue;
            }
            ("TTL", Way::Ledis) => {
                stream.write_all(b":-1\r\n").await.unwrap();
                continue;
            }
            ("LKEYEXISTS", _) => "EXISTS",
            ("LTTL", _) => "TTL",
            (word, _) => word,
        };
        let answer = redis::cmd(word).arg(rest).query_async::<Value>(&mut redis).await;
        let answer = match (word, answer) {
            // What is not there has no end.
            ("TTL", Ok(Value::Int(-2))) => Value::Int(-1),
            (_, answer) => answer.unwrap(),
        };
        if stream.write_all(&encode(&answer)).await.is_err() {
            return;
        }
    }
}

/// A client of this node, which speaks to it through such a front.
async fn client(node: &Node, way: Way) -> std::sync::Arc<Client> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let redis = [node.connect().await, node.connect().await, node.connect().await, node.connect().await];
    tokio::spawn(async move {
        for redis in redis {
            let Ok((stream, _)) = listener.accept().await else { return };
            tokio::spawn(serve(stream, redis, way));
        }
    });
    let uri = format!("core0+redis://127.0.0.1:{port}").parse().unwrap();
    Client::new(Address::read(&uri, &ConnectOptions::default()).unwrap())
}

#[tokio::test]
async fn flags_are_found_by_the_words_for_lists() {
    let node = Node::start().await;
    let client = client(&node, Way::Ledis).await;
    node.script(&[("core.ping", success(&json!("PONG")))]);
    client.greet(Duration::from_secs(60)).await.unwrap();
    node.put("result:runs:flag", &[String::new()]).await;
    node.put("result:ended:flag", &[String::new()]).await;
    let _: i64 = node.ask(&["EXPIRE", "result:ended:flag", "300"]).await;
    let ids = ["runs", "ended", "nowhere"].map(str::to_owned);
    assert_eq!(client.flags(&ids).await.unwrap(), [Flag::Running, Flag::Ended, Flag::Unknown]);
}

#[tokio::test]
async fn a_connection_that_breaks_says_nothing_about_flags() {
    let node = Node::start().await;
    let client = client(&node, Way::Breaks).await;
    node.script(&[("core.ping", success(&json!("PONG")))]);
    let error = client.greet(Duration::from_secs(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}
