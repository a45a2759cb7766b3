//! The server's answers on a console.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use roadstead_core::{Error, ErrorKind, Result};
use tokio::time::{sleep, timeout};

use super::super::facts::Facts;
use super::super::request::{self, Request};
use super::super::shared::Lxd;
use super::kept::Answer;

/// How often, and after which pause, a container that has just ended is asked again.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// Servers have no file to open when nothing is new, or nothing was ever written, and cannot ask a container that is
/// about to end: its monitor is gone a moment before they know.
const NOTHING: [&str; 4] = ["no such file", "connection refused", "connection reset", "broken pipe"];

/// Asks for what is new, or for the file that is left; and whether nothing more will come.
pub(super) async fn ask(lxd: &Lxd, id: &str) -> Result<(Answer, bool)> {
    for attempt in 1..=ATTEMPTS {
        let error = match timeout(request::READ_DEADLINE, answer(lxd, id)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if says_nothing(&error) => error,
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let words = "the engine did not send the console's log in time";
                return Err(Error::new(ErrorKind::DeadlineExceeded, words));
            }
        };
        let facts = Facts::of(lxd, id).await?;
        // Of one that has ended there is a file, unless nothing was ever written.
        if facts.runs() || facts.started.is_none() || attempt == ATTEMPTS {
            tracing::debug!(%error, container = id, "nothing of the console");
            return Ok((Answer::Nothing, !facts.runs()));
        }
        sleep(PAUSE).await;
    }
    Ok((Answer::Nothing, false))
}

async fn answer(lxd: &Lxd, id: &str) -> Result<(Answer, bool)> {
    let answer = Request::get(&["instances", id, "console"]).raw(&lxd.client).await?;
    let named = answer.header("content-disposition").is_some_and(names_a_file);
    let body: BytesMut = answer.body().try_fold(BytesMut::new(), append).await?;
    let body = body.freeze();
    if named {
        // The file is given some moments before the container counts as stopped.
        return Ok((Answer::File(body), !Facts::of(lxd, id).await?.runs()));
    }
    Ok((Answer::New(body), false))
}

fn says_nothing(error: &Error) -> bool {
    let words = error.message().to_lowercase();
    // Without the engine's own status it is our connection that is refused.
    error.kind() != ErrorKind::Unavailable && NOTHING.iter().any(|nothing| words.contains(nothing))
}

async fn append(mut all: BytesMut, piece: Bytes) -> Result<BytesMut> {
    all.extend_from_slice(&piece);
    Ok(all)
}

/// Whether `inline;filename=…` names one.
fn names_a_file(disposition: &str) -> bool {
    disposition.split_once("filename=").is_some_and(|(_, name)| !name.trim_matches(['"', ' ']).is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_answers() {
        assert!(names_a_file("inline;filename=/var/log/lxd/c/console.log"));
        assert!(!names_a_file("inline;filename=") && !names_a_file("inline") && !names_a_file("inline;filename=\"\""));
    }
}
