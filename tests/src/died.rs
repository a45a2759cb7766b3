//! Starts a shared engine again whose daemon died by itself, so that one crash of it does not fail every test after it.
//!
//! That is never silent: what the daemon said last is kept beside the engines, and `tests/run` shows it at the end. LXD 5.0
//! does crash now and then under load, by races of its own (<https://github.com/canonical/lxd/issues/14706>,
//! <https://github.com/canonical/lxd/issues/11174>).

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::engines::script;

/// How many lines of the daemon's are kept.
const LINES: usize = 60;

/// Starts the engine again if nobody listens at its socket, and notes that it had died.
///
/// # Panics
/// When it does not start.
pub(crate) fn revive(kind: &str, socket: &Path) {
    let refused = |error: &std::io::Error| matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound);
    if !UnixStream::connect(socket).is_err_and(|error| refused(&error)) {
        return;
    }
    let Some(directory) = socket.parent() else { return };
    let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let pid = std::fs::read_to_string(directory.join(format!("{kind}.pid"))).unwrap_or_default();
    let words = last_words(&directory.join(format!("{kind}.log")));
    let started = script(kind, "start", name.strip_prefix(&format!("{kind}-")).unwrap_or("main"));
    assert!(started.status.success(), "{name} died: {words}\n{}", String::from_utf8_lossy(&started.stderr));
    // The first of several tests that meet it tells.
    let note = directory.with_file_name(format!("{name}.died-{}", pid.trim()));
    if let Ok(mut file) = std::fs::OpenOptions::new().write(true).create_new(true).open(note) {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let text = format!("{name} (process {}) was dead when {test} began. It said last:\n{words}\n", pid.trim());
        file.write_all(text.as_bytes()).expect("it is noted");
    }
}

/// What Go says when a program dies and what follows, or else the end of the log.
fn last_words(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let dies =
        |line: &&str| ["panic:", "fatal error:", "SIG", "unexpected fault"].iter().any(|word| line.starts_with(word));
    let from = lines.iter().rposition(dies).unwrap_or(lines.len().saturating_sub(LINES));
    lines.iter().skip(from).take(LINES).copied().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{last_words, revive};
    use crate::engines::OwnEngine;

    #[test]
    fn an_engine_that_died_is_started_again_and_that_is_told() {
        let Some(own) = OwnEngine::podman("died") else { return };
        own.kill();
        revive("podman", own.engine().socket());
        assert_eq!(own.engine().ask("GET", "/_ping", None).status, 200);
        let beside = own.engine().socket().parent().and_then(|directory| directory.parent()).expect("two directories");
        let notes: Vec<_> = std::fs::read_dir(beside)
            .expect("it is read")
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("podman-died.died-"))
            .collect();
        assert_eq!(notes.len(), 1, "{notes:?}");
        for note in notes {
            let text = std::fs::read_to_string(note.path()).expect("it is read");
            assert!(text.contains("was dead when") && text.contains("an_engine_that_died"), "{text}");
            // This one was no accident.
            std::fs::remove_file(note.path()).expect("it goes");
        }
    }

    #[test]
    fn the_reason_of_a_death_is_found_among_later_lines() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("lxd.log");
        let after: String = (0..200).map(|number| format!("goroutine {number}\n")).collect();
        std::fs::write(&log, format!("well\nfatal error: concurrent map writes\n{after}")).expect("it is written");
        let words = last_words(&log);
        assert!(words.starts_with("fatal error: concurrent map writes\ngoroutine 0\n"), "{words}");
        assert!(!words.contains("well") && !words.contains("goroutine 100"), "{words}");
    }
}
