//! Waiting for the end of a container.

use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{ContainerExit, Error, ErrorKind, Result, Retry, WaitFor};
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use super::ended;
use super::instance::Instance;
use super::request::Request;
use super::shared::Lxd;
use super::websocket::{Message, Socket};

/// Between two tries to listen again.
const PAUSE: Duration = Duration::from_millis(500);
/// A state that is still to change is looked at again after so long, and so often.
const SETTLE: Duration = Duration::from_millis(50);
const SETTLES: u32 = 60;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct News {
    metadata: Option<Happened>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Happened {
    action: Option<String>,
    source: Option<String>,
}

/// C100 to C102.
pub(super) async fn wait(lxd: &Arc<Lxd>, id: &str, condition: WaitFor, deadline: Duration) -> Result<ContainerExit> {
    timeout(deadline, until(lxd, id, condition)).await.unwrap_or_else(|_| {
        let words = format!("it has not ended within {} s", deadline.as_secs_f64());
        Err(Error::new(ErrorKind::DeadlineExceeded, words).with_retry(Retry::Safe))
    })
}

async fn until(lxd: &Lxd, id: &str, condition: WaitFor) -> Result<ContainerExit> {
    let mut ran = false;
    let mut last = ContainerExit::new(0);
    let mut first = true;
    loop {
        // Before the look: what happens after it is heard.
        let mut socket = match listen(lxd).await {
            Ok(socket) => socket,
            Err(error) if first => return Err(error),
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        loop {
            match look(lxd, id).await {
                Ok(None) => ran = true,
                Ok(Some(exit)) => {
                    if condition == WaitFor::Stopped || (condition == WaitFor::NextEnd && ran) {
                        return Ok(exit);
                    }
                    last = exit;
                }
                Err(error) if error.kind() == ErrorKind::NotFound && !first && condition == WaitFor::Deleted => {
                    return Ok(last);
                }
                Err(error) => return Err(error),
            }
            first = false;
            match heard(&mut socket, id).await {
                Some(Heard::Started) => ran = true,
                // An end that was so short that a start has already followed it is an end all the same.
                Some(Heard::Ended) => {}
                None => break,
            }
        }
    }
}

async fn listen(lxd: &Lxd) -> Result<Socket> {
    lxd.client.websocket(Request::get(&["events"]).query("type", "lifecycle")).await
}

/// How it ended; nothing while it runs.
async fn look(lxd: &Lxd, id: &str) -> Result<Option<ContainerExit>> {
    if Instance::read(lxd, id).await?.state().has_processes() {
        return Ok(None);
    }
    let end = ended::settled(lxd, id).await?;
    // Incus says once more that it runs, until it has cleaned up after it. Whoever was told of the end may go on with what
    // can be done to a stopped container.
    for _ in 0..SETTLES {
        if !Instance::read(lxd, id).await?.state().has_processes() {
            break;
        }
        sleep(SETTLE).await;
    }
    let mut exit = ContainerExit::new(end.map_or(0, |end| end.exit_code));
    if end.is_none() {
        exit.error = Some("the engine does not tell how it ended".to_owned());
    }
    Ok(Some(exit))
}

enum Heard {
    Started,
    Ended,
}

/// The next news of this container; nothing when the connection breaks.
async fn heard(socket: &mut Socket, id: &str) -> Option<Heard> {
    loop {
        let bytes = match socket.reader.next().await? {
            Ok(Message::Text(text)) => text.into_bytes(),
            Ok(Message::Binary(bytes)) => bytes.to_vec(),
            Err(_) => return None,
        };
        let news: News = serde_json::from_slice(&bytes).unwrap_or_default();
        let happened = news.metadata.unwrap_or_default();
        let source = happened.source.unwrap_or_default();
        let path = source.split('?').next().unwrap_or_default();
        if path.rsplit('/').next() != Some(id) {
            continue;
        }
        match happened.action.as_deref().unwrap_or_default() {
            "instance-started" | "container-started" => return Some(Heard::Started),
            action if ["stopped", "shutdown", "deleted", "restarted"].iter().any(|word| action.ends_with(word)) => {
                return Some(Heard::Ended);
            }
            _ => {}
        }
    }
}
