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

/// A container that is about to end is asked again after this pause.
const PAUSE: Duration = Duration::from_millis(100);
/// How often, while its file is not there.
const FILE_ATTEMPTS: usize = 5;
/// How often, while its monitor is gone and the server does not know of its end.
const END_ATTEMPTS: usize = 50;

/// What a server says when there is no file to open, since nothing is new or nothing was ever written.
const NO_FILE: &str = "no such file";
/// And when it asks a monitor that has gone.
const NO_MONITOR: [&str; 3] = ["connection refused", "connection reset", "broken pipe"];

/// Asks for what is new, or for the file that is left; and whether nothing more will come.
pub(super) async fn ask(lxd: &Lxd, id: &str) -> Result<(Answer, bool)> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let error = match timeout(request::READ_DEADLINE, answer(lxd, id)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => {
                let words = "the engine did not send the console's log in time";
                return Err(Error::new(ErrorKind::DeadlineExceeded, words));
            }
        };
        let says = |words: &str| error.message().to_lowercase().contains(words);
        let no_file = says(NO_FILE);
        // Otherwise it is our own connection that is refused.
        let of_engine = error.kind() != ErrorKind::Unavailable;
        if !of_engine || !no_file && !NO_MONITOR.iter().any(|words| says(words)) {
            return Err(error);
        }
        let facts = Facts::of(lxd, id).await?;
        let enough = match facts.runs() {
            true => no_file || attempt >= END_ATTEMPTS,
            false => facts.started.is_none() || attempt >= FILE_ATTEMPTS,
        };
        if enough {
            return Ok((Answer::Nothing, !facts.runs()));
        }
        sleep(PAUSE).await;
    }
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
