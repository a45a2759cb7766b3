//! What stands between a client and a node's Redis, passes everything on, and breaks exactly where it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use roadstead_tests::engines::OwnEngine;
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::AbortHandle;

/// What a proxy says that does not reach its Redis.
const REFUSED: &str = "dial unix /var/run/redis.sock: connect: connection refused";

/// How it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The command is not carried out, and the client is told so, as a node's proxy does.
    Refuse,
    /// The same, in the words of a Redis that is there.
    Say(&'static str),
    /// The command is carried out, and the connection closed in place of the answer.
    Swallow,
}

/// Which commands of Redis it breaks at.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) how: How,
    /// Only those that have a word which begins so.
    pub(crate) word: &'static str,
    /// Not before the result of a command of the node with this name was handed on.
    pub(crate) after: Option<&'static str>,
    /// One in so many.
    pub(crate) every: usize,
    /// So often at most.
    pub(crate) times: usize,
}

#[derive(Default)]
struct State {
    rule: Option<Rule>,
    seen: usize,
    broken: usize,
    /// The names of the commands that were pushed, by their ids.
    pushed: BTreeMap<String, String>,
    /// Of which of them results were handed on.
    answered: BTreeSet<String>,
}

impl State {
    fn breaks(&mut self, words: &[Vec<u8>]) -> Option<How> {
        let rule = self.rule.as_ref()?;
        let begins = |word: &Vec<u8>| word.starts_with(rule.word.as_bytes());
        let is_armed = rule.after.is_none_or(|name| self.answered.contains(name));
        if !is_armed || self.broken == rule.times || !words.iter().any(begins) {
            return None;
        }
        self.seen += 1;
        if !self.seen.is_multiple_of(rule.every) {
            return None;
        }
        self.broken += 1;
        Some(rule.how)
    }

    /// Remembers what is pushed to the node.
    fn pushes(&mut self, words: &[Vec<u8>]) {
        let [push, queue, document] = words else { return };
        if push != b"RPUSH" || queue != b"core:default" {
            return;
        }
        let document: Value = serde_json::from_slice(document).expect("JSON");
        let word = |member: &str| document[member].as_str().expect("a text").to_owned();
        self.pushed.insert(word("id"), word("command"));
    }

    /// Remembers whose result is handed on.
    fn answers(&mut self, words: &[Vec<u8>], reply: &[u8]) {
        let Some(id) = words.get(1).and_then(|key| key.strip_prefix(b"result:")) else { return };
        let is_there = reply.starts_with(b"$") && !reply.starts_with(b"$-1");
        if !is_there || !words[0].ends_with(b"POPLPUSH") {
            return;
        }
        if let Some(name) = self.pushed.get(&String::from_utf8_lossy(id).into_owned()) {
            self.answered.insert(name.clone());
        }
    }
}

/// It listens until it is dropped.
pub(crate) struct Between {
    /// Where nodes are reached through it.
    pub(crate) uri: String,
    state: Arc<Mutex<State>>,
    task: AbortHandle,
}

impl Drop for Between {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Between {
    pub(crate) async fn start(engine: &OwnEngine) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let uri = format!("core0+redis://{}", listener.local_addr().expect("its address"));
        let redis = engine.engine().socket().to_owned();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, redis.clone(), Arc::clone(&shared)));
            }
        });
        Between { uri, state, task: task.abort_handle() }
    }

    /// Breaks so from now on, and in no other way.
    pub(crate) fn breaks(&self, rule: Rule) {
        let mut state = self.state.lock().expect("the state");
        (state.rule, state.seen, state.broken) = (Some(rule), 0, 0);
        state.answered.clear();
    }

    /// How often it broke so far.
    pub(crate) fn broken(&self) -> usize {
        self.state.lock().expect("the state").broken
    }

    /// Breaks no more; how often it did.
    pub(crate) fn mend(&self) -> usize {
        let mut state = self.state.lock().expect("the state");
        state.rule = None;
        state.broken
    }
}

/// Passes on what one client asks, until one of the two ends.
async fn serve(client: TcpStream, redis: PathBuf, state: Arc<Mutex<State>>) {
    let Ok(redis) = UnixStream::connect(redis).await else { return };
    let (mut client, mut redis) = (BufReader::new(client), BufReader::new(redis));
    while let Some(command) = read(&mut client).await {
        let words = words(&command);
        let breaks = {
            let mut state = state.lock().expect("the state");
            state.pushes(&words);
            state.breaks(&words)
        };
        let refusal = match breaks {
            Some(How::Refuse) => Some(REFUSED),
            Some(How::Say(words)) => Some(words),
            _ => None,
        };
        if let Some(words) = refusal {
            if client.write_all(format!("-{words}\r\n").as_bytes()).await.is_err() {
                return;
            }
            continue;
        }
        if redis.write_all(&command).await.is_err() {
            return;
        }
        let Some(reply) = read(&mut redis).await else { return };
        if breaks == Some(How::Swallow) {
            return;
        }
        // Before anybody can ask for what follows.
        state.lock().expect("the state").answers(&words, &reply);
        if client.write_all(&reply).await.is_err() {
            return;
        }
    }
}

/// One command or reply, as it is; none at the end.
async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    let mut left = 1_usize;
    while left > 0 {
        left -= 1;
        let begin = all.len();
        if stream.read_until(b'\n', &mut all).await.ok()? == 0 {
            return None;
        }
        let header = String::from_utf8_lossy(&all[begin..]).trim().to_owned();
        match (all[begin], header[1..].parse::<usize>()) {
            (b'*', Ok(count)) => left += count,
            (b'$', Ok(length)) => {
                let begin = all.len();
                all.resize(begin + length + 2, 0);
                stream.read_exact(&mut all[begin..]).await.ok()?;
            }
            // A line is all of it, and so is a null.
            _ => {}
        }
    }
    Some(all)
}

/// The words of a command, which is an array of texts.
fn words(command: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut rest = command;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let header = String::from_utf8_lossy(&rest[..end]).trim().to_owned();
        rest = &rest[end + 1..];
        if let Some(length) = header.strip_prefix('$').and_then(|length| length.parse::<usize>().ok()) {
            words.push(rest[..length].to_vec());
            rest = &rest[length + 2..];
        }
    }
    words
}
