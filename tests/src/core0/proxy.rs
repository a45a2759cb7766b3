//! What a node has before its Redis: TLS, and tokens instead of passwords.
//!
//! Commands of all clients go over one pool of connections; that is why a client holds one of them for as long as it waits. Here
//! they are used again, in whatever state somebody left them, so that a client may not switch the protocol of its connection. A
//! node's pool keeps none idle and makes each anew, which clients cannot rely on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::token::Tokens;

const USAGE: &str = "\
Usage: core0-stand-in --proxy ADDRESS --redis unix:/path --certificate FILE --key FILE [OPTION...]
  --organization NAME  who must be named by a token; may be repeated, and without any no token is needed
  --token-key FILE     the public key (PEM, P-384) of whoever signs tokens
  --idle tested|blind  whether connections to Redis are tried out before they are used again; they are when absent";
/// Connections to Redis, for all clients together.
const POOL: usize = 20;
/// Where a node has its Redis.
const SOCKET: &str = "/var/run/redis.sock";
const DENIED: &str = "permission denied, please call AUTH first with a valid JWT";
/// The first byte of whoever speaks TLS.
const HANDSHAKE: u8 = 0x16;

/// What the command line says.
#[derive(Debug, Default)]
struct Options {
    listen: String,
    redis: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    organizations: Vec<String>,
    token_key: Option<PathBuf>,
    blind: bool,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| USAGE.to_owned())?;
        match name.as_str() {
            "--proxy" => options.listen = value,
            "--redis" => options.redis = value.trim_start_matches("unix:").into(),
            "--certificate" => options.certificate = value.into(),
            "--key" => options.key = value.into(),
            "--organization" => options.organizations.push(value),
            "--token-key" => options.token_key = Some(value.into()),
            "--idle" if matches!(value.as_str(), "tested" | "blind") => options.blind = value == "blind",
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(options)
}

struct Proxy {
    redis: PathBuf,
    /// `None` when no token is needed.
    tokens: Option<Tokens>,
    places: Semaphore,
    idle: Mutex<Vec<BufReader<UnixStream>>>,
    /// Whether these are used as they are, without asking whether they still work: harsher than a node's proxy.
    blind: bool,
}

/// Serves for ever.
///
/// # Errors
/// When it cannot begin.
pub(crate) async fn serve(arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let options = parse(arguments)?;
    let named = |path: &PathBuf| {
        let path = path.display().to_string();
        move |error: rustls::pki_types::pem::Error| format!("{path}: {error}")
    };
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&options.certificate).and_then(Iterator::collect);
    let key = PrivateKeyDer::from_pem_file(&options.key).map_err(named(&options.key))?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates.map_err(named(&options.certificate))?, key)
        .map_err(|error| error.to_string())?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let tokens = if options.organizations.is_empty() {
        None
    } else {
        Some(Tokens::new(&options.organizations, options.token_key.as_deref())?)
    };
    let proxy = Arc::new(Proxy {
        redis: options.redis,
        tokens,
        places: Semaphore::new(POOL),
        idle: Mutex::default(),
        blind: options.blind,
    });
    let listener = TcpListener::bind(&options.listen).await.map_err(|error| format!("{}: {error}", options.listen))?;
    loop {
        let (stream, _) = listener.accept().await.map_err(|error| error.to_string())?;
        let (proxy, acceptor) = (proxy.clone(), acceptor.clone());
        tokio::spawn(async move {
            if speaks_tls(&stream).await
                && let Ok(stream) = acceptor.accept(stream).await
            {
                // A client that goes away is none of our concern.
                let _ = proxy.answer(stream).await;
            }
        });
    }
}

/// Whoever does not is cut off without a word.
async fn speaks_tls(stream: &TcpStream) -> bool {
    let mut first = [0];
    let _ = stream.set_nodelay(true);
    matches!(stream.peek(&mut first).await, Ok(1)) && first[0] == HANDSHAKE
}

fn error_reply(text: &str) -> Vec<u8> {
    format!("-{text}\r\n").into_bytes()
}

impl Proxy {
    async fn answer(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut authenticated = self.tokens.is_none();
        while let Some(mut command) = read_command(&mut stream).await? {
            let Some(name) = command.first().map(|name| name.to_ascii_lowercase()) else { continue };
            let reply = match name.as_slice() {
                b"auth" if command.len() != 2 => error_reply("invalid number of arguments"),
                b"auth" => {
                    let token = String::from_utf8_lossy(&command[1]);
                    if self.tokens.as_ref().is_none_or(|tokens| tokens.accept(&token)) {
                        authenticated = true;
                        b"+OK\r\n".to_vec()
                    } else {
                        error_reply("invalid jwt")
                    }
                }
                _ if !authenticated => error_reply(DENIED),
                name => {
                    match name {
                        b"lkeyexists" => command[0] = b"exists".to_vec(),
                        b"lttl" => command[0] = b"ttl".to_vec(),
                        _ => {}
                    }
                    self.forward(name, &command).await
                }
            };
            stream.write_all(&reply).await?;
            stream.flush().await?;
        }
        Ok(())
    }

    async fn forward(&self, name: &[u8], command: &[Vec<u8>]) -> Vec<u8> {
        let _place = self.places.acquire().await;
        match self.ask(name, command).await {
            Ok(reply) => reply,
            Err(error) => error_reply(&error.to_string()),
        }
    }

    async fn borrow(&self) -> std::io::Result<BufReader<UnixStream>> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut connection) = idle else { break };
            if self.blind {
                return Ok(connection);
            }
            // One of a Redis that was killed meanwhile is none.
            if connection.write_all(b"PING\r\n").await.is_ok() && read_reply(&mut connection).await.is_ok() {
                return Ok(connection);
            }
        }
        let connection = UnixStream::connect(&self.redis).await;
        connection.map(BufReader::new).map_err(|error| {
            std::io::Error::other(format!("dial unix {}: connect: {}", self.redis.display(), super::go::errno(&error)))
        })
    }

    async fn ask(&self, name: &[u8], command: &[Vec<u8>]) -> std::io::Result<Vec<u8>> {
        let mut connection = self.borrow().await?;
        let reply = exchange(&mut connection, command).await?;
        // What would make the connection useless for the next one is undone.
        let undo: Option<&[u8]> = match name {
            b"multi" => Some(b"DISCARD"),
            b"watch" => Some(b"UNWATCH"),
            _ => None,
        };
        if let Some(undo) = undo {
            exchange(&mut connection, &[undo.to_vec()]).await?;
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(reply)
    }
}

async fn exchange(connection: &mut BufReader<UnixStream>, command: &[Vec<u8>]) -> std::io::Result<Vec<u8>> {
    let mut request = format!("*{}\r\n", command.len()).into_bytes();
    for part in command {
        request.extend(format!("${}\r\n", part.len()).bytes());
        request.extend(part);
        request.extend(b"\r\n");
    }
    let asked = async {
        connection.write_all(&request).await.map_err(|error| in_go("write", &error))?;
        read_reply(connection).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => error,
            std::io::ErrorKind::UnexpectedEof => broken("unexpected EOF"),
            _ => in_go("read", &error),
        })
    };
    asked.await
}

/// What is said of a connection that broke.
fn in_go(verb: &str, error: &std::io::Error) -> std::io::Error {
    broken(format!("{verb} unix @->{SOCKET}: {verb}: {}", super::go::errno(error)))
}

async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    if stream.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}

fn broken(what: impl Into<String>) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what.into())
}

async fn blob(stream: &mut (impl AsyncBufRead + Unpin), length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; length + 2];
    stream.read_exact(&mut bytes).await?;
    bytes.truncate(length);
    Ok(bytes)
}

/// A command as clients send it: an array of strings, or words on a line. `None` at the end.
async fn read_command(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Vec<Vec<u8>>>> {
    let Some(first) = line(stream).await? else { return Ok(None) };
    let Some(count) = first.strip_prefix('*') else {
        return Ok(Some(first.split_whitespace().map(|word| word.as_bytes().to_vec()).collect()));
    };
    let mut parts = Vec::new();
    for _ in 0..count.parse::<usize>().map_err(|_| broken("Protocol error: invalid multibulk length"))? {
        let header = line(stream).await?.ok_or_else(|| broken("Protocol error"))?;
        let length = header.strip_prefix('$').and_then(|length| length.parse().ok());
        parts.push(blob(stream, length.ok_or_else(|| broken("Protocol error: invalid bulk length"))?).await?);
    }
    Ok(Some(parts))
}

/// A reply of Redis as clients get it: an array has no arrays in it, and one that is null is a null string.
async fn read_reply(stream: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let header = line(stream).await?.ok_or_else(|| broken("EOF"))?;
    let Some(count) = header.strip_prefix('*') else { return read_scalar(stream, &header).await };
    let Ok(count) = count.parse::<usize>() else { return Ok(b"$-1\r\n".to_vec()) };
    let mut reply = format!("*{count}\r\n").into_bytes();
    for _ in 0..count {
        let header = line(stream).await?.ok_or_else(|| broken("EOF"))?;
        reply.extend(match header.strip_prefix('*') {
            Some(count) => {
                skip(stream, count.parse().unwrap_or_default()).await?;
                error_reply("unhandled return type: []interface {}")
            }
            None if header == "$-1" => error_reply("unhandled return type: <nil>(<nil>)"),
            None => read_scalar(stream, &header).await?,
        });
    }
    Ok(reply)
}

async fn skip(stream: &mut (impl AsyncBufRead + Unpin), elements: usize) -> std::io::Result<()> {
    let mut left = elements;
    while left > 0 {
        left -= 1;
        let header = line(stream).await?.ok_or_else(|| broken("EOF"))?;
        match header.strip_prefix('*') {
            Some(count) => left += count.parse::<usize>().unwrap_or_default(),
            None => {
                read_scalar(stream, &header).await?;
            }
        }
    }
    Ok(())
}

async fn read_scalar(stream: &mut (impl AsyncBufRead + Unpin), header: &str) -> std::io::Result<Vec<u8>> {
    let mut reply = format!("{header}\r\n").into_bytes();
    match header.as_bytes().first() {
        Some(b'+' | b'-' | b':') => {}
        Some(b'$') => {
            if let Ok(length) = header[1..].parse() {
                reply.extend(blob(stream, length).await?);
                reply.extend(b"\r\n");
            }
        }
        _ => return Err(broken("unexpected response line")),
    }
    Ok(reply)
}
