//! The members of etcd as one: a call goes to the one that answered last, and to the next one when that fails.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use roadstead_core::{Error, ErrorKind, Result, Retry};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::failure::{Failure, Next, Tried};
use super::member::{Link, Member};
use super::options::EtcdOptions;
use super::wire::{self, Answer, Header, Range};

/// The pause after all members failed; it doubles each time.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// A call has time for so many tries at least, one after the other.
const TRIES: u32 = 5;
/// A member that does not answer within this time is left for the next one, when that does no harm; within twice that, when all of
/// them were left once, and so on: they may be slow.
const TRY_MAX: Duration = Duration::from_secs(1);
/// A member that left a call without an answer for so long until its caller gave up is not asked first by the next one.
const GIVEN_UP: Duration = Duration::from_millis(200);

/// What becomes of a request when it is not known whether it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// It only reads, and is sent to the next member.
    Reads,
    /// It writes, but doing it twice is as good as doing it once: it is sent to the next member, too.
    Repeats,
    /// The same, but a member does it alone: one that leads no more, and does not know it yet, answers, too. So it is asked afterwards
    /// whether it still has the majority.
    Renews,
    /// It is never sent again.
    Once,
}

impl Care {
    /// A member that was not heard of for so long is looked at before it is sent this. What only reads may go anywhere, since its
    /// answer says where it came from.
    const fn recent(self) -> Option<Duration> {
        match self {
            Care::Reads => None,
            Care::Repeats | Care::Renews => Some(Duration::from_secs(30)),
            Care::Once => Some(Duration::from_secs(1)),
        }
    }
}

/// An answer, or why there is none.
pub(super) struct Asked<T> {
    pub(super) answer: Tried<T>,
    /// Whether an earlier try of the same call may have been done, too.
    pub(super) unclear: bool,
}

/// All members.
pub(super) struct Members {
    link: Link,
    members: Vec<Member>,
    /// The one that answered last.
    first: AtomicUsize,
    /// Which etcd it is: a member of another one must not be taken for one of these.
    cluster: OnceLock<u64>,
    deadline: Duration,
    /// What asks for the revision that is reached.
    look: Bytes,
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.members.iter().map(Member::name)).finish()
    }
}

impl Members {
    /// Those of the options, which are good. `nowhere` is a key that is ours and never there.
    pub(super) fn new(options: &EtcdOptions, nowhere: &str) -> Result<Self> {
        let try_limit = try_limit(options.deadline);
        let http = reqwest::Client::builder()
            // A redirected request would show who we are to who knows whom, and so would a proxy.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Each watch has a connection of its own.
            .http1_only()
            .pool_max_idle_per_host(16)
            // Less than a try has, so that it is known that nothing was sent.
            .connect_timeout(try_limit / 2)
            .tcp_nodelay(true)
            // A watch may be silent for long, and so may the way to it.
            .tcp_keepalive(Duration::from_secs(5))
            .tcp_keepalive_interval(Duration::from_secs(2))
            .tcp_keepalive_retries(3)
            .tls_backend_preconfigured(options.tls()?)
            .user_agent(concat!("roadstead/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|cause| {
                Error::new(ErrorKind::Unexpected, format!("HTTP cannot be set up: {cause}")).with_source(cause)
            })?;
        let login = options.user.clone().zip(options.password.clone());
        Ok(Members {
            link: Link::new(http, login),
            members: options.endpoints.iter().cloned().map(Member::new).collect(),
            first: AtomicUsize::new(0),
            cluster: OnceLock::new(),
            deadline: options.deadline,
            look: json!({"key": wire::bytes(nowhere), "keys_only": true}).to_string().into(),
        })
    }

    /// How long a call may take.
    pub(super) fn deadline(&self) -> Duration {
        self.deadline
    }

    /// How long a member may take before the next one is tried.
    pub(super) fn try_limit(&self) -> Duration {
        try_limit(self.deadline)
    }

    /// Each of them once, beginning with the one that answered last.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = &Member> {
        let count = self.members.len();
        self.members.iter().cycle().skip(self.first.load(Ordering::Relaxed)).take(count)
    }

    /// From now on this one is asked first.
    pub(super) fn prefer(&self, member: &Member) {
        if let Some(index) = self.members.iter().position(|other| std::ptr::eq(other, member)) {
            self.first.store(index, Ordering::Relaxed);
        }
    }

    /// From now on another one than this is asked first.
    fn avoid(&self, member: &Member) {
        if let (Some(first), Some(next)) = (self.in_turn().next(), self.in_turn().nth(1))
            && std::ptr::eq(first, member)
        {
            self.prefer(next);
        }
    }

    /// How members are spoken with.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Asks for something that may be asked for twice.
    pub(super) async fn read<T: Answer>(&self, path: &str, body: &Value) -> Result<T> {
        self.ask(path, body, Care::Reads).await.answer.map_err(Failure::harmless)
    }

    /// The revision that etcd has reached.
    pub(super) async fn revision(&self) -> Result<u64> {
        let body = self.look.clone();
        let reached = self.ask_bytes::<Range>("/v3/kv/range", body, Care::Reads).await;
        Ok(reached.answer.map_err(Failure::harmless)?.header.revision)
    }

    /// Asks one member after the other, until one answers or there is no time left.
    pub(super) async fn ask<T: Answer>(&self, path: &str, body: &Value, care: Care) -> Asked<T> {
        self.ask_bytes(path, body.to_string().into(), care).await
    }

    async fn ask_bytes<T: Answer>(&self, path: &str, body: Bytes, care: Care) -> Asked<T> {
        let end = Instant::now() + self.deadline;
        let mut unclear = false;
        let mut pause = PAUSE;
        let mut short = self.try_limit();
        loop {
            let mut last = None;
            let mut hopeless = true;
            for member in self.in_turn() {
                let left = end.saturating_duration_since(Instant::now());
                let waiting = Waiting::begin(self, member);
                let answer = self.once(member, path, &body, care, (short.min(left), left)).await;
                waiting.end();
                match answer {
                    Ok(answer) => {
                        self.prefer(member);
                        return Asked { answer: Ok(answer), unclear };
                    }
                    Err(failure) => {
                        let over = end <= Instant::now();
                        let stop = match failure.next {
                            Next::Elsewhere => false,
                            Next::Unclear => {
                                unclear = true;
                                care == Care::Once
                            }
                            Next::Stop | Next::Renew | Next::TooLong | Next::Compacted => true,
                        };
                        if stop || over {
                            return Asked { answer: Err(failure), unclear };
                        }
                        tracing::debug!(member = member.name(), error = %failure.error, "the next member is tried");
                        hopeless &= failure.is_hopeless();
                        last = Some(failure);
                    }
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            match last {
                Some(failure) if hopeless || left <= pause => return Asked { answer: Err(failure), unclear },
                _ => sleep(pause).await,
            }
            pause = PAUSE_MAX.min(pause * 2);
            short *= 2;
        }
    }

    /// Asks one member, which has the first time to begin its answer and the second one to end it.
    async fn once<T: Answer>(
        &self,
        member: &Member,
        path: &str,
        body: &Bytes,
        care: Care,
        (short, left): (Duration, Duration),
    ) -> Tried<T> {
        // What cannot be sent again is not sent to who may be gone, and no write to who may be of another etcd.
        if let Some(recent) = care.recent() {
            self.look(member, recent, short).await?;
        }
        let limit = if care == Care::Once { left } else { short };
        let answer: T = member.ask(&self.link, path, body, (limit, left)).await?;
        self.check(member, answer.header())?;
        if care == Care::Renews {
            self.look(member, Duration::ZERO, short).await?;
        }
        Ok(answer)
    }

    /// Asks a member that was not heard of for so long whether it is there, and one with the majority.
    pub(super) async fn look(&self, member: &Member, recent: Duration, limit: Duration) -> Tried<()> {
        // Each for himself: who waited for another one's look might wait for somebody whom nobody polls.
        if member.heard_within(recent) {
            return Ok(());
        }
        let seen = member.ask::<Range>(&self.link, "/v3/kv/range", &self.look, (limit, limit)).await;
        seen.and_then(|seen| self.check(member, seen.header)).map_err(|failure| match failure.next {
            Next::Unclear => Failure { error: failure.error.with_retry(Retry::Safe), next: Next::Elsewhere },
            _ => failure,
        })
    }

    /// Takes an answer for one of ours, or refuses it.
    pub(super) fn check(&self, member: &Member, header: Header) -> Tried<()> {
        if header.cluster_id != 0 && *self.cluster.get_or_init(|| header.cluster_id) != header.cluster_id {
            let text = format!("etcd at {} is not of the same cluster as the others", member.name());
            return Err(Failure::new(ErrorKind::Unexpected, text, Next::Elsewhere));
        }
        member.answers();
        Ok(())
    }
}

fn try_limit(deadline: Duration) -> Duration {
    TRY_MAX.min(deadline / TRIES)
}

/// A call that waits for a member. Callers may have less patience than a try has, and would ask the same silent member each time.
struct Waiting<'a> {
    members: &'a Members,
    member: &'a Member,
    since: Instant,
    over: bool,
}

impl<'a> Waiting<'a> {
    fn begin(members: &'a Members, member: &'a Member) -> Self {
        Waiting { members, member, since: Instant::now(), over: false }
    }

    fn end(mut self) {
        self.over = true;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.over && self.since.elapsed() > GIVEN_UP {
            self.members.avoid(self.member);
        }
    }
}
