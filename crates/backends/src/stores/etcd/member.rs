//! One member of etcd: a request to it, with who we are, and its answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use roadstead_core::store::closed;
use roadstead_core::{ErrorKind, Secret};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::failure::{Failure, Next, Tried};
use super::wire::{self, Answer, Authenticated};

/// An answer that is read as a whole is never longer than this.
const ANSWER_MAX: usize = 64 * 1024 * 1024;
/// So long another one is waited for who asks who we are: less than a try has.
const ANOTHER: Duration = Duration::from_millis(300);
/// Of what is said about a failure, so much is read.
const WORDS_MAX: usize = 64 * 1024;

/// One member.
#[derive(Debug)]
pub(super) struct Member {
    base: String,
    /// When it answered last.
    heard: Mutex<Option<Instant>>,
}

/// Who we are, and what shows it for now.
pub(super) struct Login {
    user: String,
    password: Secret,
    token: watch::Sender<Option<HeaderValue>>,
    /// Whether somebody asks for another one.
    asking: AtomicBool,
}

/// How members are spoken with.
pub(super) struct Link {
    /// Nothing after the store was closed, and with it all connections that nobody uses.
    http: Mutex<Option<reqwest::Client>>,
    closed: watch::Sender<bool>,
    login: Option<Login>,
}

impl Link {
    pub(super) fn new(http: reqwest::Client, login: Option<(String, Secret)>) -> Self {
        let login = login.map(|(user, password)| Login {
            user,
            password,
            token: watch::Sender::new(None),
            asking: AtomicBool::new(false),
        });
        Link { http: Mutex::new(Some(http)), closed: watch::Sender::new(false), login }
    }

    fn http(&self) -> Tried<reqwest::Client> {
        let http = self.http.lock().unwrap_or_else(PoisonError::into_inner).clone();
        http.ok_or_else(|| Failure { error: closed(), next: Next::Stop })
    }

    /// Gives up all connections.
    pub(super) fn close(&self) {
        self.http.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.closed.send_replace(true);
    }

    /// Waits until it is closed.
    pub(super) fn over(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closed = self.closed.subscribe();
        async move { drop(closed.wait_for(|closed| *closed).await) }
    }
}

impl Member {
    pub(super) fn new(base: String) -> Self {
        Member { base, heard: Mutex::default() }
    }

    /// Host and port, for people.
    pub(super) fn name(&self) -> &str {
        self.base.split_once("://").map_or(&self.base, |(_, name)| name)
    }

    /// Whether it answered within this time.
    pub(super) fn heard_within(&self, time: Duration) -> bool {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|heard| heard.elapsed() < time)
    }

    /// It has just answered, and is one of ours.
    pub(super) fn answers(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Sends a request, whose answer must begin within `limit`; nothing but success is an answer. When what shows who we are is
    /// over, that is renewed, once.
    pub(super) async fn send(
        &self,
        link: &Link,
        path: &str,
        body: &Bytes,
        limit: Duration,
    ) -> Tried<reqwest::Response> {
        let sent = async {
            let token = self.token(link, None).await?;
            match self.post(link, path, body, token.clone()).await {
                Err(Failure { next: Next::Renew, .. }) if token.is_some() => {
                    let token = self.token(link, token).await?;
                    self.post(link, path, body, token).await
                }
                answer => answer,
            }
        };
        timeout(limit, sent).await.unwrap_or_else(|_| Err(Failure::silent(self.name())))
    }

    /// Sends a request, and reads the whole answer, which must begin within `limit` and end within `whole`.
    pub(super) async fn ask<T: Answer>(
        &self,
        link: &Link,
        path: &str,
        body: &Bytes,
        (limit, whole): (Duration, Duration),
    ) -> Tried<T> {
        let read = async {
            let answer = self.send(link, path, body, limit).await?;
            self.read(answer).await
        };
        timeout(whole, read).await.unwrap_or_else(|_| Err(Failure::silent(self.name())))
    }

    async fn post(
        &self,
        link: &Link,
        path: &str,
        body: &Bytes,
        token: Option<HeaderValue>,
    ) -> Tried<reqwest::Response> {
        let mut request = link
            .http()?
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/json")
            // Whoever has lost the others says so at once, instead of after its own time limit, and ends watches.
            .header("grpc-metadata-hasleader", "true");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        let answer = request.body(body.clone()).send().await.map_err(|cause| Failure::transport(self.name(), cause))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let mut words = BytesMut::new();
        let mut body = answer.bytes_stream();
        // What has come until the body breaks off is all that can be told.
        while let Some(Ok(piece)) = body.next().await {
            words.extend_from_slice(&piece);
            if words.len() > WORDS_MAX {
                break;
            }
        }
        Err(Failure::answer(self.name(), status.as_u16(), &words))
    }

    async fn read<T: Answer>(&self, answer: reqwest::Response) -> Tried<T> {
        let mut whole = BytesMut::new();
        let mut body = answer.bytes_stream();
        while let Some(piece) = body.next().await {
            // What broke off had begun, so it is not a matter of connecting.
            let piece =
                piece.map_err(|cause| Failure { next: Next::Unclear, ..Failure::transport(self.name(), cause) })?;
            if whole.len() + piece.len() > ANSWER_MAX {
                let text = format!("etcd at {} answers with more than {ANSWER_MAX} bytes", self.name());
                return Err(Failure::new(ErrorKind::ResourceExhausted, text, Next::TooLong));
            }
            whole.extend_from_slice(&piece);
        }
        wire::parse(self.name(), &whole)
    }

    /// What shows who we are; another one than the one that is over.
    pub(super) async fn token(&self, link: &Link, over: Option<HeaderValue>) -> Tried<Option<HeaderValue>> {
        let Some(login) = &link.login else { return Ok(None) };
        let usable = |token: &Option<HeaderValue>| token.is_some() && *token != over;
        let now = login.token.borrow().clone();
        if usable(&now) {
            return Ok(now);
        }
        // One asks for all, but nobody waits long for another one: he may ask a member that is silent, or not be polled.
        let asking = Asking::begin(login);
        if asking.is_none() {
            let mut renewed = login.token.subscribe();
            let another = async { usable(&renewed.borrow()) || renewed.changed().await.is_ok() };
            if timeout(ANOTHER, another).await == Ok(true) {
                let token = login.token.borrow().clone();
                if token.is_none() || usable(&token) {
                    return Ok(token);
                }
            }
        }
        let token = self.authenticate(link, login).await?;
        login.token.send_replace(token.clone());
        Ok(token)
    }

    async fn authenticate(&self, link: &Link, login: &Login) -> Tried<Option<HeaderValue>> {
        let body = Bytes::from(json!({"name": login.user, "password": login.password.expose()}).to_string());
        let answer = match self.post(link, "/v3/auth/authenticate", &body, None).await {
            Ok(answer) => self.read::<Authenticated>(answer).await,
            Err(failure) => Err(failure),
        };
        match answer {
            Ok(answer) => {
                let mut token = HeaderValue::from_str(&answer.token).map_err(|_| {
                    let text = format!("etcd at {} gives a token that is none", self.name());
                    Failure::new(ErrorKind::Unexpected, text, Next::Elsewhere)
                })?;
                token.set_sensitive(true);
                Ok(Some(token))
            }
            Err(failure) if failure.error.message().ends_with("authentication is not enabled") => {
                tracing::warn!(member = self.name(), "etcd asks nobody who they are, though we have a user there");
                Ok(None)
            }
            // Whoever was to be told is not asked yet, so nothing was done.
            Err(failure) if failure.next == Next::Unclear => Err(Failure { next: Next::Elsewhere, ..failure }),
            Err(failure) => Err(failure),
        }
    }
}

/// That somebody asks who we are.
struct Asking<'a>(&'a Login);

impl<'a> Asking<'a> {
    /// None when somebody does already.
    fn begin(login: &'a Login) -> Option<Self> {
        (!login.asking.swap(true, Ordering::AcqRel)).then_some(Asking(login))
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.store(false, Ordering::Release);
    }
}
