//! Open files of `filesystem.*`: known to callers by a UUID, closed five minutes after their last use.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Failure, base64_text, errors};

/// At most so many bytes come with one read.
const BLOCK: usize = 512 * 1024;
/// How long an open file may be idle.
const IDLE: Duration = Duration::from_secs(5 * 60);

#[derive(Debug)]
struct Open {
    file: File,
    path: String,
}

/// The open files of a node or container.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<HashMap<String, (Arc<Open>, Instant)>>);

impl Files {
    pub(super) fn open(&self, path: &str, mode: &str, permissions: u32) -> Result<String, Failure> {
        let mut options = options(mode)?;
        let file = options.mode(permissions).open(path).map_err(errors::at("open", path))?;
        let id = uuid::Uuid::new_v4().to_string();
        let open = Arc::new(Open { file, path: path.to_owned() });
        self.known(|files| files.insert(id.clone(), (open, Instant::now())));
        Ok(id)
    }

    /// The next bytes in base64; nothing at the end.
    pub(super) fn read(&self, id: &str) -> Result<String, Failure> {
        let open = self.used(id)?;
        let mut block = vec![0; BLOCK];
        let count = (&open.file).read(&mut block).map_err(errors::at("read", &open.path))?;
        block.truncate(count);
        Ok(STANDARD.encode(block))
    }

    pub(super) fn write(&self, id: &str, block: &str) -> Result<(), Failure> {
        let open = self.used(id)?;
        let block = base64_text::decode(block)
            .map_err(|position| Failure::new(500, format!("illegal base64 data at input byte {position}")))?;
        (&open.file).write_all(&block).map_err(errors::at("write", &open.path))
    }

    pub(super) fn close(&self, id: &str) {
        self.known(|files| files.remove(id));
    }

    /// Closes what was idle for too long at that time; whether any file is still open.
    pub(super) fn close_idle(&self, now: Instant) -> bool {
        self.known(|files| {
            files.retain(|_, (_, used)| now.saturating_duration_since(*used) < IDLE);
            !files.is_empty()
        })
    }

    fn used(&self, id: &str) -> Result<Arc<Open>, Failure> {
        self.close_idle(Instant::now());
        self.known(|files| {
            files.get_mut(id).map(|(open, used)| {
                *used = Instant::now();
                open.clone()
            })
        })
        .ok_or_else(|| Failure::new(500, format!("unknown file description '{id}'")))
    }

    fn known<T>(&self, change: impl FnOnce(&mut HashMap<String, (Arc<Open>, Instant)>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The modes of Python's `open`, of which exactly one has to be there.
fn options(mode: &str) -> Result<OpenOptions, Failure> {
    let mut options = OpenOptions::new();
    let (mut modes, mut plus) = (0, false);
    for letter in mode.chars() {
        match letter {
            'r' => options.read(true),
            'x' => options.write(true).create_new(true),
            'w' => options.write(true).create(true).truncate(true),
            'a' => options.append(true).create(true),
            '+' => {
                plus = true;
                continue;
            }
            other => return Err(Failure::new(500, format!("unknown mode '{other}'"))),
        };
        modes += 1;
    }
    if modes != 1 {
        return Err(Failure::new(500, "rwax modes has to be used once and only once"));
    }
    if plus {
        options.read(true).write(true);
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_files_are_closed_and_used_ones_stay() {
        let files = Files::default();
        let id = files.open("/dev/null", "r", 0).expect("opened");
        assert!(files.close_idle(Instant::now() + IDLE / 2));
        assert_eq!(files.read(&id).expect("still open"), "");
        assert!(!files.close_idle(Instant::now() + IDLE));
        let closed = files.read(&id).expect_err("closed");
        assert_eq!(closed.message, format!("unknown file description '{id}'"));
    }

    #[test]
    fn modes_are_those_of_python() {
        assert_eq!(options("q").expect_err("unknown").message, "unknown mode 'q'");
        for twice in ["", "rw", "+", "rr"] {
            let message = options(twice).expect_err("not once").message;
            assert_eq!(message, "rwax modes has to be used once and only once", "{twice}");
        }
        for once in ["r", "r+", "+r", "w+", "a", "x+"] {
            options(once).expect(once);
        }
    }
}
