//! A file system in memory, and the view that a process has of several of them mounted together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::lock;

/// More than any test needs, and little enough that a served node cannot fill the machine's memory by one container.
pub(super) const CAPACITY_BYTES: usize = 256 * 1024 * 1024;

/// What is stored at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    File(Bytes),
    Directory,
    Symlink(String),
}

/// One file, directory or symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) content: Content,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    /// Seconds since 1970.
    pub(super) modified: u64,
}

impl Entry {
    pub(super) fn file(data: impl Into<Bytes>, mode: u32) -> Self {
        Entry { content: Content::File(data.into()), mode, uid: 0, gid: 0, modified: 0 }
    }

    pub(super) fn directory() -> Self {
        Entry { content: Content::Directory, mode: 0o755, uid: 0, gid: 0, modified: 0 }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.content == Content::Directory
    }

    fn size(&self) -> usize {
        match &self.content {
            Content::File(data) => data.len(),
            Content::Directory | Content::Symlink(_) => 0,
        }
    }
}

/// Why something could not be done with a path, in the words of `strerror`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FileError {
    #[error("No such file or directory")]
    NotFound,
    #[error("Not a directory")]
    NotDirectory,
    #[error("Is a directory")]
    IsDirectory,
    #[error("Read-only file system")]
    ReadOnly,
    #[error("Operation not permitted")]
    NotPermitted,
    #[error("No space left on device")]
    Full,
}

/// A tree of files. Keys are absolute paths without a slash at the end; the root is always there.
#[derive(Clone, Debug)]
pub(super) struct FileSystem {
    entries: BTreeMap<String, Entry>,
    bytes: usize,
}

pub(super) type SharedFiles = Arc<Mutex<FileSystem>>;

impl Default for FileSystem {
    fn default() -> Self {
        FileSystem { entries: BTreeMap::from([("/".to_owned(), Entry::directory())]), bytes: 0 }
    }
}

/// Makes a path absolute (from `directory`) and takes `.`, `..` and doubled slashes out.
pub(super) fn absolute(directory: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{directory}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The directory that holds `path`, which is absolute.
fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((directory, _)) => directory,
    }
}

/// `path` below `base`, as an absolute path of its own; `None` when it is not below.
pub(super) fn below<'a>(base: &str, path: &'a str) -> Option<&'a str> {
    if base == "/" {
        return Some(path);
    }
    match path.strip_prefix(base)? {
        "" => Some("/"),
        rest if rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

/// `rest`, an absolute path, moved below `base`.
pub(super) fn join(base: &str, rest: &str) -> String {
    match (base, rest) {
        ("/", rest) => rest.to_owned(),
        (base, "/") => base.to_owned(),
        (base, rest) => format!("{base}{rest}"),
    }
}

impl FileSystem {
    pub(super) fn shared(self) -> SharedFiles {
        Arc::new(Mutex::new(self))
    }

    /// Size of all files.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// The entry itself, symbolic links not followed.
    pub(super) fn entry(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Where `path` leads to when a symbolic link is its last part.
    pub(super) fn followed(&self, path: &str) -> String {
        let mut path = path.to_owned();
        for _ in 0..8 {
            match self.entries.get(&path).map(|entry| &entry.content) {
                Some(Content::Symlink(target)) => path = absolute(parent(&path), target),
                _ => break,
            }
        }
        path
    }

    pub(super) fn read(&self, path: &str) -> Result<Bytes, FileError> {
        match self.entries.get(&self.followed(path)).map(|entry| &entry.content) {
            Some(Content::File(data)) => Ok(data.clone()),
            Some(Content::Directory) => Err(FileError::IsDirectory),
            Some(Content::Symlink(_)) | None => Err(FileError::NotFound),
        }
    }

    /// Puts an entry at `path`, whose directory must exist.
    pub(super) fn put(&mut self, path: &str, entry: Entry) -> Result<(), FileError> {
        if !self.entries.get(parent(path)).is_some_and(Entry::is_directory) {
            return Err(if self.entries.contains_key(parent(path)) {
                FileError::NotDirectory
            } else {
                FileError::NotFound
            });
        }
        let before = self.entries.get(path).map_or(0, Entry::size);
        let bytes = self.bytes - before + entry.size();
        if bytes > CAPACITY_BYTES {
            return Err(FileError::Full);
        }
        if !entry.is_directory() && self.entries.get(path).is_some_and(Entry::is_directory) {
            return Err(FileError::IsDirectory);
        }
        self.bytes = bytes;
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }

    /// Like [`FileSystem::put`], and makes the directories on the way.
    pub(super) fn put_deep(&mut self, path: &str, entry: Entry) -> Result<(), FileError> {
        let mut missing = Vec::new();
        let mut directory = parent(path);
        while !self.entries.contains_key(directory) {
            missing.push(directory.to_owned());
            directory = parent(directory);
        }
        for directory in missing.iter().rev() {
            self.put(directory, Entry::directory())?;
        }
        self.put(path, entry)
    }

    /// Takes `path` and all below it away.
    pub(super) fn remove(&mut self, path: &str) -> Result<(), FileError> {
        if path == "/" {
            return Err(FileError::NotPermitted);
        }
        let gone: Vec<String> = self.tree(path).map(|(path, _)| path.to_owned()).collect();
        if gone.is_empty() {
            return Err(FileError::NotFound);
        }
        for path in gone {
            if let Some(entry) = self.entries.remove(&path) {
                self.bytes -= entry.size();
            }
        }
        Ok(())
    }

    /// `path` and all below it.
    pub(super) fn tree(&self, path: &str) -> impl Iterator<Item = (&str, &Entry)> {
        self.iter().filter(move |(candidate, _)| below(path, candidate).is_some())
    }

    pub(super) fn entry_mut(&mut self, path: &str) -> Option<&mut Entry> {
        let path = self.followed(path);
        self.entries.get_mut(&path)
    }
}

/// A file system mounted into another.
#[derive(Clone, Debug)]
pub(super) struct MountPoint {
    pub(super) target: String,
    pub(super) source: SharedFiles,
    /// The directory of `source` that is mounted.
    pub(super) directory: String,
    pub(super) read_only: bool,
}

/// What a process sees: a root and what is mounted into it.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) root: SharedFiles,
    pub(super) read_only_root: bool,
    pub(super) mounts: Vec<MountPoint>,
}

impl View {
    pub(super) fn of(root: &SharedFiles) -> Self {
        View { root: Arc::clone(root), read_only_root: false, mounts: Vec::new() }
    }

    /// The file system that `path` is on, the path there, and whether it cannot be written.
    fn locate(&self, path: &str) -> (&SharedFiles, String, bool) {
        let mount = self
            .mounts
            .iter()
            .filter_map(|mount| below(&mount.target, path).map(|rest| (mount, rest)))
            .max_by_key(|(mount, _)| mount.target.len());
        match mount {
            Some((mount, rest)) => (&mount.source, join(&mount.directory, rest), mount.read_only),
            None => (&self.root, path.to_owned(), self.read_only_root),
        }
    }

    fn writable(&self, path: &str) -> Result<(&SharedFiles, String), FileError> {
        match self.locate(path) {
            (_, _, true) => Err(FileError::ReadOnly),
            (files, path, false) => Ok((files, path)),
        }
    }

    /// The entry that `path` leads to.
    pub(super) fn stat(&self, path: &str) -> Option<Entry> {
        let (files, path, _) = self.locate(path);
        let files = lock(files);
        files.entry(&files.followed(&path)).cloned()
    }

    /// Whether something is called `path`, wherever it leads.
    pub(super) fn exists(&self, path: &str) -> bool {
        let (files, path, _) = self.locate(path);
        lock(files).entry(&path).is_some()
    }

    pub(super) fn read(&self, path: &str) -> Result<Bytes, FileError> {
        let (files, path, _) = self.locate(path);
        lock(files).read(&path)
    }

    pub(super) fn write(&self, path: &str, data: &[u8], append: bool, now: u64) -> Result<(), FileError> {
        let (files, path) = self.writable(path)?;
        let mut files = lock(files);
        let path = files.followed(&path);
        let mut entry = files.entry(&path).cloned().unwrap_or_else(|| Entry::file(Bytes::new(), 0o644));
        let mut whole = match (&entry.content, append) {
            (Content::Directory, _) => return Err(FileError::IsDirectory),
            (Content::File(old), true) => old.to_vec(),
            (Content::File(_), false) | (Content::Symlink(_), _) => Vec::new(),
        };
        whole.extend_from_slice(data);
        entry.content = Content::File(whole.into());
        entry.modified = now;
        files.put(&path, entry)
    }

    pub(super) fn put(&self, path: &str, entry: Entry) -> Result<(), FileError> {
        let (files, path) = self.writable(path)?;
        lock(files).put_deep(&path, entry)
    }

    pub(super) fn remove(&self, path: &str) -> Result<(), FileError> {
        let (files, path) = self.writable(path)?;
        lock(files).remove(&path)
    }

    pub(super) fn change(&self, path: &str, change: impl FnOnce(&mut Entry)) -> Result<(), FileError> {
        let (files, path) = self.writable(path)?;
        let mut files = lock(files);
        change(files.entry_mut(&path).ok_or(FileError::NotFound)?);
        Ok(())
    }

    /// `path` and all below it on the same file system, named from the last part of `path` on.
    pub(super) fn tree(&self, path: &str) -> Vec<(String, Entry)> {
        let (files, inner, _) = self.locate(path);
        let files = lock(files);
        let inner = files.followed(&inner);
        let name = path.rsplit('/').next().unwrap_or_default();
        files
            .tree(&inner)
            .filter_map(|(found, entry)| {
                let rest = below(&inner, found)?;
                Some((join(&format!("/{name}"), rest).trim_start_matches('/').to_owned(), entry.clone()))
            })
            .map(|(name, entry)| (if name.is_empty() { ".".to_owned() } else { name }, entry))
            .collect()
    }

    /// Names directly inside the directory `path`.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let (files, path, _) = self.locate(path);
        let files = lock(files);
        files
            .tree(&path)
            .filter_map(|(found, _)| below(&path, found))
            .filter_map(|rest| rest.strip_prefix('/').filter(|name| !name.is_empty() && !name.contains('/')))
            .map(str::to_owned)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_links_followed() {
        assert_eq!(absolute("/a/b", "../c//./d"), "/a/c/d");
        assert_eq!(absolute("/", "../../x"), "/x");
        let mut files = FileSystem::default();
        files.put_deep("/bin/busybox", Entry::file("x", 0o755)).unwrap();
        let mut link = Entry::file("", 0o777);
        link.content = Content::Symlink("busybox".to_owned());
        files.put("/bin/sh", link).unwrap();
        assert_eq!(files.read("/bin/sh").unwrap(), "x");
        assert_eq!(files.bytes(), 1);
        files.remove("/bin").unwrap();
        assert_eq!((files.bytes(), files.iter().count()), (0, 1));
    }

    #[test]
    fn mounts_hide_the_root_and_keep_their_own_rights() {
        let root = FileSystem::default().shared();
        let volume = FileSystem::default().shared();
        let mount = MountPoint {
            target: "/data".to_owned(),
            source: Arc::clone(&volume),
            directory: "/".to_owned(),
            read_only: false,
        };
        let mut view = View { root, read_only_root: true, mounts: vec![mount] };
        view.write("/data/x", b"1", false, 0).unwrap();
        view.write("/data/x", b"2", true, 0).unwrap();
        assert_eq!(lock(&volume).read("/x").unwrap(), "12");
        assert_eq!(view.write("/x", b"", false, 0), Err(FileError::ReadOnly));
        assert_eq!(view.tree("/data").iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["data", "data/x"]);
        assert_eq!(view.names("/data"), ["x"]);
        view.mounts[0].read_only = true;
        assert_eq!(view.remove("/data/x"), Err(FileError::ReadOnly));
    }
}
