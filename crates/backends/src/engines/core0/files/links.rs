//! Where symbolic links lead, and making them: what the agent has no call for, a program in the container does.

use std::collections::BTreeMap;

use serde_json::json;

use roadstead_core::{Error, ErrorKind, Result};

use super::super::Command;
use super::super::commands::Commands;
use super::super::commands::agent::Program;
use super::super::commands::filesystem::Entry;

/// The permission bits that every link has, and hardly any file.
const MODE: u32 = 0o777;
/// Prints `name`, and where it leads, for each of its arguments that is a link. As a block on level 20 it becomes the payload,
/// which is not cut as output is.
const SCRIPT: &str = r#"echo '20:::'; for f; do if [ -L "$f" ]; then echo "$f"; readlink "$f"; fi; done; echo ':::'"#;

/// Where the links among the entries of a directory lead. Empty when the container has no shell for it.
pub(super) async fn targets(inside: &Commands, directory: &str, entries: &[Entry]) -> Result<BTreeMap<String, String>> {
    let candidates: Vec<&str> = entries
        .iter()
        .filter(|entry| !entry.is_directory && entry.mode & 0o777 == MODE)
        .map(|entry| entry.name.as_str())
        // A line for a name, so that a name must be one line.
        .filter(|name| !name.contains('\n'))
        .collect();
    if candidates.is_empty() {
        return Ok(BTreeMap::new());
    }
    let words = ["-c", SCRIPT, "sh"].into_iter().chain(candidates);
    let arguments = json!({"name": "sh", "args": words.collect::<Vec<_>>(), "dir": directory});
    let outcome = inside.run(&Command::new("core.system", arguments)?).await?;
    if !outcome.succeeded() {
        tracing::debug!(message = outcome.message(), "the container does not tell where links lead");
        return Ok(BTreeMap::new());
    }
    Ok(read(&outcome.data))
}

/// Pairs of lines: a name, and where it leads. A block begins with the end of the line that opens it.
fn read(payload: &str) -> BTreeMap<String, String> {
    let mut lines = payload.trim_start_matches('\n').lines();
    let mut targets = BTreeMap::new();
    while let (Some(name), Some(target)) = (lines.next(), lines.next()) {
        // Bytes that are no UTF-8 have been replaced on their way.
        if !target.is_empty() && !target.contains('\u{fffd}') {
            targets.insert(name.to_owned(), target.to_owned());
        }
    }
    targets
}

/// Makes a link; a hard one leads to a path of the container.
pub(super) async fn make(inside: &Commands, path: &str, target: &str, symbolic: bool) -> Result<()> {
    let flag = if symbolic { "-sn" } else { "-n" };
    let program = Program::new("ln", [flag, "--", target, path]);
    match inside.agent().system(&program).await {
        Ok(outcome) => outcome.check(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(Error::unsupported("links in a container without ln").with_source(error))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_where_they_lead() {
        let pair = |name: &str, target: &str| (name.to_owned(), target.to_owned());
        let read_one = BTreeMap::from([pair("[", "busybox"), pair("ls", "../b")]);
        assert_eq!(read("\n[\nbusybox\nls\n../b\n"), read_one);
        assert_eq!(read("[\nbusybox\nls\n../b"), read_one);
        assert!(read("\n").is_empty());
    }
}
