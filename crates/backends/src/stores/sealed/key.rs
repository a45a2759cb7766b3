//! The file of the keys that values are sealed with: one key in a line, the first of which seals.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use roadstead_core::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};

/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of the name of a key: which one has sealed a value.
const NAME: usize = 4;
/// Bytes of what is used once.
const NONCE: usize = 24;
/// Bytes of what proves that nothing was changed.
const TAG: usize = 16;
/// The first byte of every sealed value: how it is sealed.
const FORM: u8 = 1;
/// Bytes that sealing adds to a value.
pub(super) const ADDED: usize = 1 + NAME + NONCE + TAG;

/// The keys of a file.
#[derive(Clone)]
pub struct SealKeys {
    path: PathBuf,
    keys: Vec<SealKey>,
}

#[derive(Clone)]
struct SealKey {
    name: [u8; NAME],
    cipher: XChaCha20Poly1305,
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKeys").field("path", &self.path).field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    let text = format!("cannot {what} the key file {}: {error}", path.display());
    Error::new(ErrorKind::Unexpected, text).with_source(error)
}

impl SealKeys {
    /// Reads the file.
    ///
    /// # Errors
    /// `NotFound` when it is not there, `PermissionDenied` when others can read it, `InvalidInput` that names the line when it is no
    /// key file.
    pub fn read(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::new(ErrorKind::NotFound, format!("there is no key file {}", path.display()))
            }
            _ => failed("read", path, error),
        })?;
        let mode = file.metadata().map_err(|error| failed("read", path, error))?.permissions().mode();
        if mode & 0o077 != 0 {
            let text = format!(
                "the key file {} can be read by others (mode {:04o}); make it private with chmod 600",
                path.display(),
                mode & 0o7777
            );
            return Err(Error::new(ErrorKind::PermissionDenied, text));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| failed("read", path, error))?;
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate().map(|(number, line)| (number + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = STANDARD.decode(line).ok().and_then(|bytes| <[u8; KEY]>::try_from(bytes).ok());
            let key = key.ok_or_else(|| {
                let reason = format!("line {number} of {} is not {KEY} bytes in base64", path.display());
                Error::invalid("key_file", reason)
            })?;
            keys.push(SealKey::new(&key));
        }
        if keys.is_empty() {
            return Err(Error::invalid("key_file", format!("{} holds no key", path.display())));
        }
        Ok(SealKeys { path: path.to_owned(), keys })
    }

    /// Reads the file, or makes it with a new key when it is not there. Of several that make it at once, one key stays.
    ///
    /// # Errors
    /// As for [`read`](Self::read), and when it cannot be made.
    pub fn read_or_make(path: &Path) -> Result<Self> {
        match SealKeys::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            read => return read,
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(directory).map_err(|error| failed("make the directory of", path, error))?;
        let key = random::<KEY>()?;
        let text = format!(
            "# Roadstead's store is sealed with this key. Without it nothing in the store can be read: keep a copy, apart from the store's.\n{}\n",
            STANDARD.encode(key)
        );
        let suffix: String = random::<8>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let temporary = directory.join(format!(".{name}.{suffix}"));
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            // A link fails when the file is there already.
            let linked = fs::hard_link(&temporary, path);
            fs::remove_file(&temporary)?;
            match linked {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => File::open(directory)?.sync_all(),
            }
        };
        write().map_err(|error| failed("make", path, error))?;
        SealKeys::read(path)
    }

    /// Where they are from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Seals a value for one place: it cannot be opened at another.
    pub(super) fn seal(&self, place: &str, value: &[u8]) -> Result<Vec<u8>> {
        let cannot = || Error::new(ErrorKind::Unexpected, "a value cannot be sealed");
        let key = self.keys.first().ok_or_else(cannot)?;
        // Of so many bytes that two are never equal, whoever draws them.
        let nonce = random::<NONCE>()?;
        let payload = Payload { msg: value, aad: place.as_bytes() };
        let closed = key.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| cannot())?;
        let mut sealed = Vec::with_capacity(ADDED + value.len());
        sealed.push(FORM);
        sealed.extend_from_slice(&key.name);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&closed);
        Ok(sealed)
    }

    /// Opens what [`seal`](Self::seal) gave for this place.
    pub(super) fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let refuse = |reason: &str| {
            Err(Error::new(ErrorKind::Unexpected, format!("{place} cannot be read: {reason}")).with_resource(place))
        };
        let Some((&FORM, rest)) = sealed.split_first() else {
            return refuse("it was not sealed by this Roadstead or an older one");
        };
        let Some((name, rest)) = rest.split_first_chunk::<NAME>() else { return refuse("it is cut off") };
        let Some((nonce, closed)) = rest.split_first_chunk::<NONCE>() else { return refuse("it is cut off") };
        let Some(key) = self.keys.iter().find(|key| key.name == *name) else {
            return refuse(&format!("it was sealed with a key that is not in {}", self.path.display()));
        };
        let payload = Payload { msg: closed, aad: place.as_bytes() };
        match key.cipher.decrypt(&XNonce::from(*nonce), payload) {
            Ok(value) => Ok(value),
            Err(_) => refuse("it is damaged, or was sealed for another place"),
        }
    }
}

impl SealKey {
    fn new(key: &[u8; KEY]) -> Self {
        // What is shown of a key must say nothing about it.
        let digest = Sha256::new().chain_update(b"roadstead seal key ").chain_update(key).finalize();
        let name = std::array::from_fn(|place| digest.get(place).copied().unwrap_or_default());
        SealKey { name, cipher: XChaCha20Poly1305::new(key.into()) }
    }
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::new(ErrorKind::Unexpected, format!("the system gave no random bytes: {error}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str) -> (tempfile::TempDir, SealKeys) {
        let directory = tempfile::tempdir().unwrap();
        let keys = SealKeys::read_or_make(&directory.path().join("below").join(name)).unwrap();
        (directory, keys)
    }

    #[test]
    fn a_key_file_is_made_once_and_is_private() {
        let (_directory, keys) = made("k");
        assert_eq!(fs::metadata(keys.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(keys.path()).unwrap();
        assert_eq!(SealKeys::read_or_make(keys.path()).unwrap().keys.len(), 1);
        assert_eq!(fs::read_to_string(keys.path()).unwrap(), text);
        assert_eq!(fs::read_dir(keys.path().parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
        let key = text.lines().last().unwrap();
        assert!(!format!("{keys:?}").contains(key));
        fs::set_permissions(keys.path(), fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(SealKeys::read(keys.path()).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn what_is_no_key_file_is_refused_by_its_line() {
        let (_directory, keys) = made("k");
        for (text, told) in [("", "no key"), ("# x\n\nc2hvcnQ=\n", "line 3"), ("hunter2 is no base64", "line 1")] {
            fs::write(keys.path(), text).unwrap();
            let error = SealKeys::read(keys.path()).unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidInput, Some("key_file")));
            assert!(error.to_string().contains(told) && !error.to_string().contains("hunter2"), "{error}");
        }
        fs::remove_file(keys.path()).unwrap();
        assert_eq!(SealKeys::read(keys.path()).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_sealed_opens_at_its_place_only_and_only_whole() {
        let (_directory, keys) = made("k");
        for value in [&b""[..], b"secret", &[7; 5000]] {
            let sealed = keys.seal("a/b", value).unwrap();
            assert_eq!(sealed.len(), value.len() + ADDED);
            assert_ne!(sealed, keys.seal("a/b", value).unwrap(), "twice the same would tell that it is");
            assert_eq!(keys.open("a/b", &sealed).unwrap(), value);
            assert!(keys.open("a/c", &sealed).unwrap_err().to_string().contains("another place"));
            for length in [0, 1, 5, 28, sealed.len() - 1] {
                keys.open("a/b", &sealed[..length]).unwrap_err();
            }
            for place in 0..sealed.len().min(60) {
                let mut changed = sealed.clone();
                changed[place] ^= 1;
                keys.open("a/b", &changed).unwrap_err();
            }
        }
    }

    #[test]
    fn older_keys_still_open_and_missing_ones_are_told() {
        let (_directory, old) = made("k");
        let sealed = old.seal("a", b"1").unwrap();
        let line = fs::read_to_string(old.path()).unwrap();
        let (_other, new) = made("n");
        assert!(new.open("a", &sealed).unwrap_err().to_string().contains(&*new.path().to_string_lossy()));
        let both = format!("{}{line}", fs::read_to_string(new.path()).unwrap());
        fs::write(new.path(), both).unwrap();
        let both = SealKeys::read(new.path()).unwrap();
        assert_eq!(both.open("a", &sealed).unwrap(), b"1");
        assert_eq!(new.open("a", &both.seal("a", b"2").unwrap()).unwrap(), b"2", "the first one seals");
    }
}
