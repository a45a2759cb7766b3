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
use super::watch::{Heard, Watched};
use super::websocket::Message;

/// Between two tries to listen again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often it is looked whether the server is there, when nothing happens.
const TICK: Duration = Duration::from_secs(5);
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
                Some(Word::Started) => ran = true,
                // An end that was so short that a start has already followed it is an end all the same.
                Some(Word::Ended) => {}
                None => break,
            }
        }
    }
}

/// When this returns, the server has begun to listen for us.
async fn listen(lxd: &Lxd) -> Result<Watched> {
    let socket = lxd.client.websocket(Request::get(&["events"]).query("type", "lifecycle")).await?;
    Ok(Watched::new(socket).registered().await)
}

/// How it ended; nothing while it runs.
async fn look(lxd: &Lxd, id: &str) -> Result<Option<ContainerExit>> {
    // Of an end soon after the start Incus says, for a moment, that it runs, and then sends no word of the end. The log
    // begins anew with every start.
    if Instance::read(lxd, id).await?.state().has_processes() && ended::read(lxd, id).await?.is_none() {
        return Ok(None);
    }
    let end = ended::settled(lxd, id).await?;
    // Whoever is told of the end may go on with what can be done to a stopped container.
    for _ in 0..SETTLES {
        match Instance::read(lxd, id).await {
            Ok(instance) if instance.state().has_processes() => sleep(SETTLE).await,
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => break,
        }
    }
    let mut exit = ContainerExit::new(end.map_or(0, |end| end.exit_code));
    if end.is_none() {
        exit.error = Some("the engine does not tell how it ended".to_owned());
    }
    Ok(Some(exit))
}

enum Word {
    Started,
    Ended,
}

/// The next word of this container; nothing when the connection breaks.
async fn heard(socket: &mut Watched, id: &str) -> Option<Word> {
    loop {
        let bytes = match socket.next(TICK).await {
            Heard::Message(Message::Text(text)) => text.into_bytes(),
            Heard::Message(Message::Binary(bytes)) => bytes.to_vec(),
            Heard::Nothing => continue,
            Heard::Broken => return None,
        };
        let news: News = serde_json::from_slice(&bytes).unwrap_or_default();
        let happened = news.metadata.unwrap_or_default();
        let source = happened.source.unwrap_or_default();
        let path = source.split('?').next().unwrap_or_default();
        if path.rsplit('/').next() != Some(id) {
            continue;
        }
        match happened.action.as_deref().unwrap_or_default() {
            "instance-started" | "container-started" => return Some(Word::Started),
            action if ["stopped", "shutdown", "deleted", "restarted"].iter().any(|word| action.ends_with(word)) => {
                return Some(Word::Ended);
            }
            _ => {}
        }
    }
}
