//! One entry of a tar archive as values, and the blocks that it is written as.
//!
//! Written is what every reader of today takes: ustar, with a PAX extension before it only where ustar has no room.

use bytes::Bytes;

use super::super::BLOCK;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    /// Another name of an earlier entry.
    HardLink,
    SymbolicLink,
    CharacterDevice,
    BlockDevice,
    Directory,
    Fifo,
}

impl Kind {
    pub(super) fn from_letter(letter: u8) -> Option<Self> {
        Some(match letter {
            b'0' | 0 | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::SymbolicLink,
            b'3' => Kind::CharacterDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => return None,
        })
    }

    const fn letter(self) -> u8 {
        match self {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::SymbolicLink => b'2',
            Kind::CharacterDevice => b'3',
            Kind::BlockDevice => b'4',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
        }
    }
}

/// One entry, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As it stands in the archive, without a slash at its end.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permissions, with set-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Bytes of data that follow; 0 for all but files.
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
    /// Where a link goes.
    pub(crate) link: Vec<u8>,
    /// Major and minor number of a device.
    pub(crate) device: (u64, u64),
    /// Further records of a PAX extension: extended attributes, parts of seconds.
    pub(crate) records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    pub(crate) fn new(path: impl Into<Vec<u8>>, kind: Kind) -> Self {
        Entry {
            path: path.into(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            link: Vec::new(),
            device: (0, 0),
            records: Vec::new(),
        }
    }

    /// The blocks that stand before the data.
    pub(crate) fn blocks(&self) -> Bytes {
        let mut records = self.records.clone();
        let mut path = self.path.clone();
        if self.kind == Kind::Directory {
            path.push(b'/');
        }
        let mut header = Header::new(self.kind);
        if !header.path(&path) {
            records.push((b"path".to_vec(), path));
        }
        if !header.text(157, 100, &self.link) {
            records.push((b"linkpath".to_vec(), self.link.clone()));
        }
        header.number(100, 8, u64::from(self.mode));
        for (name, from, length, value) in
            [("uid", 108, 8, self.uid), ("gid", 116, 8, self.gid), ("size", 124, 12, self.size)]
        {
            if !header.number(from, length, value) {
                records.push((name.into(), value.to_string().into_bytes()));
            }
        }
        if !u64::try_from(self.mtime).is_ok_and(|seconds| header.number(136, 12, seconds))
            && !records.iter().any(|(name, _)| name == b"mtime")
        {
            records.push((b"mtime".to_vec(), self.mtime.to_string().into_bytes()));
        }
        header.number(329, 8, self.device.0);
        header.number(337, 8, self.device.1);
        let mut blocks = Vec::new();
        if !records.is_empty() {
            let text: Vec<u8> = records.iter().flat_map(|(name, value)| record(name, value)).collect();
            let mut extension = Header::new(Kind::File);
            extension.set(156, b"x");
            extension.path(b"PaxHeader");
            extension.number(100, 8, 0o644);
            extension.number(124, 12, text.len() as u64);
            blocks.extend_from_slice(&extension.finish());
            blocks.extend_from_slice(&text);
            blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
        }
        blocks.extend_from_slice(&header.finish());
        blocks.into()
    }

    /// What stands after the data.
    pub(crate) fn padding(&self) -> Bytes {
        let over = self.size % BLOCK as u64;
        let missing = if over == 0 { 0 } else { BLOCK as u64 - over };
        vec![0; usize::try_from(missing).unwrap_or(0)].into()
    }

    /// What stands at the end of an archive.
    pub(crate) fn end() -> Bytes {
        Bytes::from_static(&[0; 2 * BLOCK])
    }
}

/// `12 path=abc\n`, where the number counts itself.
fn record(name: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = name.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", name, b"=", value, b"\n"].concat()
}

/// One block that is being filled in.
struct Header([u8; BLOCK]);

impl Header {
    fn new(kind: Kind) -> Self {
        let mut header = Header([0; BLOCK]);
        header.set(156, &[kind.letter()]);
        header.set(257, b"ustar\x0000");
        header
    }

    fn set(&mut self, from: usize, bytes: &[u8]) {
        for (place, byte) in self.0.iter_mut().skip(from).zip(bytes) {
            *place = *byte;
        }
    }

    /// Whether there was room for it.
    fn text(&mut self, from: usize, length: usize, text: &[u8]) -> bool {
        let fits = text.len() <= length;
        self.set(from, text.get(..text.len().min(length)).unwrap_or_default());
        fits
    }

    /// A long path is split at a slash into a name and what goes before it.
    fn path(&mut self, path: &[u8]) -> bool {
        if path.len() <= 100 {
            return self.text(0, 100, path);
        }
        let split = path.iter().enumerate().position(|(at, byte)| {
            *byte == b'/' && at <= 155 && at > 0 && path.len() - at - 1 <= 100 && path.len() - at > 1
        });
        match split.and_then(|at| path.get(..at).zip(path.get(at + 1..))) {
            Some((before, name)) => self.text(0, 100, name) && self.text(345, 155, before),
            None => {
                self.text(0, 100, path);
                false
            }
        }
    }

    /// Whether there was room for it.
    fn number(&mut self, from: usize, length: usize, value: u64) -> bool {
        let digits = format!("{value:0width$o}", width = length - 1);
        let fits = digits.len() < length;
        self.set(from, if fits { digits.as_bytes() } else { b"0" });
        fits
    }

    fn finish(mut self) -> [u8; BLOCK] {
        self.set(148, b"        ");
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.set(148, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}
