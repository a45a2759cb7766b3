//! Watches: one connection to one member for each, which goes on at another member when that one is gone or silent.
//!
//! A watch begins at the revision after which it is to tell, and passes that one over. So etcd itself says when anything behind it is
//! forgotten; a watch that began one later could miss a deletion at just the revision up to which etcd was compacted (up to 3.4.35 and
//! 3.5.17 it forgets that, too, <https://github.com/etcd-io/etcd/issues/19179>).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use roadstead_core::store::{Change, Key, Prefix, Revision, Watched};
use roadstead_core::{ErrorKind, ItemStream, Result};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::failure::{Failure, Next, Tried};
use super::member::Member;
use super::members::Members;
use super::space::{Space, Span};
use super::wire::{self, Answer, Event, Streamed, WatchAnswer};

/// After so much silence a member is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(3);
/// How long it is tried to go on before a watch ends with an error.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// What is told at once has no more bytes; whoever is that far behind lists anew.
const MESSAGE_MAX: usize = 64 * 1024 * 1024;

/// Begins a watch.
pub(super) async fn begin(
    members: Arc<Members>,
    space: Space,
    prefix: &Prefix,
    after: Revision,
) -> Result<ItemStream<Watched>> {
    let span = space.below(prefix);
    let told = Told { last: after.0, keys: None };
    let mut watch = Watch { members, space, span, told, messages: None, ready: VecDeque::new(), over: false };
    let deadline = watch.members.deadline();
    watch.connect(deadline).await?;
    let over = watch.members.link().over();
    Ok(stream::unfold(watch, |mut watch| async move {
        let item = watch.next().await?;
        Some((item, watch))
    })
    .take_until(over)
    .fuse()
    .boxed())
}

struct Watch {
    members: Arc<Members>,
    space: Space,
    span: Span,
    told: Told,
    messages: Option<Messages>,
    ready: VecDeque<Watched>,
    over: bool,
}

/// How far everything was told.
struct Told {
    last: u64,
    /// Which keys were told of that revision; nothing when it is known that all were.
    keys: Option<BTreeSet<Key>>,
}

impl Watch {
    async fn next(&mut self) -> Option<Result<Watched>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(Ok(item));
            }
            if self.over {
                return None;
            }
            let heard = match &mut self.messages {
                Some(messages) => messages.next(&self.members).await,
                None => {
                    if let Err(error) = self.connect(PATIENCE).await {
                        self.over = true;
                        return Some(Err(error));
                    }
                    continue;
                }
            };
            match heard.and_then(|answer| self.take(answer)) {
                Ok(()) => {}
                Err(failure) => {
                    tracing::debug!(error = %failure.error, "a watch goes on elsewhere");
                    self.messages = None;
                    // What is read of an overlong message is worth nothing.
                    if matches!(failure.next, Next::TooLong | Next::Compacted) {
                        self.resync();
                    }
                }
            }
        }
    }

    fn resync(&mut self) {
        self.over = true;
        self.messages = None;
        self.ready.push_back(Watched::Resync);
    }

    /// Takes one message.
    fn take(&mut self, answer: WatchAnswer) -> Tried<()> {
        if answer.canceled {
            return Err(self.canceled(&answer));
        }
        let reached = answer.header().revision;
        if answer.events.is_empty() {
            // All until then was told, if anything.
            if !answer.created && reached > self.told.last {
                self.told = Told { last: reached, keys: None };
            }
            return Ok(());
        }
        let mut events = VecDeque::from(answer.events);
        while let Some(revision) = events.front().map(|event| event.kv.mod_revision) {
            let until = events.iter().position(|event| event.kv.mod_revision != revision).unwrap_or(events.len());
            let of_one: Vec<Event> = events.drain(..until).collect();
            if !self.tell(revision, of_one) {
                self.resync();
                return Ok(());
            }
        }
        Ok(())
    }

    fn canceled(&self, answer: &WatchAnswer) -> Failure {
        let name = self.messages.as_ref().map_or("", |messages| &messages.member);
        canceled(name, answer)
    }

    /// Tells what one transaction changed; false when that cannot be told as one any more.
    fn tell(&mut self, revision: u64, events: Vec<Event>) -> bool {
        let mut changes: Vec<Change> = events.into_iter().filter_map(|event| self.space.change(event)).collect();
        if revision < self.told.last {
            return true;
        }
        if revision == self.told.last {
            // It comes again after another member was gone to; but nothing of it may be new.
            return self.told.keys.as_ref().is_none_or(|told| changes.iter().all(|change| told.contains(change.key())));
        }
        changes.sort_by(|a, b| a.key().cmp(b.key()));
        let keys = changes.iter().map(|change| change.key().clone()).collect();
        self.told = Told { last: revision, keys: Some(keys) };
        if !changes.is_empty() {
            self.ready.push_back(Watched::Changes { changes, revision: Revision(revision) });
        }
        true
    }

    /// Goes on at whichever member lets us, until `patience` is over.
    async fn connect(&mut self, patience: Duration) -> Result<()> {
        let end = Instant::now() + patience;
        let mut pause = PAUSE;
        let mut short = self.members.try_limit();
        let body = Bytes::from(self.request());
        let members = Arc::clone(&self.members);
        loop {
            let mut last = None;
            let mut hopeless = true;
            for member in members.in_turn() {
                let left = end.saturating_duration_since(Instant::now());
                match Messages::open(&members, member, &body, left.min(short)).await {
                    Ok(messages) => {
                        self.messages = Some(messages);
                        members.prefer(member);
                        return Ok(());
                    }
                    Err(failure) if failure.next == Next::Compacted => {
                        self.resync();
                        return Ok(());
                    }
                    Err(failure) if matches!(failure.next, Next::Stop | Next::Renew) => return Err(failure.harmless()),
                    Err(failure) => {
                        hopeless &= failure.is_hopeless();
                        last = Some(failure);
                    }
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            match last {
                Some(failure) if hopeless || left <= pause => return Err(failure.harmless()),
                _ => sleep(pause).await,
            }
            pause = PAUSE_MAX.min(pause * 2);
            short *= 2;
        }
    }

    fn request(&self) -> String {
        // Nothing ever happens at the first revision, and 0 would mean from now on.
        json!({"create_request": {
            "key": wire::bytes(&self.span.begin),
            "range_end": wire::bytes(&self.span.end),
            "start_revision": wire::number(self.told.last.max(1)),
            "progress_notify": true,
            // The gateway of some versions takes four mebibytes at once only.
            "fragment": true,
        }})
        .to_string()
    }
}

fn canceled(member: &str, answer: &WatchAnswer) -> Failure {
    let reason = answer.cancel_reason.trim_start_matches("etcdserver: ");
    if answer.compact_revision > 0 || reason.ends_with("compacted") {
        return Failure::new(ErrorKind::Conflict, reason, Next::Compacted);
    }
    // Members up to 3.5 also say that when a token is over.
    if reason.ends_with("permission denied") || reason.ends_with("invalid auth token") {
        return Failure::new(ErrorKind::PermissionDenied, format!("etcd at {member}: {reason}"), Next::Renew);
    }
    Failure::new(ErrorKind::Unavailable, format!("etcd at {member} ends a watch: {reason}"), Next::Elsewhere)
}

/// What a member says to one watch.
struct Messages {
    member: String,
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    read: BytesMut,
    /// So much of it has no line's end.
    searched: usize,
    ended: bool,
    /// The beginning of what is told in several messages, and how long these were.
    begun: Vec<Event>,
    begun_bytes: usize,
}

impl Messages {
    /// Asks for a watch, and waits until the member says that it is there. When what shows who we are may be over, it is renewed, once.
    async fn open(members: &Members, member: &Member, body: &Bytes, limit: Duration) -> Tried<Self> {
        let opened = async {
            match Messages::once(members, member, body, limit).await {
                Err(failure) if failure.next == Next::Renew => {
                    let over = member.token(members.link(), None).await?;
                    if over.is_none() {
                        return Err(Failure { next: Next::Stop, ..failure });
                    }
                    member.token(members.link(), over).await?;
                    let again = Messages::once(members, member, body, limit).await;
                    again.map_err(|failure| match failure.next {
                        Next::Renew => Failure { next: Next::Stop, ..failure },
                        _ => failure,
                    })
                }
                opened => opened,
            }
        };
        timeout(limit, opened).await.unwrap_or_else(|_| Err(Failure::silent(member.name())))
    }

    async fn once(members: &Members, member: &Member, body: &Bytes, limit: Duration) -> Tried<Self> {
        let answer = member.send(members.link(), "/v3/watch", body, limit).await?;
        let (body, read) = (answer.bytes_stream().boxed(), BytesMut::new());
        let mut messages = Messages {
            member: member.name().to_owned(),
            body,
            read,
            searched: 0,
            ended: false,
            begun: Vec::new(),
            begun_bytes: 0,
        };
        let first = messages.message().await?;
        members.check(member, first.header())?;
        if first.canceled {
            return Err(canceled(member.name(), &first));
        }
        if !first.created {
            let text = format!("etcd at {} does not say that a watch is there", member.name());
            return Err(Failure::new(ErrorKind::Unexpected, text, Next::Elsewhere));
        }
        // One that has lost the others, and does not know it yet, has nothing to tell.
        members.look(member, Duration::ZERO, limit).await?;
        Ok(messages)
    }

    /// The next message. Its member is asked whether it is there whenever nothing was heard for long.
    async fn next(&mut self, members: &Members) -> Tried<WatchAnswer> {
        loop {
            if let Ok(message) = timeout(SILENCE, self.whole()).await {
                return message;
            }
            let member = members.in_turn().find(|member| member.name() == self.member);
            if let Some(member) = member {
                members.look(member, SILENCE, members.try_limit()).await?;
            }
        }
    }

    /// What is told next, of several messages when it is long. Dropping it loses nothing.
    async fn whole(&mut self) -> Tried<WatchAnswer> {
        loop {
            let mut message = self.message().await?;
            if !message.fragment {
                self.begun.append(&mut message.events);
                self.begun_bytes = 0;
                message.events = std::mem::take(&mut self.begun);
                return Ok(message);
            }
            self.begun_bytes +=
                message.events.iter().map(|event| event.kv.key.len() + event.kv.value.len()).sum::<usize>();
            self.begun.append(&mut message.events);
            if self.begun_bytes > MESSAGE_MAX {
                return Err(self.too_long());
            }
        }
    }

    fn too_long(&self) -> Failure {
        let text = format!("etcd at {} tells more than {MESSAGE_MAX} bytes at once", self.member);
        Failure::new(ErrorKind::ResourceExhausted, text, Next::TooLong)
    }

    /// The next message, which is a line, or what is left at the end. Dropping it loses nothing.
    async fn message(&mut self) -> Tried<WatchAnswer> {
        loop {
            let rest = self.read.get(self.searched..).unwrap_or_default();
            if let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(self.searched + at + 1);
                self.searched = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return self.parse(&line);
            }
            self.searched = self.read.len();
            if self.searched > MESSAGE_MAX {
                return Err(self.too_long());
            }
            match self.body.next().await {
                Some(Ok(piece)) => self.read.extend_from_slice(&piece),
                Some(Err(cause)) => return Err(Failure::transport(&self.member, cause)),
                None if self.ended || self.read.trim_ascii().is_empty() => {
                    let text = format!("etcd at {} ends a watch", self.member);
                    return Err(Failure::new(ErrorKind::Unavailable, text, Next::Elsewhere));
                }
                None => {
                    self.ended = true;
                    let line = self.read.split();
                    self.searched = 0;
                    return self.parse(&line);
                }
            }
        }
    }

    fn parse(&self, line: &[u8]) -> Tried<WatchAnswer> {
        let message: Streamed<WatchAnswer> = wire::parse(&self.member, line)?;
        Ok(message.result.unwrap_or_default())
    }
}
