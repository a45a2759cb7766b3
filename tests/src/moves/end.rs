//! One end of a move: a real engine behind a line that can be cut, or one that can be killed.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use roadstead_core::{ConnectOptions, Node};

use crate::cut::{self, Cut};
use crate::died;
use crate::engines::{OwnEngine, TestEngine};

/// How an engine goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// Every connection ends, and none is taken any more; the engine goes on with what it has begun.
    Unreachable,
    /// SIGKILL.
    Killed,
}

#[derive(Debug)]
enum Engine {
    Shared(TestEngine),
    Own(OwnEngine),
}

/// See the module.
#[derive(Debug)]
pub struct End {
    node: String,
    engine: Engine,
    directory: tempfile::TempDir,
    /// The socket that leads to the engine, and the way to cut it.
    line: Mutex<Option<(PathBuf, Cut)>>,
    lines: Mutex<u32>,
    dead: Mutex<bool>,
}

impl End {
    /// An engine of the trial's own, which may be killed.
    #[must_use]
    pub fn own(node: &str, engine: OwnEngine) -> Self {
        Self::new(node, Engine::Own(engine))
    }

    /// An engine that others use, too: only the line to it is cut.
    #[must_use]
    pub fn shared(node: &str, engine: TestEngine) -> Self {
        Self::new(node, Engine::Shared(engine))
    }

    fn new(node: &str, engine: Engine) -> Self {
        End {
            node: node.to_owned(),
            engine,
            directory: tempfile::tempdir().expect("a directory"),
            line: Mutex::default(),
            lines: Mutex::default(),
            dead: Mutex::default(),
        }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &TestEngine {
        match &self.engine {
            Engine::Shared(engine) => engine,
            Engine::Own(engine) => engine.engine(),
        }
    }

    /// Whether it may be killed.
    #[must_use]
    pub fn can_be_killed(&self) -> bool {
        matches!(self.engine, Engine::Own(_))
    }

    async fn connect_to(&self, socket: &str) -> roadstead_core::Result<std::sync::Arc<dyn Node>> {
        let scheme = self.engine().uri().split_once("://").expect("a URI").0;
        let uri = format!("{scheme}://{socket}");
        roadstead_backends::registry().connect(&self.node, &uri, &ConnectOptions::default()).await
    }

    /// A new connection over the line, as a process that has just started makes it.
    ///
    /// # Panics
    /// When the engine does not answer.
    pub async fn connect(&self) -> std::sync::Arc<dyn Node> {
        let socket = {
            let mut line = self.line.lock().expect("no panic");
            if line.is_none() {
                let mut lines = self.lines.lock().expect("no panic");
                *lines += 1;
                let directory = self.directory.path().join(lines.to_string());
                std::fs::create_dir(&directory).expect("a directory");
                *line = Some(cut::unix(self.engine().socket().to_owned(), &directory).expect("a socket"));
            }
            line.as_ref().map(|(socket, _)| socket.clone()).expect("made above")
        };
        self.connect_to(&socket.display().to_string()).await.expect("the engine answers")
    }

    /// The engine itself, past the line: for what a trial claims about it.
    ///
    /// # Panics
    /// When the engine does not answer within a minute.
    pub async fn direct(&self) -> std::sync::Arc<dyn Node> {
        let socket = self.engine().socket().display().to_string();
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            match self.connect_to(&socket).await {
                Ok(node) => return node,
                Err(error) => assert!(Instant::now() < until, "{error:?}"),
            }
            // LXD dies now and then of a move that is broken off: for the move that is one cut more.
            if !*self.dead.lock().expect("no panic") {
                tokio::task::block_in_place(|| died::revive(self.engine().kind(), self.engine().socket()));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// It goes away, and is away when this returns.
    ///
    /// # Panics
    /// When it is to be killed and may not, or does not run.
    pub fn leave(&self, how: Away) {
        // The line breaks in either case.
        if let Some((_, cut)) = self.line.lock().expect("no panic").take() {
            cut.cut();
        }
        if how == Away::Killed {
            let Engine::Own(engine) = &self.engine else { panic!("{} is not ours to kill", self.node) };
            tokio::task::block_in_place(|| engine.kill());
            *self.dead.lock().expect("no panic") = true;
        }
    }

    /// It is back.
    ///
    /// # Panics
    /// When it does not start.
    pub fn come_back(&self) {
        if std::mem::take(&mut *self.dead.lock().expect("no panic"))
            && let Engine::Own(engine) = &self.engine
        {
            tokio::task::block_in_place(|| engine.start_again());
        }
    }
}
