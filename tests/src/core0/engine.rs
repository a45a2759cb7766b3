//! The jobs of a node or a container: which there are, who waits for whom, and the commands that are about jobs.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use uuid::Uuid;

use super::arguments::Fields;
use super::builtins::{Answer, Built, Failure};
use super::command::Command;
use super::job::{Job, Said, Work};
use super::message::{self, Message, RESULT_JSON, STDERR, STDOUT};
use super::proc_files::Usage;
use super::result::JobResult;

/// The version that replies tell; the one of the captures.
const PONG: &str = "PONG Version: master @Revision: 5ca6d8a630d2df93873f9fb64fe9194a5bb4203e";
/// What a container knows; all else is unknown there.
const INSIDE: [&str; 5] = ["filesystem.", "info.", "ip.", "process.", "core."];
const SIGTERM: i32 = nix::libc::SIGTERM;
const SIGKILL: i32 = nix::libc::SIGKILL;

/// What an answered command is answered with.
pub(crate) type Answered = Result<Answer, Failure>;

/// Where messages, results and measurements go.
#[async_trait]
pub(crate) trait Outlet: Send + Sync {
    async fn message(&self, job: &str, message: &Message);
    async fn result(&self, result: JobResult);
    async fn statistic(&self, statistic: Statistic);
}

/// A measurement that a job printed.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Statistic {
    pub(crate) operation: String,
    pub(crate) key: String,
    pub(crate) value: f64,
    pub(crate) tags: Vec<Tag>,
}

/// A tag of a measurement.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Tag {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Commands beside those that every engine has.
#[async_trait]
pub(crate) trait Commands: Send + Sync {
    /// `None` when there is no such command.
    async fn call(&self, command: &Command) -> Option<Answered>;
}

/// Why a command does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duplicate;

struct Inner {
    outlet: Arc<dyn Outlet>,
    commands: OnceLock<Arc<dyn Commands>>,
    built: Built,
    inside: bool,
    jobs: Mutex<HashMap<String, Arc<Job>>>,
    queues: Mutex<HashMap<String, VecDeque<Arc<Job>>>>,
    places: Semaphore,
}

/// The engine; copies are the same one.
#[derive(Clone)]
pub(crate) struct Engine {
    inner: Arc<Inner>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Engine").field("inside", &self.inner.inside).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    pub(crate) fn new(outlet: Arc<dyn Outlet>, built: Built, inside: bool, max_jobs: usize) -> Self {
        let inner = Inner {
            outlet,
            commands: OnceLock::new(),
            built,
            inside,
            jobs: Mutex::default(),
            queues: Mutex::default(),
            places: Semaphore::new(max_jobs),
        };
        Engine { inner: Arc::new(inner) }
    }

    /// Adds the commands that only this one has.
    pub(crate) fn extend(&self, commands: Arc<dyn Commands>) {
        assert!(self.inner.commands.set(commands).is_ok(), "an engine is extended once");
    }

    pub(crate) fn is_inside(&self) -> bool {
        self.inner.inside
    }

    /// Runs a command when it is its turn.
    ///
    /// # Errors
    /// When a job with that id is there already.
    pub(crate) fn run(&self, command: Command) -> Result<Arc<Job>, Duplicate> {
        let work = match command.command.as_str() {
            "core.system" => Work::System,
            "bash" => Work::Bash,
            _ => Work::Call,
        };
        self.run_work(command, work)
    }

    /// Runs `work` under the name of a command.
    ///
    /// # Errors
    /// When a job with that id is there already.
    pub(crate) fn run_work(&self, mut command: Command, work: Work) -> Result<Arc<Job>, Duplicate> {
        if command.id.is_empty() {
            command.id = Uuid::new_v4().to_string();
        }
        let job = Arc::new(Job::new(command, work));
        {
            let mut jobs = locked(&self.inner.jobs);
            if jobs.contains_key(&job.command.id) {
                return Err(Duplicate);
            }
            jobs.insert(job.command.id.clone(), job.clone());
        }
        let queue = &job.command.queue;
        if !queue.is_empty() {
            let mut queues = locked(&self.inner.queues);
            let waiting = queues.entry(queue.clone()).or_default();
            waiting.push_back(job.clone());
            if waiting.len() > 1 {
                return Ok(job);
            }
        }
        self.start(job.clone());
        Ok(job)
    }

    fn start(&self, job: Arc<Job>) {
        let engine = self.clone();
        tokio::spawn(async move {
            let place = engine.inner.places.acquire().await;
            let result = job.run(&engine).await;
            drop(place);
            locked(&engine.inner.jobs).remove(&job.command.id);
            engine.inner.outlet.result(result.clone()).await;
            engine.next_of(&job.command.queue);
            job.ended(result);
        });
    }

    fn next_of(&self, queue: &str) {
        if queue.is_empty() {
            return;
        }
        let mut queues = locked(&self.inner.queues);
        let Some(waiting) = queues.get_mut(queue) else { return };
        waiting.pop_front();
        match waiting.front().cloned() {
            Some(next) => self.start(next),
            None => {
                queues.remove(queue);
            }
        }
    }

    pub(crate) fn job(&self, id: &str) -> Option<Arc<Job>> {
        locked(&self.inner.jobs).get(id).cloned()
    }

    fn jobs(&self) -> Vec<Arc<Job>> {
        locked(&self.inner.jobs).values().cloned().collect()
    }

    /// Signals every job that is a process; the others cannot be killed.
    fn terminate_all(&self, signal: i32) -> Vec<Arc<Job>> {
        let mut jobs = self.jobs();
        jobs.retain(|job| job.process().is_some());
        for job in &jobs {
            job.unschedule();
            let _ = job.signal(signal);
        }
        jobs
    }

    /// Ends every process: asks them, and kills those that are still there after `grace`.
    pub(crate) async fn shut_down(&self, grace: Duration) {
        let ending = self.terminate_all(SIGTERM);
        let all = async {
            for job in &ending {
                job.wait().await;
            }
        };
        if timeout(grace, all).await.is_err() {
            for job in self.terminate_all(SIGKILL) {
                job.wait().await;
            }
        }
    }

    /// A message of a job.
    pub(crate) async fn said(&self, job: &str, message: &Message) {
        if message.level == message::METRIC
            && let Some(statistic) = statistic(&super::go::text(&message.text))
        {
            self.inner.outlet.statistic(statistic).await;
        }
        self.inner.outlet.message(job, message).await;
    }

    /// Calls the function of a command; what it says goes to `said`.
    pub(crate) fn call(&self, command: Command, said: mpsc::Sender<Said>) {
        let engine = self.clone();
        tokio::spawn(async move {
            let called = tokio::spawn({
                let (engine, said) = (engine.clone(), said.clone());
                async move { engine.answer(&command, &said).await }
            });
            let answer = called.await.unwrap_or_else(|panic| Some(Err(Failure::new(500, panic_text(panic)))));
            for end in answer.map_or_else(|| vec![Said::Unknown], messages_of) {
                let _ = said.send(end).await;
            }
        });
    }

    async fn answer(&self, command: &Command, said: &mpsc::Sender<Said>) -> Option<Answered> {
        let arguments = command.arguments.as_ref();
        let answer = match command.command.as_str() {
            "core.ping" => Ok(json!(PONG)),
            "core.state" => Ok(self.usage()),
            "core.subscribe" => self.subscribe(arguments, said).await,
            "job.list" => self.list(arguments),
            "job.kill" => self.kill(arguments),
            "job.killall" => {
                self.terminate_all(SIGTERM);
                Ok(json!(true))
            }
            "job.unschedule" => self.unschedule(arguments),
            name => {
                if let Some(commands) = self.inner.commands.get()
                    && let Some(answer) = commands.call(command).await
                {
                    return Some(answer);
                }
                if self.inner.inside && !INSIDE.iter().any(|prefix| name.starts_with(prefix)) {
                    return None;
                }
                return self.built(command).await;
            }
        };
        Some(answer.map(Answer::Value))
    }

    /// Calls a built-in function which needs nothing of the engine.
    pub(crate) async fn built(&self, command: &Command) -> Option<Answered> {
        let null = Value::Null;
        self.inner.built.call(&command.command, command.arguments.as_ref().unwrap_or(&null)).await
    }

    fn usage(&self) -> Value {
        let own = i32::try_from(std::process::id()).map(Usage::of).unwrap_or_default();
        let mut usage = own;
        for process in self.jobs().iter().filter_map(|job| job.process()) {
            usage += Usage::of(process.pid);
        }
        json!(usage)
    }

    async fn subscribe(&self, arguments: Option<&Value>, said: &mpsc::Sender<Said>) -> Result<Value, Failure> {
        let mut fields = Fields::of(arguments, "struct { ID string \"json:\\\"id\\\"\" }")?;
        let id = fields.text("id");
        fields.finish(500)?;
        let job = self.job(&id).ok_or_else(|| Failure::new(500, format!("job '{id}' does not exist")))?;
        let mut messages = job.subscribe();
        while let Some(message) = messages.recv().await {
            let _ = said.send(Said::Message(message)).await;
        }
        Ok(Value::Null)
    }

    fn list(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let mut fields = Fields::of(arguments, "job.jobListArguments")?;
        let id = fields.text("id");
        fields.finish(500)?;
        let jobs = if id.is_empty() {
            self.jobs()
        } else {
            let missing = || Failure::new(500, format!("Process with id '{id}' doesn't exist"));
            vec![self.job(&id).ok_or_else(missing)?]
        };
        let entries: Vec<Value> = jobs.iter().map(|job| entry(job)).collect();
        Ok(json!(entries))
    }

    fn kill(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let mut fields = Fields::of(arguments, "job.jobKillArguments")?;
        let (id, signal) = (fields.text("id"), fields.number::<i64>("signal", "syscall.Signal"));
        fields.finish(500)?;
        let Some(job) = self.job(&id) else { return Ok(json!(false)) };
        let signal = if signal == 0 { SIGTERM } else { i32::try_from(signal).unwrap_or(i32::MAX) };
        job.signal(signal).map_err(|reason| Failure::new(500, reason))?;
        Ok(json!(true))
    }

    fn unschedule(&self, arguments: Option<&Value>) -> Result<Value, Failure> {
        let mut fields = Fields::of(arguments, "job.jobUnscheduleArguments")?;
        let id = fields.text("id");
        fields.finish(500)?;
        let job = self.job(&id);
        if let Some(job) = &job {
            job.unschedule();
        }
        Ok(json!(job.is_some()))
    }
}

fn entry(job: &Job) -> Value {
    let process = job.process();
    let usage = process.map(|process| Usage::of(process.pid)).unwrap_or_default();
    json!({
        "cpu": usage.cpu, "rss": usage.rss, "vms": usage.vms, "swap": usage.swap,
        "starttime": job.started(), "cmd": job.command, "pid": process.map_or(0, |process| process.pid),
    })
}

/// What an answer is said in.
fn messages_of(answer: Answered) -> Vec<Said> {
    let messages = match answer {
        Ok(Answer::Value(value)) => vec![Message::end(RESULT_JSON, value.to_string(), 0, false)],
        Err(failure) => vec![Message::end(RESULT_JSON, json!(failure.message).to_string(), failure.code, true)],
        Ok(Answer::Text { data, code, streams: [stdout, stderr] }) => {
            let mut messages = Vec::new();
            if !data.is_empty() {
                // Level 0 is no level of messages: such a text is told by the result alone, as that of a refusal is.
                messages.push(Message::new(0, data));
            }
            for (level, text) in [(STDOUT, stdout), (STDERR, stderr)] {
                if !text.is_empty() {
                    messages.push(Message::new(level, text));
                }
            }
            messages.push(Message::end(if code == 0 { STDOUT } else { STDERR }, "", code, code != 0));
            messages
        }
    };
    messages.into_iter().map(Said::Message).collect()
}

fn panic_text(panic: tokio::task::JoinError) -> String {
    match panic.try_into_panic() {
        Ok(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => payload.downcast_ref::<&str>().copied().unwrap_or("panic").to_owned(),
        },
        Err(_) => "cancelled".to_owned(),
    }
}

/// Parses `metric:value|operation|tag=value,…`. The newline of the line stays where it is.
fn statistic(text: &str) -> Option<Statistic> {
    let parts: Vec<&str> = text.split('|').collect();
    let operation = (*parts.get(1)?).to_owned();
    let tags = if parts.len() == 3 { parts[2] } else { "" };
    let (key, value) = parts.first()?.split_once(':')?;
    let value = value.parse().ok()?;
    let mut id = None;
    let mut found = Vec::new();
    for tag in tags.split(',') {
        let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
        if key == "id" {
            id = Some(value);
        } else {
            found.push(Tag { key: key.to_owned(), value: value.to_owned() });
        }
    }
    if let Some(id) = id.filter(|id| !id.is_empty()) {
        found.push(Tag { key: "id".to_owned(), value: id.to_owned() });
    }
    Some(Statistic { operation, key: key.trim_matches(' ').to_owned(), value, tags: found })
}
