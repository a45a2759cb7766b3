//! Files of a node, or of a container on it: `filesystem.*`, section 12.4 of the reference. All generations have them.
//!
//! Permissions are their usual bits: `0o644`, which a node writes as 420.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use roadstead_core::{Error, ErrorKind, Result};

use super::Commands;
use super::reading::record;

/// What is written at once when a whole file is; a node reads as much.
const BLOCK: usize = 512 * 1024;

/// `filesystem.*`.
#[derive(Clone, Copy, Debug)]
pub struct Filesystem<'a>(pub(super) &'a Commands);

/// A file that is open on the node, by a number that only the node knows. It closes it itself after five idle minutes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenFile(pub(super) String);

impl OpenFile {
    /// The node's word for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenMode {
    /// Reading; it must exist.
    #[default]
    Read,
    /// Writing; what is in it is lost.
    Write,
    /// Writing at its end.
    Append,
    /// Writing; it must not exist.
    Create,
}

/// How a file is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenOptions {
    /// What for.
    pub mode: OpenMode,
    /// Whether for the other thing, too: reading when it is opened for writing, writing when for reading.
    pub both: bool,
    /// Permission bits of a file that is created.
    pub permissions: u32,
}

impl OpenOptions {
    /// For this, and nothing else; a file that is created gets `0o644`.
    #[must_use]
    pub fn new(mode: OpenMode) -> Self {
        OpenOptions { mode, both: false, permissions: 0o644 }
    }

    fn word(&self) -> String {
        let mode = match self.mode {
            OpenMode::Read => "r",
            OpenMode::Write => "w",
            OpenMode::Append => "a",
            OpenMode::Create => "x",
        };
        format!("{mode}{}", if self.both { "+" } else { "" })
    }
}

/// Permissions to set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Permissions {
    /// The bits.
    pub mode: u32,
    /// Whether for all that is below, too.
    pub recursive: bool,
}

/// Owners to set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Ownership {
    /// Name of the user.
    pub user: String,
    /// Name of the group.
    pub group: String,
    /// Whether for all that is below, too.
    pub recursive: bool,
}

record! {
    /// What is in a directory.
    pub struct Entry {
        /// Its name.
        name: String = "name";
        /// Its size in bytes.
        size_bytes: u64 = "size";
        /// Its permission bits.
        mode: u32 = "mode";
        /// Whether it is a directory.
        is_directory: bool = "is_dir";
    }
}

/// `filesystem.*`.
impl Filesystem<'_> {
    /// Opens a file: `filesystem.open`.
    ///
    /// # Errors
    /// As every command; `NotFound`, and `AlreadyExists` for [`OpenMode::Create`].
    pub async fn open(&self, path: &str, options: &OpenOptions) -> Result<OpenFile> {
        let arguments = json!({"file": path, "mode": options.word(), "perm": options.permissions});
        self.0.call("filesystem.open", arguments).await.map(OpenFile)
    }

    /// The next bytes of a file, at most 512 KiB; none at its end: `filesystem.read`.
    ///
    /// # Errors
    /// As every command; `NotFound` when it is not open any more.
    pub async fn read(&self, file: &OpenFile) -> Result<Bytes> {
        let text: String = self.0.call("filesystem.read", json!({"fd": file.0})).await?;
        let bytes = STANDARD.decode(text.trim()).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the answer of filesystem.read is no base64").with_source(error)
        })?;
        Ok(bytes.into())
    }

    /// Writes bytes to a file, all of them in one command: `filesystem.write`.
    ///
    /// # Errors
    /// As [`Filesystem::read`].
    pub async fn write(&self, file: &OpenFile, block: &[u8]) -> Result<()> {
        self.0.done("filesystem.write", json!({"fd": file.0, "block": STANDARD.encode(block)})).await
    }

    /// Closes a file; one that is closed already, too: `filesystem.close`.
    ///
    /// # Errors
    /// As every command.
    pub async fn close(&self, file: OpenFile) -> Result<()> {
        self.0.done("filesystem.close", json!({"fd": file.0})).await
    }

    /// A whole file of at most so many bytes. It is closed in any case; if this call is dropped, by the node after five
    /// minutes.
    ///
    /// # Errors
    /// As every command; `NotFound`; `ResourceExhausted` when it is longer than the limit.
    pub async fn read_file(&self, path: &str, limit_bytes: u64) -> Result<Bytes> {
        let file = self.open(path, &OpenOptions::new(OpenMode::Read)).await?;
        let content = self.read_to_end(&file, limit_bytes).await;
        let closed = self.close(file).await;
        // What was read is whole, whether or not it could be closed.
        if let (Ok(_), Err(error)) = (&content, &closed) {
            tracing::debug!(path, %error, "a file that was read could not be closed");
        }
        content
    }

    async fn read_to_end(&self, file: &OpenFile, limit_bytes: u64) -> Result<Bytes> {
        let mut content = Vec::new();
        loop {
            let block = self.read(file).await?;
            if block.is_empty() {
                return Ok(content.into());
            }
            content.extend_from_slice(&block);
            if u64::try_from(content.len()).unwrap_or(u64::MAX) > limit_bytes {
                return Err(Error::new(
                    ErrorKind::ResourceExhausted,
                    format!("the file is longer than the limit of {limit_bytes} bytes"),
                )
                .with_retry(roadstead_core::Retry::Never));
            }
        }
    }

    /// Writes a whole file, in blocks, with these permission bits if it is new. What was in it is lost at the beginning, so
    /// that an error, or dropping this call, may leave a part. It is closed in any case.
    ///
    /// # Errors
    /// As every command; `NotFound` when its directory does not exist.
    pub async fn write_file(&self, path: &str, content: &[u8], permissions: u32) -> Result<()> {
        let options = OpenOptions { permissions, ..OpenOptions::new(OpenMode::Write) };
        let file = self.open(path, &options).await?;
        let written = self.write_blocks(&file, content).await;
        // An error of closing may be one of writing that was put off.
        let closed = self.close(file).await;
        written.and(closed)
    }

    async fn write_blocks(&self, file: &OpenFile, content: &[u8]) -> Result<()> {
        for block in content.chunks(BLOCK) {
            self.write(file, block).await?;
        }
        Ok(())
    }

    /// Makes a directory and those above it, all `0o755`; one that exists stays: `filesystem.mkdir`.
    ///
    /// # Errors
    /// As every command.
    pub async fn make_directory(&self, path: &str) -> Result<()> {
        self.0.done("filesystem.mkdir", json!({"path": path})).await
    }

    /// Removes what is there and all below, if there is anything: `filesystem.remove`.
    ///
    /// # Errors
    /// As every command.
    pub async fn remove(&self, path: &str) -> Result<()> {
        self.0.done("filesystem.remove", json!({"path": path})).await
    }

    /// Whether there is anything: `filesystem.exists`.
    ///
    /// # Errors
    /// As every command.
    pub async fn exists(&self, path: &str) -> Result<bool> {
        self.0.ask("filesystem.exists", json!({"path": path})).await
    }

    /// What is in a directory: `filesystem.list`.
    ///
    /// # Errors
    /// As every command; `NotFound`.
    pub async fn list(&self, path: &str) -> Result<Vec<Entry>> {
        self.0.list("filesystem.list", json!({"path": path})).await
    }

    /// Sets permissions: `filesystem.chmod`.
    ///
    /// # Errors
    /// As every command; `NotFound`.
    pub async fn change_mode(&self, path: &str, permissions: &Permissions) -> Result<()> {
        let Permissions { mode, recursive } = permissions;
        self.0.done("filesystem.chmod", json!({"path": path, "mode": mode, "recursive": recursive})).await
    }

    /// Sets owners: `filesystem.chown`.
    ///
    /// # Errors
    /// As every command; `NotFound` for the path, `InvalidInput` for a user or group that does not exist there.
    pub async fn change_owner(&self, path: &str, owners: &Ownership) -> Result<()> {
        let Ownership { user, group, recursive } = owners;
        let arguments = json!({"path": path, "user": user, "group": group, "recursive": recursive});
        self.0.done("filesystem.chown", arguments).await
    }

    /// Gives something another name: `filesystem.move`.
    ///
    /// # Errors
    /// As every command; `NotFound`.
    pub async fn rename(&self, path: &str, destination: &str) -> Result<()> {
        self.0.done("filesystem.move", json!({"path": path, "destination": destination})).await
    }
}
