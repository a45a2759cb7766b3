//! What jobs without a process have in common: lines of JSON as output, and that nothing can be done to them but to kill them.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use roadstead_core::jobs::JobControl;
use roadstead_core::{Error, ErrorKind, Result, Signal, TerminalSize};

/// Of a job of the server, which has no process: nothing can be done to it but to kill it, which this does.
pub(crate) struct Kill<F>(pub(crate) F);

type Killed = BoxFuture<'static, Result<()>>;

impl<F> std::fmt::Debug for Kill<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kill")
    }
}

#[async_trait]
impl<F: Fn(Signal) -> Killed + Send + Sync> JobControl for Kill<F> {
    async fn write_stdin(&self, _: Bytes) -> Result<()> {
        Err(Error::new(ErrorKind::Conflict, "this job has no standard input"))
    }

    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }

    async fn resize(&self, _: TerminalSize) -> Result<()> {
        Err(Error::new(ErrorKind::Conflict, "this job has no terminal"))
    }

    async fn kill(&self, signal: Signal) -> Result<()> {
        (self.0)(signal).await
    }
}

/// A line of a job's output.
pub(crate) fn line(value: &impl serde::Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
