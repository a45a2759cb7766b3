//! The server's answers on a console.

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use roadstead_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

use super::super::facts::Facts;
use super::super::request::{self, Request};
use super::super::shared::Lxd;
use super::kept::Answer;

/// Asks for what is new, or for the file that is left; and whether nothing more will come.
pub(super) async fn ask(lxd: &Lxd, id: &str) -> Result<(Answer, bool)> {
    match timeout(request::READ_DEADLINE, answer(lxd, id)).await {
        Ok(answer) => answer,
        Err(_) => Err(Error::new(ErrorKind::DeadlineExceeded, "the engine did not send the console's log in time")),
    }
}

async fn answer(lxd: &Lxd, id: &str) -> Result<(Answer, bool)> {
    let answer = match Request::get(&["instances", id, "console"]).raw(&lxd.client).await {
        Ok(answer) => answer,
        Err(error) => return nothing(lxd, id, error).await,
    };
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

/// Servers have no file to open when nothing is new, or nothing was ever written, and cannot ask a container that is
/// about to end: its monitor is gone a moment before they know.
const NOTHING: [&str; 4] = ["no such file", "connection refused", "connection reset", "broken pipe"];

/// What an error means.
async fn nothing(lxd: &Lxd, id: &str, error: Error) -> Result<(Answer, bool)> {
    let words = error.message().to_lowercase();
    if !NOTHING.iter().any(|nothing| words.contains(nothing)) || error.kind() == ErrorKind::Unavailable {
        return Err(error);
    }
    let running = Facts::of(lxd, id).await?.runs();
    Ok((Answer::Nothing, !running))
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
