//! What stands before a node's Redis: TLS, tokens, and a few commands that Redis does not know.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::captures::Capture;
use crate::replayer::{Replayer, Verdict};
use crate::world::{self, World, openssl};

type Stream = BufReader<StreamOwned<ClientConnection, TcpStream>>;

fn connect(world: &World, address: &str) -> Stream {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(world.path("server.crt")).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    BufReader::new(StreamOwned::new(connection, TcpStream::connect(address).unwrap()))
}

fn send(stream: &mut Stream, command: &[String]) -> Value {
    let mut request = format!("*{}\r\n", command.len());
    for part in command {
        request.push_str(&format!("${}\r\n{part}\r\n", part.len()));
    }
    stream.get_mut().write_all(request.as_bytes()).unwrap();
    reply(stream)
}

fn reply(stream: &mut Stream) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let line = line.trim_end_matches(['\r', '\n']);
    let (kind, rest) = line.split_at(1);
    match kind {
        "+" => json!(rest),
        "-" => json!({"redis_error": rest}),
        ":" => json!(rest.parse::<i64>().unwrap()),
        "$" if rest == "-1" => Value::Null,
        "$" => {
            let mut text = vec![0; rest.parse::<usize>().unwrap() + 2];
            stream.read_exact(&mut text).unwrap();
            json!(String::from_utf8_lossy(&text[..text.len() - 2]))
        }
        "*" => (0..rest.parse::<usize>().unwrap()).map(|_| reply(stream)).collect(),
        _ => panic!("{line}"),
    }
}

fn command(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

impl Replayer {
    pub(crate) fn proxied(&mut self, capture: &Capture) -> Verdict {
        let options: &[&str] =
            if capture.case.contains("--organization myorg") { &["--organization", "myorg"] } else { &[] };
        let address = self.world.start_proxy(options);
        match capture.case.as_str() {
            "proxy-plain-tcp" => {
                let mut stream = TcpStream::connect(&address).unwrap();
                stream.write_all(b"PING\r\n").unwrap();
                let mut received = Vec::new();
                // A connection that is reset brings nothing either.
                let _ = stream.read_to_end(&mut received);
                let hex: String = received.iter().map(|byte| format!("{byte:02x}")).collect();
                if hex == capture.text("received_hex") { Ok(()) } else { Err(format!("received {hex}")) }
            }
            "proxy-tls-info" => {
                let mut stream = connect(&self.world, &address);
                send(&mut stream, &command(&["PING"]));
                let connection = &stream.get_ref().conn;
                let version = connection.protocol_version().map(|version| format!("{version:?}").replace('_', "."));
                let length = connection.peer_certificates().map_or(0, |certificates| certificates[0].len());
                let captured = capture.members["peer_cert_der_len"].as_u64().unwrap_or_default();
                // The names in it differ.
                let alike = captured.abs_diff(u64::try_from(length).unwrap()) < 100;
                let equal = version.as_deref() == Some(capture.text("version").replace("v1.", "v1.").as_str());
                if equal && alike { Ok(()) } else { Err(format!("{version:?}, a certificate of {length} bytes")) }
            }
            _ => self.conversation(capture, &address),
        }
    }

    fn conversation(&mut self, capture: &Capture, address: &str) -> Verdict {
        let mut stream = connect(&self.world, address);
        for line in capture.members["log"].as_array().unwrap() {
            let words: Vec<String> =
                line["send"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect();
            let (ours, theirs) = (send(&mut stream, &words), &line["reply"]);
            // What Redis tells of itself is another's.
            let told = |reply: &Value| reply.as_str().is_some_and(|text| text.starts_with("# Server"));
            if ours != *theirs && !(told(&ours) && told(theirs)) {
                return Err(format!("{words:?}: {ours}, captured {theirs}"));
            }
        }
        Ok(())
    }
}

/// A token of the test's own authority.
fn token(world: &World, key: &str, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&json!({"alg": "ES384", "typ": "JWT"})), encode(claims));
    std::fs::write(world.path("signed"), &signed).unwrap();
    openssl(world.directory.path(), &format!("dgst -sha384 -sign {key} -out signature signed"));
    let der = std::fs::read(world.path("signature")).unwrap();
    // A sequence of two numbers, each with its length before it.
    let mut rest = &der[2..];
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let number = &number[number.len().saturating_sub(48)..];
        numbers.extend(std::iter::repeat_n(0, 48 - number.len()));
        numbers.extend(number);
        rest = &rest[2 + length..];
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(numbers))
}

#[test]
fn tokens_of_members_are_accepted_and_no_others() {
    if !world::possible("core0 tokens") {
        return;
    }
    let mut world = World::new();
    for key in ["authority", "stranger"] {
        openssl(world.directory.path(), &format!("ecparam -name secp384r1 -genkey -noout -out {key}.pem"));
    }
    openssl(world.directory.path(), "ec -in authority.pem -pubout -out authority.pub");
    let public = world.path("authority.pub").display().to_string();
    let address = world.start_proxy(&["--organization", "MyOrg", "--token-key", &public]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (later, earlier) = (now + 600, now - 600);
    for (key, claims, accepted) in [
        ("authority.pem", json!({"azp": "myorg", "exp": later}), true),
        ("authority.pem", json!({"scope": ["user:memberof:myorg"], "exp": later}), true),
        ("authority.pem", json!({"azp": "other", "exp": later}), false),
        ("authority.pem", json!({"scope": ["user:memberof:myorg.sub"], "exp": later}), false),
        ("authority.pem", json!({"azp": "myorg", "exp": earlier}), false),
        ("stranger.pem", json!({"azp": "myorg", "exp": later}), false),
    ] {
        let mut stream = connect(&world, &address);
        let answer = send(&mut stream, &command(&["AUTH", &token(&world, key, &claims)]));
        let ping = send(&mut stream, &command(&["PING"]));
        if accepted {
            assert_eq!((answer, ping), (json!("OK"), json!("PONG")), "{claims}");
        } else {
            assert_eq!(answer, json!({"redis_error": "invalid jwt"}), "{claims}");
            assert!(ping["redis_error"].is_string(), "{claims}");
        }
    }
}
