//! The state directory: the server's id, the admin token, the embedded store's file, and the lock by which a directory has one server.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roadstead_core::{Error, ErrorKind, Result, Secret};

/// The state directory.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Held as long as the directory is used.
    lock: Option<Arc<File>>,
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("cannot {what} {}: {error}", path.display())).with_source(error)
}

impl StateDir {
    /// Opens the directory, and makes it (0700) when it is not there.
    ///
    /// # Errors
    /// When it cannot be made or used, or another server uses it.
    pub fn open(path: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| failed("make the state directory", path, error))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(|error| failed("use the state directory", path, error))?;
        // Two servers would make two tokens, and one of them would have no store. The kernel lets go of the lock when the process ends, however.
        match lock.try_lock() {
            Ok(()) => Ok(StateDir { path: path.to_owned(), lock: Some(Arc::new(lock)) }),
            Err(TryLockError::WouldBlock) => Err(Error::new(
                ErrorKind::Conflict,
                format!("the state directory {} is in use by another server", path.display()),
            )),
            Err(TryLockError::Error(error)) => Err(failed("lock the state directory", path, error)),
        }
    }

    /// Lets another server use the directory. Dropping the last copy does it, too, but the workers of a server that has ended
    /// may hold theirs a moment longer.
    pub(crate) fn release(&self) {
        if let Some(lock) = &self.lock {
            // It can only fail as an already closed file would, and then the lock is gone.
            let _ = lock.unlock();
        }
    }

    /// The directory as it is, or will be: nothing is made.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        StateDir { path: path.to_owned(), lock: None }
    }

    /// Where the admin token is.
    #[must_use]
    pub fn token_path(&self) -> PathBuf {
        self.path.join("admin.token")
    }

    /// The admin token; made on the first start.
    ///
    /// # Errors
    /// When the file can be read by others, is empty, or cannot be read or made.
    pub fn admin_token(&self) -> Result<Secret> {
        let path = self.token_path();
        if !path.exists() {
            let mut random = [0_u8; 32];
            getrandom::fill(&mut random).map_err(|error| {
                Error::new(ErrorKind::Unexpected, format!("the system gave no random bytes: {error}"))
            })?;
            let token = URL_SAFE_NO_PAD.encode(random);
            let temporary = self.write_temporary("admin.token", token.as_bytes())?;
            // A link fails when the file is there already: of two servers that start at once, one token stays.
            let linked = fs::hard_link(&temporary, &path);
            let _ = fs::remove_file(&temporary);
            match linked {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed("write", &path, error));
                }
                _ => self.sync()?,
            }
        }
        let mut file = File::open(&path).map_err(|error| failed("read", &path, error))?;
        let mode = file.metadata().map_err(|error| failed("read", &path, error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                format!(
                    "the token file {} can be read by others (mode {:04o}); make it private with chmod 600, or delete it to have a new token made",
                    path.display(),
                    mode & 0o7777
                ),
            ));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| failed("read", &path, error))?;
        let token = text.trim();
        if token.len() < 20 {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the token file {} holds no usable token; delete it to have a new one made", path.display()),
            ));
        }
        Ok(Secret::new(token))
    }

    /// The id of the server that uses this directory, the same after each start; made on the first. Empty where there is none yet and
    /// the directory is only looked at.
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds none.
    pub fn server_id(&self) -> Result<String> {
        let path = self.path.join("server.id");
        let unusable = || {
            let words = format!("the file {} holds no id; delete it to have a new one made", path.display());
            Error::new(ErrorKind::InvalidInput, words)
        };
        match fs::read_to_string(&path) {
            Ok(text) => match uuid::Uuid::parse_str(text.trim()) {
                Ok(id) => Ok(id.simple().to_string()),
                Err(_) => Err(unusable()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.lock.is_none() {
                    return Ok(String::new());
                }
                let id = uuid::Uuid::new_v4().simple().to_string();
                let temporary = self.write_temporary("server.id", id.as_bytes())?;
                fs::rename(&temporary, &path).map_err(|error| failed("write", &path, error))?;
                self.sync()?;
                Ok(id)
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(unusable()),
            Err(error) => Err(failed("read", &path, error)),
        }
    }

    /// Where the embedded store is.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.path.join("roadstead.db")
    }

    /// Where the audit log is.
    #[must_use]
    pub fn audit_path(&self) -> PathBuf {
        self.path.join("audit")
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write_temporary(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        write_temporary(&self.path, name, content)
    }

    fn sync(&self) -> Result<()> {
        sync(&self.path)
    }
}

fn write_temporary(directory: &Path, name: &str, content: &[u8]) -> Result<PathBuf> {
    let path = directory.join(format!(".{name}.{}", uuid::Uuid::new_v4().simple()));
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|error| failed("write", &path, error))?;
    Ok(path)
}

/// A rename is on the disk only when the directory is.
fn sync(directory: &Path) -> Result<()> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| failed("write", directory, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, StateDir) {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(&directory.path().join("state")).unwrap();
        (directory, state)
    }

    #[test]
    fn the_token_is_made_once_and_is_private() {
        let (_directory, state) = open();
        let token = state.admin_token().unwrap();
        assert_eq!(token.expose().len(), 43);
        assert_eq!(state.admin_token().unwrap(), token);
        assert_eq!(fs::metadata(state.token_path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&state.path).unwrap().permissions().mode() & 0o777, 0o700);
        let mut names: Vec<_> = fs::read_dir(&state.path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["admin.token", "lock"], "no temporary file stays");
    }

    #[test]
    fn the_id_of_the_server_is_made_once() {
        let (_directory, state) = open();
        let looked_at = StateDir::at(&state.path);
        assert_eq!(looked_at.server_id().unwrap(), "");
        let id = state.server_id().unwrap();
        assert_eq!((id.len(), &state.server_id().unwrap()), (32, &id));
        assert_eq!(looked_at.server_id().unwrap(), id);
        for damaged in ["", "no id", "\u{fffd}"] {
            fs::write(state.path.join("server.id"), damaged).unwrap();
            assert_eq!(state.server_id().unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        fs::write(state.path.join("server.id"), [0xff]).unwrap();
        assert_eq!(state.server_id().unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_directory_has_one_user_until_it_is_let_go() {
        let (_directory, state) = open();
        assert_eq!(StateDir::open(&state.path).unwrap_err().kind(), ErrorKind::Conflict);
        let path = state.path.clone();
        drop(state);
        StateDir::open(&path).unwrap();
    }

    #[test]
    fn a_token_that_others_can_read_is_refused() {
        let (_directory, state) = open();
        let token = state.admin_token().unwrap();
        fs::set_permissions(state.token_path(), fs::Permissions::from_mode(0o640)).unwrap();
        let error = state.admin_token().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(!format!("{error:?}").contains(token.expose()));
    }
}
