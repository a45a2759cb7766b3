//! Runs commands as a simulated process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;

use super::parse::{Command, Part, Redirect, Word, parse};
use super::tools;
use crate::memory::files::absolute;
use crate::memory::process::{Handling, Process};
use crate::signal::Signal;
use crate::stream::OutputKind;

/// A status, or the end of the whole shell.
type Flow = Result<i32, Exit>;

/// The shell ends with this exit code.
pub(super) struct Exit(i32);

/// Where a command's output goes.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Process(OutputKind),
    /// Added to the file.
    File(String),
}

/// What one command reads and writes.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    /// Instead of the process's own input.
    pub(super) input: Option<Bytes>,
    pub(super) output: Target,
    pub(super) errors: Target,
}

impl Streams {
    fn of_the_process() -> Self {
        Streams {
            input: None,
            output: Target::Process(OutputKind::Stdout),
            errors: Target::Process(OutputKind::Stderr),
        }
    }
}

/// What a tool works with.
pub(super) struct Context<'a> {
    pub(super) process: &'a Process,
    pub(super) streams: Streams,
    pub(super) directory: String,
    pub(super) env: BTreeMap<String, String>,
}

impl Context<'_> {
    /// Writes to standard output.
    pub(super) async fn print(&self, data: impl Into<Bytes>) {
        self.emit(&self.streams.output, data.into()).await;
    }

    /// Writes a line to standard error, and gives the status 1.
    pub(super) async fn fail(&self, tool: &str, what: &str, reason: impl std::fmt::Display) -> i32 {
        self.emit(&self.streams.errors, format!("{tool}: {what}: {reason}\n").into()).await;
        1
    }

    async fn emit(&self, target: &Target, data: Bytes) {
        match target {
            Target::Process(kind) => self.process.write(*kind, data).await,
            Target::File(path) if path == "/dev/null" => {}
            Target::File(path) => {
                // The file was made (and cut) when the redirection was set up.
                let _ = self.process.view.write(path, &data, true, self.process.now());
            }
        }
    }

    pub(super) fn path(&self, path: &str) -> String {
        absolute(&self.directory, path)
    }
}

/// Runs the process's command line to its end, and gives the exit code.
pub(in crate::memory) async fn main(process: Arc<Process>) -> i32 {
    let mut command = process.command.iter().map(String::as_str);
    let program = command.next().unwrap_or_default();
    let arguments: Vec<String> = command.map(str::to_owned).collect();
    let mut shell = Shell {
        variables: process.env.clone(),
        directory: process.directory.clone(),
        positional: Vec::new(),
        traps: BTreeMap::new(),
        status: 0,
        process: Arc::clone(&process),
        background: JoinSet::new(),
    };
    match tools::base_name(program) {
        "sh" | "ash" => shell.script(&arguments).await,
        tool => shell.tool(tool, &arguments, Streams::of_the_process()).await,
    }
}

struct Shell {
    process: Arc<Process>,
    variables: BTreeMap<String, String>,
    directory: String,
    /// `$0` and what follows.
    positional: Vec<String>,
    /// Commands by signal number.
    traps: BTreeMap<u8, Command>,
    status: i32,
    /// What was begun with `&`. It ends with the shell at the latest: nothing outlives its process here.
    background: JoinSet<()>,
}

impl Shell {
    /// Begins a command with `&`: in a shell of its own, which has all but the traps.
    fn begin(&mut self, command: &Arc<Command>) {
        let mut shell = Shell {
            process: Arc::clone(&self.process),
            variables: self.variables.clone(),
            directory: self.directory.clone(),
            positional: self.positional.clone(),
            traps: BTreeMap::new(),
            status: 0,
            background: JoinSet::new(),
        };
        let command = Arc::clone(command);
        self.background.spawn(async move {
            // Nobody waits for how it ends.
            let _ = shell.run(&command).await;
        });
    }

    async fn script(&mut self, arguments: &[String]) -> i32 {
        match arguments.first().map(String::as_str) {
            Some("-c") => {
                let script = arguments.get(1).cloned().unwrap_or_default();
                self.positional = arguments.get(2..).unwrap_or_default().to_vec();
                self.run_text(&script).await
            }
            Some(path) => {
                let found = self.process.view.read(&absolute(&self.directory, path));
                match found {
                    Ok(script) => self.run_text(&String::from_utf8_lossy(&script)).await,
                    Err(error) => {
                        self.complain(&format!("sh: can't open '{path}': {error}\n")).await;
                        2
                    }
                }
            }
            // A shell without a script reads commands, one line each.
            None => {
                while let Some(line) = self.process.read_line().await {
                    let line = String::from_utf8_lossy(&line).into_owned();
                    match parse(&line) {
                        Ok(command) => {
                            if let Err(Exit(code)) = self.run(&command).await {
                                return code;
                            }
                        }
                        Err(reason) => self.complain(&format!("sh: {reason}\n")).await,
                    }
                }
                self.status
            }
        }
    }

    async fn run_text(&mut self, script: &str) -> i32 {
        match parse(script) {
            Ok(command) => match self.run(&command).await {
                Ok(status) | Err(Exit(status)) => status,
            },
            Err(reason) => {
                self.complain(&format!("sh: syntax error: {reason}\n")).await;
                2
            }
        }
    }

    async fn complain(&self, line: &str) {
        self.process.write(OutputKind::Stderr, line.to_owned().into()).await;
    }

    fn run<'a>(&'a mut self, command: &'a Command) -> BoxFuture<'a, Flow> {
        async move {
            match command {
                Command::Sequence(commands) => {
                    for command in commands {
                        self.status = self.run(command).await?;
                    }
                    Ok(self.status)
                }
                Command::And(left, right) => match self.run(left).await? {
                    0 => self.run(right).await,
                    status => Ok(status),
                },
                Command::Or(left, right) => match self.run(left).await? {
                    0 => Ok(0),
                    _ => self.run(right).await,
                },
                Command::Not(command) => Ok(i32::from(self.run(command).await? == 0)),
                Command::Background(command) => {
                    self.begin(command);
                    Ok(0)
                }
                Command::While { condition, body, until } => {
                    while (self.run(condition).await? == 0) != *until {
                        self.run(body).await?;
                    }
                    Ok(0)
                }
                Command::For { variable, words, body } => {
                    let mut status = 0;
                    for value in self.expand(words) {
                        self.variables.insert(variable.clone(), value);
                        status = self.run(body).await?;
                    }
                    Ok(status)
                }
                Command::If { condition, then, otherwise } => match (self.run(condition).await?, otherwise) {
                    (0, _) => self.run(then).await,
                    (_, Some(otherwise)) => self.run(otherwise).await,
                    (_, None) => Ok(0),
                },
                Command::Simple { assignments, words, redirects } => self.simple(assignments, words, redirects).await,
            }
        }
        .boxed()
    }

    async fn simple(&mut self, assignments: &[(String, Word)], words: &[Word], redirects: &[Redirect]) -> Flow {
        self.process.step().await;
        self.run_traps().await?;
        let words = self.expand(words);
        let mut assigned = BTreeMap::new();
        for (name, value) in assignments {
            assigned.insert(name.clone(), self.expand_one(value));
        }
        let streams = match self.redirect(redirects) {
            Ok(streams) => streams,
            Err(reason) => {
                self.complain(&format!("sh: {reason}\n")).await;
                return Ok(1);
            }
        };
        let Some((name, arguments)) = words.split_first() else {
            self.variables.extend(assigned);
            return Ok(0);
        };
        let outer = self.variables.clone();
        self.variables.extend(assigned);
        let status = match name.as_str() {
            "exit" => {
                let code = arguments.first().map_or(self.status, |code| code.parse().unwrap_or(2));
                return Err(Exit(code & 0xff));
            }
            "exec" => {
                let code = match arguments.split_first() {
                    Some((tool, rest)) => self.tool(tools::base_name(tool), rest, streams).await,
                    None => 0,
                };
                return Err(Exit(code));
            }
            "trap" => {
                self.trap(arguments);
                0
            }
            "cd" => self.change_directory(arguments).await,
            "export" => {
                for argument in arguments {
                    if let Some((name, value)) = argument.split_once('=') {
                        self.variables.insert(name.to_owned(), value.to_owned());
                    }
                }
                return Ok(0);
            }
            "read" => return self.read(arguments, &streams).await,
            tool => self.tool(tool, arguments, streams).await,
        };
        self.variables = outer;
        self.run_traps().await?;
        Ok(status)
    }

    async fn tool(&mut self, name: &str, arguments: &[String], streams: Streams) -> i32 {
        let context =
            Context { process: &self.process, streams, directory: self.directory.clone(), env: self.variables.clone() };
        tools::run(name, arguments, &context).await
    }

    async fn change_directory(&mut self, arguments: &[String]) -> i32 {
        let path = absolute(&self.directory, arguments.first().map_or("/", String::as_str));
        if self.process.view.stat(&path).is_some_and(|entry| entry.is_directory()) {
            self.directory = path;
            0
        } else {
            self.complain(&format!("sh: cd: can't cd to {path}\n")).await;
            2
        }
    }

    /// `read name`: one line of input, cut off by signals that are trapped.
    async fn read(&mut self, arguments: &[String], streams: &Streams) -> Flow {
        let line = if let Some(input) = &streams.input {
            input.split(|byte| *byte == b'\n').next().map(Bytes::copy_from_slice)
        } else {
            let process = Arc::clone(&self.process);
            loop {
                tokio::select! {
                    biased;
                    () = process.signalled() => self.run_traps().await?,
                    line = process.read_line() => break line,
                }
            }
        };
        let found = line.is_some();
        if let Some(name) = arguments.iter().find(|argument| !argument.starts_with('-')) {
            let line = line.unwrap_or_default();
            self.variables.insert(name.clone(), String::from_utf8_lossy(&line).trim().to_owned());
        }
        Ok(i32::from(!found))
    }

    /// `trap ACTION SIGNAL…`; an empty action ignores, `-` restores.
    fn trap(&mut self, arguments: &[String]) {
        let Some((action, signals)) = arguments.split_first() else { return };
        for signal in signals.iter().filter_map(|signal| signal.parse::<Signal>().ok()) {
            let number = signal.number();
            self.traps.remove(&number);
            match (action.as_str(), parse(action)) {
                ("-", _) => self.process.handle(number, None),
                ("", _) => self.process.handle(number, Some(Handling::Ignore)),
                (_, Ok(command)) => {
                    self.traps.insert(number, command);
                    self.process.handle(number, Some(Handling::Catch));
                }
                (_, Err(_)) => {}
            }
        }
    }

    async fn run_traps(&mut self) -> Result<(), Exit> {
        while let Some(number) = self.process.next_signal() {
            if let Some(command) = self.traps.get(&number).cloned() {
                self.run(&command).await?;
            }
        }
        Ok(())
    }

    fn redirect(&self, redirects: &[Redirect]) -> Result<Streams, String> {
        let mut streams = Streams::of_the_process();
        for redirect in redirects {
            match redirect {
                Redirect::Input { path } => {
                    let path = absolute(&self.directory, &self.expand_one(path));
                    let data = if path == "/dev/null" { Ok(Bytes::new()) } else { self.process.view.read(&path) };
                    streams.input = Some(data.map_err(|error| format!("can't open {path}: {error}"))?);
                }
                Redirect::Copy { descriptor: 1, .. } => streams.output = streams.errors.clone(),
                Redirect::Copy { .. } => streams.errors = streams.output.clone(),
                Redirect::File { descriptor, path, append } => {
                    let path = absolute(&self.directory, &self.expand_one(path));
                    if path != "/dev/null" {
                        self.process
                            .view
                            .write(&path, b"", *append, self.process.now())
                            .map_err(|error| format!("can't create {path}: {error}"))?;
                    }
                    let target = Target::File(path);
                    if *descriptor == 1 { streams.output = target } else { streams.errors = target }
                }
            }
        }
        Ok(streams)
    }

    fn value(&self, name: &str) -> String {
        match name {
            "?" => self.status.to_string(),
            "$" => self.process.pid.to_string(),
            "#" => self.positional.len().saturating_sub(1).to_string(),
            "@" | "*" => self.positional.get(1..).unwrap_or_default().join(" "),
            name => match name.parse::<usize>() {
                Ok(index) => self.positional.get(index).cloned().unwrap_or_default(),
                Err(_) => self.variables.get(name).cloned().unwrap_or_default(),
            },
        }
    }

    fn expand_one(&self, word: &Word) -> String {
        word.iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Variable { name, .. } => self.value(name),
            })
            .collect()
    }

    fn expand(&self, words: &[Word]) -> Vec<String> {
        let mut expanded = Vec::new();
        for word in words {
            match word.as_slice() {
                [Part::Variable { name, quoted: false }] => {
                    expanded.extend(self.value(name).split_whitespace().map(str::to_owned));
                }
                _ => expanded.push(self.expand_one(word)),
            }
        }
        expanded
    }
}

/// A duration as `sleep` takes it: seconds, or with `s`, `m`, `h`, `d`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.char_indices().last()? {
        (index, unit @ ('s' | 'm' | 'h' | 'd')) => (text.get(..index)?, unit),
        _ => (text, 's'),
    };
    let seconds: f64 = number.parse().ok()?;
    let factor = match unit {
        'm' => 60.0,
        'h' => 3600.0,
        'd' => 86_400.0,
        _ => 1.0,
    };
    Duration::try_from_secs_f64(seconds * factor).ok()
}
