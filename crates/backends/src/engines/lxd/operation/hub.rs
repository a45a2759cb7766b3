//! The one websocket on which the news of all operations of a node arrive.

use std::sync::{Arc, Weak};
use std::time::Duration;

use roadstead_core::{ErrorKind, Result};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, broadcast};
use tokio::time::{Instant, sleep, timeout};

use super::super::client::Client;
use super::super::request::Request;
use super::super::watch::{Heard, Watched};
use super::super::websocket::{Message, Socket};
use super::OperationState;

/// So many news wait for one who is slow; whoever misses some asks for the operation itself.
const QUEUE: usize = 4096;
/// How long the websocket is kept when nobody waits.
const LINGER: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody waits and whether the server is there.
const TICK: Duration = Duration::from_secs(5);
/// A server answers before its events are on their way, and tells nothing of what happens in between. Its first sign of
/// life, which comes at once, shows that they are; after this it is taken as given.
const REGISTERED: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What whoever waits is told.
#[derive(Clone, Debug)]
pub(in super::super) enum News {
    /// An operation changed.
    State(Arc<OperationState>),
    /// The websocket was away for a while: ask for the operation.
    Again,
    /// The server stays away.
    Gone(ErrorKind, String),
}

/// A queue of news.
pub(in super::super) type Subscription = broadcast::Receiver<News>;

/// Hands out queues of news.
#[derive(Debug, Default)]
pub(in super::super) struct Hub {
    /// Alive while its websocket is served.
    sender: Mutex<Weak<broadcast::Sender<News>>>,
}

impl Hub {
    /// A queue of all news from now on. When it is given, the websocket stands, or whoever waits is going to be told
    /// that it did not.
    pub(in super::super) async fn subscribe(&self, client: &Client) -> Result<Subscription> {
        let mut slot = self.sender.lock().await;
        if let Some(sender) = slot.upgrade() {
            return Ok(sender.subscribe());
        }
        let socket = open(client).await?;
        let (sender, news) = broadcast::channel(QUEUE);
        let sender = Arc::new(sender);
        *slot = Arc::downgrade(&sender);
        tokio::spawn(serve(client.clone(), sender, Watched::new(socket)));
        Ok(news)
    }
}

async fn open(client: &Client) -> Result<Socket> {
    // Of all projects, since some operations (on images, for example) belong to another one than they were asked in.
    // Who is restricted to some projects may not ask for all.
    let all = Request::get(&["events"]).query("type", "operation").query("all-projects", "true");
    let mut socket = match client.websocket(all).await {
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput) => {
            client.websocket(Request::get(&["events"]).query("type", "operation")).await?
        }
        result => result?,
    };
    // Nobody waits for news yet, so whatever it is says nothing new; that the connection is broken shows again.
    let _ = timeout(REGISTERED, socket.reader.sign_of_life()).await;
    Ok(socket)
}

async fn serve(client: Client, sender: Arc<broadcast::Sender<News>>, mut socket: Watched) {
    loop {
        if read(&sender, &mut socket).await == Why::NobodyWaits {
            let mut slot = client.operations().sender.lock().await;
            // Whoever subscribes holds the lock.
            if sender.receiver_count() == 0 {
                *slot = Weak::new();
                drop(slot);
                socket.close().await;
                return;
            }
            continue;
        }
        match again(&client, &sender).await {
            Ok(fresh) => {
                socket = Watched::new(fresh);
                let _ = sender.send(News::Again);
            }
            Err((kind, message)) => {
                let mut slot = client.operations().sender.lock().await;
                let _ = sender.send(News::Gone(kind, message));
                *slot = Weak::new();
                return;
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Why {
    NobodyWaits,
    Broken,
}

/// An event, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Event {
    #[serde(rename = "type")]
    kind: Option<String>,
    metadata: Option<Value>,
}

/// Hands on what arrives.
async fn read(sender: &broadcast::Sender<News>, socket: &mut Watched) -> Why {
    let mut waited = Instant::now();
    loop {
        match socket.next(TICK).await {
            Heard::Message(message) => {
                if let Some(state) = parse(&message) {
                    // Nobody waits: nobody is told.
                    let _ = sender.send(News::State(Arc::new(state)));
                }
            }
            Heard::Nothing => {}
            Heard::Broken => return Why::Broken,
        }
        if sender.receiver_count() > 0 {
            waited = Instant::now();
        } else if waited.elapsed() > LINGER {
            return Why::NobodyWaits;
        }
    }
}

fn parse(message: &Message) -> Option<OperationState> {
    let event: Event = match message {
        Message::Text(text) => serde_json::from_str(text).ok()?,
        Message::Binary(bytes) => serde_json::from_slice(bytes).ok()?,
    };
    event.kind.filter(|kind| kind == "operation")?;
    OperationState::parse(event.metadata?)
}

/// Connects again, within the reconnect deadline and as long as somebody waits.
async fn again(client: &Client, sender: &broadcast::Sender<News>) -> Result<Socket, (ErrorKind, String)> {
    let deadline = client.reconnect_deadline();
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match open(client).await {
            Ok(socket) => return Ok(socket),
            Err(error) => error,
        };
        if begun.elapsed().saturating_add(pause) > deadline || sender.receiver_count() == 0 {
            let words = format!("the engine was away for {} s: {}", begun.elapsed().as_secs(), error.message());
            return Err((ErrorKind::Unavailable, words));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
