//! One job: a command that runs, perhaps more than once, until there is a result.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::command::Command;
use super::engine::Engine;
use super::message::{self, Message};
use super::process::{self, NotBegun, Process, SystemArguments};
use super::result::{ERROR, JobResult, SUCCESS, TIMEOUT, UNKNOWN_CMD};

/// Pieces of each of the two streams that a result keeps.
const KEPT: usize = 100;
/// Messages that whoever subscribes gets from before.
const BACKLOG: usize = 10;
/// Go's zero time, which a job that waits has for its start.
const NEVER: i64 = -6_795_364_578_871;

/// Begins something that a job cannot begin by itself.
#[async_trait]
pub(crate) trait Begin: Send + Sync {
    /// Begins it; what it says goes to `messages`, the end included.
    async fn begin(&self, messages: mpsc::Sender<Message>) -> Result<Process, NotBegun>;
}

/// What a job does.
pub(crate) enum Work {
    /// A program.
    System,
    /// A shell script.
    Bash,
    /// A function of the node.
    Call,
    /// A container.
    Other(Box<dyn Begin>),
}

/// What the work says.
pub(crate) enum Said {
    Message(Message),
    /// There is no such command after all.
    Unknown,
}

#[derive(Default)]
struct State {
    started: Option<i64>,
    process: Option<Process>,
    backlog: VecDeque<Message>,
    subscribers: Vec<mpsc::UnboundedSender<Message>>,
}

/// A command while it waits or runs.
pub(crate) struct Job {
    pub(crate) command: Command,
    work: Work,
    state: Mutex<State>,
    signals: mpsc::Sender<i32>,
    signalled: Mutex<Option<mpsc::Receiver<i32>>>,
    unscheduled: watch::Sender<bool>,
    result: watch::Sender<Option<JobResult>>,
}

impl fmt::Debug for Job {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Job").field("command", &self.command).finish_non_exhaustive()
    }
}

impl Job {
    pub(crate) fn new(command: Command, work: Work) -> Self {
        let (signals, signalled) = mpsc::channel(5);
        Job {
            command,
            work,
            state: Mutex::default(),
            signals,
            signalled: Mutex::new(Some(signalled)),
            unscheduled: watch::Sender::new(false),
            result: watch::Sender::new(None),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since 1970.
    pub(crate) fn started(&self) -> i64 {
        self.state().started.unwrap_or(NEVER)
    }

    /// The process, while there is one.
    pub(crate) fn process(&self) -> Option<Process> {
        self.state().process
    }

    /// Sends it a signal, which waits if it does not run just now.
    ///
    /// # Errors
    /// When too many wait.
    pub(crate) fn signal(&self, number: i32) -> Result<(), &'static str> {
        self.signals.try_send(number).map_err(|_| "job not receiving signals")
    }

    /// It does not run once more.
    pub(crate) fn unschedule(&self) {
        self.unscheduled.send_replace(true);
    }

    /// Its last messages, and those to come.
    pub(crate) fn subscribe(&self) -> mpsc::UnboundedReceiver<Message> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state();
        for message in &state.backlog {
            let _ = sender.send(message.clone());
        }
        state.subscribers.push(sender);
        receiver
    }

    /// Waits for its end.
    pub(crate) async fn wait(&self) -> JobResult {
        let mut result = self.result.subscribe();
        let ended = result.wait_for(Option::is_some).await;
        ended.ok().and_then(|result| result.clone()).unwrap_or_default()
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self, engine: &Engine) -> JobResult {
        let signalled = self.signalled.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (_none, nothing) = mpsc::channel(1);
        let mut signals = signalled.unwrap_or(nothing);
        let mut unscheduled = self.unscheduled.subscribe();
        let mut runs = 0;
        loop {
            let result = self.run_once(engine, &mut signals).await;
            if result.state == UNKNOWN_CMD {
                return result;
            }
            let mut again = None;
            if result.state != SUCCESS && self.command.max_restart > 0 {
                runs += 1;
                again = (runs < self.command.max_restart).then_some(Duration::from_secs(1));
            }
            if let Ok(period @ 1..) = u64::try_from(self.command.recurring_period) {
                again = Some(Duration::from_secs(period));
            }
            let Some(pause) = again else { return result };
            tokio::select! {
                () = sleep(pause) => {}
                _ = unscheduled.wait_for(|unscheduled| *unscheduled) => return result,
            }
        }
    }

    /// Whoever waits for its end is told.
    pub(crate) fn ended(&self, result: JobResult) {
        self.state().subscribers.clear();
        self.result.send_replace(Some(result));
    }

    async fn begin(&self, engine: &Engine, said: mpsc::Sender<Said>) -> Result<Option<Process>, NotBegun> {
        let nil = || NotBegun::Panic(super::arguments::NIL.to_owned());
        if let Work::Call = self.work {
            engine.call(self.command.clone(), said);
            return Ok(None);
        }
        let (messages, mut heard) = mpsc::channel(1);
        let begun = match &self.work {
            Work::System => {
                let arguments = SystemArguments::of(self.command.arguments.as_ref().ok_or_else(nil)?);
                process::start(&arguments, engine.is_inside(), messages).await?
            }
            Work::Bash => {
                let arguments = SystemArguments::script(self.command.arguments.as_ref().ok_or_else(nil)?);
                process::start(&arguments, engine.is_inside(), messages).await?
            }
            Work::Other(other) => other.begin(messages).await?,
            Work::Call => return Ok(None),
        };
        tokio::spawn(async move {
            while let Some(message) = heard.recv().await {
                if said.send(Said::Message(message)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Some(begun))
    }

    async fn run_once(&self, engine: &Engine, signals: &mut mpsc::Receiver<i32>) -> JobResult {
        let (started, clock) = (message::milliseconds(), Instant::now());
        self.state().started = Some(started);
        let mut result = JobResult::of(&self.command, ERROR);
        self.run_into(&mut result, engine, signals).await;
        if result.state != UNKNOWN_CMD {
            result.starttime = started;
            result.time = i64::try_from(clock.elapsed().as_millis()).unwrap_or(i64::MAX);
        }
        result
    }

    async fn run_into(&self, result: &mut JobResult, engine: &Engine, signals: &mut mpsc::Receiver<i32>) {
        let (said, mut heard) = mpsc::channel(64);
        let process = match self.begin(engine, said).await {
            Ok(process) => process,
            Err(NotBegun::Refused(code, text)) => {
                result.code = code;
                result.data = text;
                return;
            }
            Err(NotBegun::Panic(text)) => {
                result.critical = format!("PANIC({text})");
                return;
            }
        };
        self.state().process = process;
        let mut streams = [VecDeque::new(), VecDeque::new()];
        let limit = u64::try_from(self.command.max_time).unwrap_or_default();
        let deadline = Instant::now() + Duration::from_secs(limit);
        let mut limited = limit > 0;
        loop {
            tokio::select! {
                Some(number) = signals.recv() => if let Some(process) = process {
                    process.signal(number);
                },
                () = sleep_until(deadline), if limited => {
                    limited = false;
                    result.state = TIMEOUT.to_owned();
                    if let Some(process) = process {
                        process.signal(nix::libc::SIGKILL);
                    }
                }
                next = heard.recv() => match next {
                    Some(Said::Message(message)) => {
                        let last = message.is_last();
                        self.hear(message, result, &mut streams, engine).await;
                        if last {
                            break;
                        }
                    }
                    Some(Said::Unknown) => {
                        result.state = UNKNOWN_CMD.to_owned();
                        return;
                    }
                    None => break,
                },
            }
        }
        self.state().process = None;
        result.streams = Some(streams.map(|pieces| {
            let bytes: Vec<u8> = pieces.into_iter().flatten().collect();
            super::go::text(&bytes)
        }));
    }

    /// Takes one message into the result, and passes it on.
    async fn hear(
        &self,
        mut message: Message,
        result: &mut JobResult,
        streams: &mut [VecDeque<Vec<u8>>; 2],
        engine: &Engine,
    ) {
        if message.flags & message::END != 0 {
            result.state = SUCCESS.to_owned();
        }
        if message.is_last() {
            result.code = message.code;
        }
        match message.level {
            level if message::RESULTS.contains(&level) => {
                result.level = level;
                result.data = super::go::text(&message.text);
            }
            level @ (message::STDOUT | message::STDERR) => {
                let stream = &mut streams[usize::from(level - message::STDOUT)];
                stream.push_back(message.text.clone());
                if stream.len() > KEPT {
                    stream.pop_front();
                }
            }
            0 => result.data = super::go::text(&message.text),
            message::CRITICAL => result.critical = super::go::text(&message.text),
            _ => {}
        }
        message.code = 0;
        message.epoch = message::nanoseconds();
        if self.command.stream {
            message.flags |= message::STREAM;
        }
        {
            let mut state = self.state();
            state.backlog.push_back(message.clone());
            if state.backlog.len() > BACKLOG {
                state.backlog.pop_front();
            }
            state.subscribers.retain(|subscriber| subscriber.send(message.clone()).is_ok());
        }
        engine.said(&self.command.id, &message).await;
    }
}
