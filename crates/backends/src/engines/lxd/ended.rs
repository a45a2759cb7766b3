//! How the main process of a container ended.
//!
//! No server keeps it. But the library below the server tells it in its log, on the level that containers of ours are
//! created with, and the server hands that log out until the next start.

use std::time::Duration;

use futures_util::TryStreamExt;
use roadstead_core::{ErrorKind, Result, Timestamp};
use tokio::time::{Instant, sleep};

use super::request::Request;
use super::shared::Lxd;

/// The log's end is in so much of it.
const TAIL: usize = 64 * 1024;

/// The end of the main process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// 128 + n when signal n ended it.
    pub(super) exit_code: i32,
    pub(super) at: Option<Timestamp>,
    /// How far the library has come with it.
    stage: Stage,
}

impl End {
    /// Whether its exit code was told.
    pub(super) fn is_known(&self) -> bool {
        self.stage >= Stage::Coded
    }
}

/// What stands in the log after the end, which the library writes in this order within a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// That there was an end; the exit code may come yet.
    Noticed,
    /// The exit code, or what comes after it.
    Coded,
    /// The server was told.
    Told,
}

/// A look again after so long.
const PAUSE: Duration = Duration::from_millis(25);
/// The exit code follows its end within so much.
const CODED: Duration = Duration::from_secs(1);
/// A server is told within so much.
const TOLD: Duration = Duration::from_secs(5);

/// Asks for the last end of a container; nothing when there was none since its start, or it is not told.
pub(super) async fn read(lxd: &Lxd, id: &str) -> Result<Option<End>> {
    reach(lxd, id, Stage::Coded, CODED, false).await
}

/// The same of a container that is said to be stopped: for a moment after its start some servers say so before the end.
pub(super) async fn stopped(lxd: &Lxd, id: &str) -> Result<Option<End>> {
    reach(lxd, id, Stage::Coded, CODED, true).await
}

/// The same, once the server knows of the end, too.
///
/// For some hundred milliseconds a server says that the container is stopped and has not heard of its end yet. Who then
/// deletes it makes the server forget the end: no event tells of it, and what was written to the console is lost.
pub(super) async fn settled(lxd: &Lxd, id: &str) -> Result<Option<End>> {
    reach(lxd, id, Stage::Told, TOLD, true).await
}

async fn reach(lxd: &Lxd, id: &str, stage: Stage, patience: Duration, has_ended: bool) -> Result<Option<End>> {
    let until = Instant::now() + patience;
    loop {
        let log = log(lxd, id).await?;
        let end = parse(&log);
        let enough = match end {
            Some(end) => end.stage >= stage,
            None => !has_ended || !began(&log),
        };
        if enough || Instant::now() >= until {
            return Ok(end);
        }
        sleep(PAUSE).await;
    }
}

/// Whether the log, on the level of ours, tells of a start that went well, and so will tell of its end.
fn began(log: &str) -> bool {
    log.contains(" DEBUG ") && !log.contains("Failed to spawn container")
}

/// Why the last start failed, when it was for the command.
pub(super) async fn refused_command(lxd: &Lxd, id: &str) -> Option<String> {
    let log = log(lxd, id).await.ok()?;
    let line = log.lines().rfind(|line| line.contains("Failed to exec \""))?;
    let (cause, command) = line.split_once("Failed to exec \"")?;
    let cause = cause.trim_end_matches([' ', '-']).rsplit(" - ").next().unwrap_or_default();
    Some(format!("{} cannot be run: {}", command.trim_end_matches('"'), cause))
}

/// The end of the log.
async fn log(lxd: &Lxd, id: &str) -> Result<String> {
    let answer = match Request::get(&["instances", id, "logs", "lxc.log"]).raw(&lxd.client).await {
        Ok(answer) => answer,
        // Nothing was started, or the log has been cleaned away.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        // Cleaned away between the server's look at it and its opening.
        Err(error) if error.message().contains("lxc.log: no such file") => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let mut tail = Vec::new();
    let mut body = answer.body();
    while let Some(piece) = body.try_next().await? {
        tail.extend_from_slice(&piece);
        if tail.len() > 2 * TAIL {
            tail.drain(..tail.len() - TAIL);
        }
    }
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

fn parse(log: &str) -> Option<End> {
    const EXITED: &str = "Container init process ";
    let mut end: Option<(String, End)> = None;
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once(EXITED).filter(|(_, rest)| rest.ends_with(" exited")) {
            let at = line.split_ascii_whitespace().find_map(time);
            let pid = rest.trim_end_matches(" exited").to_owned();
            end = Some((pid, End { exit_code: 0, at, stage: Stage::Noticed }));
            continue;
        }
        let Some((pid, end)) = &mut end else { continue };
        if let Some((_, how)) = line.split_once(&format!("Child <{pid}> ended on ")) {
            let number = how.rsplit_once('(').and_then(|(_, rest)| rest.split(')').next()?.parse::<i32>().ok());
            match number {
                Some(number) if how.starts_with("error") => end.exit_code = number,
                Some(number) if how.starts_with("signal") => end.exit_code = number.saturating_add(128),
                _ => {}
            }
            end.stage = end.stage.max(Stage::Coded);
        } else if line.contains("Deleted network devices") || line.contains("Executing script ") {
            // Of an end with code 0 no more is said; this comes after it.
            let told = line.contains(" callhook ") && line.contains(" stop\" ");
            end.stage = end.stage.max(if told { Stage::Told } else { Stage::Coded });
        }
    }
    end.map(|(_, end)| end)
}

/// `20261121114523.890`, in UTC.
fn time(word: &str) -> Option<Timestamp> {
    let (whole, millis) = word.split_once('.')?;
    if whole.len() != 14 || millis.len() != 3 || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| whole.get(from..to).unwrap_or_default();
    format!("{}-{}-{}T{}:{}:{}.{millis}Z", part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14))
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "lxc e9 20261121114523.454 DEBUG    lxccontainer - ../src/lxc/lxccontainer.c:wait_on_daemonized_start:859 - First child 26238 exited\n";
    const EXITED: &str = "lxc e9 20261121114523.890 DEBUG    start - ../src/lxc/start.c:signal_handler:464 - Container init process 26248 exited\n";

    fn end(rest: &str) -> Option<(i32, String)> {
        parse(&format!("{FIRST}{EXITED}{rest}")).map(|end| (end.exit_code, end.at.unwrap().to_string()))
    }

    #[test]
    fn what_follows_an_end_is_waited_for() {
        let stage = |rest: &str| parse(&format!("{EXITED}{rest}")).unwrap().stage;
        let script = |words: &str| {
            format!(
                "lxc INFO conf - Executing script \"/usr/bin/lxd callhook /d \"default\" \"x\" {words}\" for container \"x\"\n"
            )
        };
        assert_eq!(stage("lxc x 2 TRACE start - something\n"), Stage::Noticed);
        assert_eq!(stage("lxc INFO error - Child <26248> ended on error (7)\n"), Stage::Coded);
        assert_eq!(stage("lxc DEBUG network - lxc_delete_network:4173 - Deleted network devices\n"), Stage::Coded);
        assert_eq!(stage(&script("stopns")), Stage::Coded);
        assert_eq!(stage(&format!("{}{}", script("stopns"), script("stop"))), Stage::Told);
        assert_eq!(stage(&format!("{}{EXITED}", script("stop"))), Stage::Noticed, "the next end");
    }

    #[test]
    fn recorded_logs() {
        let at = "2026-11-21T11:45:23.89Z".parse::<Timestamp>().unwrap().to_string();
        assert_eq!(end(""), Some((0, at.clone())));
        assert_eq!(
            end(
                "lxc e9 2 INFO error - ../src/lxc/error.c:lxc_error_set_and_log:31 - Child <26248> ended on error (7)\n"
            ),
            Some((7, at.clone()))
        );
        let killed = "lxc e9 2 INFO error - ../src/lxc/error.c:lxc_error_set_and_log:34 - Child <26248> ended on signal Killed(9)\n";
        assert_eq!(end(killed), Some((137, at.clone())));
        assert_eq!(end("lxc INFO Child <1> ended on error (7)\n"), Some((0, at)));
        assert_eq!(parse(FIRST), None);
        assert_eq!(parse(""), None);
        assert!(began(FIRST) && !began(""));
        assert!(!began(&format!(
            "{FIRST}lxc en 2 ERROR start - __lxc_start:2107 - Failed to spawn container \"en\"\n"
        )));
    }
}
