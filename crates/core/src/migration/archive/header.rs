//! Headers of tar entries: ustar, what GNU and POSIX added to it, and writing an entry under another name.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Result};

/// Everything in a tar archive is in blocks of this size.
pub(super) const BLOCK: usize = 512;

/// Values that fit into the octal fields of uid and gid.
const ID_MAX: u64 = 0o777_7777;

/// A size that fits into its octal field.
const SIZE_MAX: u64 = 0o777_7777_7777;

pub(super) fn broken(reason: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Unexpected, format!("the engine's archive cannot be read: {reason}"))
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
}

/// An entry with everything that stands in headers before its data.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Without leading `./` and `/`, and without a slash at the end; empty for the root. Names are bytes, and need be no text.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) mtime: u64,
    pub(super) size: u64,
    pub(super) link: Vec<u8>,
    pub(super) device: (u64, u64),
    /// POSIX records that are none of the above: extended attributes, finer times.
    pub(super) records: Records,
}

/// The records of a POSIX extended header by their keys, which may hold the name of an attribute and need be no text.
pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// A path for people: what is no text is escaped, as is what begins an escape.
pub(super) fn shown(path: &[u8]) -> String {
    path.utf8_chunks().fold(String::new(), |text, chunk| {
        let invalid: String = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")).collect();
        text + &chunk.valid().replace('\\', "\\\\") + &invalid
    })
}

/// Takes what leads out, and what says nothing, away from a path; a path that leads out is refused.
pub(super) fn clean(path: &[u8]) -> Result<Vec<u8>> {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) || path.contains(&0) {
        return Err(broken(format_args!("the name {} leads out of it", shown(path))));
    }
    Ok(parts.join(&b'/'))
}

fn field(header: &[u8], from: usize, length: usize) -> &[u8] {
    header.get(from..from + length).unwrap_or_default()
}

/// What stands before the first NUL.
fn text(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

fn number(header: &[u8], from: usize, length: usize) -> Result<u64> {
    let bytes = field(header, from, length);
    if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
        // GNU: the number itself, big endian, for what does not fit into octal digits.
        let negative = bytes.first().is_some_and(|byte| byte & 0x40 != 0);
        if negative {
            return Ok(0);
        }
        return bytes.iter().skip(1).try_fold(0_u64, |sum, byte| {
            sum.checked_mul(256).map(|sum| sum + u64::from(*byte)).ok_or_else(|| broken("a number is too large"))
        });
    }
    let digits = text(bytes);
    let digits = String::from_utf8_lossy(&digits);
    let digits = digits.trim_matches(' ');
    if digits.is_empty() {
        return Ok(0);
    }
    u64::from_str_radix(digits, 8).map_err(|_| broken(format_args!("{digits:?} is not an octal number")))
}

/// The plain part of a header: its type letter, its size, and the entry without what earlier blocks say of it.
pub(super) fn parse(header: &[u8]) -> Result<(u8, Entry)> {
    let stated = number(header, 148, 8)?;
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(at, byte)| u64::from(if (148..156).contains(&at) { b' ' } else { *byte }))
        .sum();
    if stated != sum {
        return Err(broken("the checksum of a header is wrong"));
    }
    let letter = header.get(156).copied().unwrap_or_default();
    let ustar = field(header, 257, 5) == b"ustar";
    let (name, prefix) = (text(field(header, 0, 100)), text(field(header, 345, 155)));
    // GNU's own format has other things where POSIX has the prefix.
    let posix = ustar && field(header, 263, 2) == b"00";
    let path = if posix && !prefix.is_empty() { [prefix, name].join(&b'/') } else { name };
    let kind = match letter {
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Character,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        // Before POSIX a slash at the end was what made a directory.
        0 if path.ends_with(b"/") => Kind::Directory,
        _ => Kind::File,
    };
    let entry = Entry {
        path,
        kind,
        mode: u32::try_from(number(header, 100, 8)? & 0o7777).unwrap_or_default(),
        uid: number(header, 108, 8)?,
        gid: number(header, 116, 8)?,
        mtime: number(header, 136, 12)?,
        size: number(header, 124, 12)?,
        link: text(field(header, 157, 100)),
        device: (number(header, 329, 8)?, number(header, 337, 8)?),
        records: BTreeMap::new(),
    };
    Ok((letter, entry))
}

/// The name in a GNU block of its own.
pub(super) fn long_name(data: &[u8]) -> Vec<u8> {
    text(data)
}

/// The records of a POSIX extended header.
pub(super) fn records(mut data: &[u8]) -> Result<Records> {
    let mut found = BTreeMap::new();
    while !data.is_empty() {
        let malformed = || broken("an extended header makes no sense");
        let space = data.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
        let digits = std::str::from_utf8(data.get(..space).unwrap_or_default()).map_err(|_| malformed())?;
        let length: usize = digits.parse().map_err(|_| malformed())?;
        let record = data.get(space + 1..length).ok_or_else(malformed)?;
        let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
        let (key, value) = record.split_at(equals);
        found.insert(key.to_vec(), value.get(1..).unwrap_or_default().to_vec());
        data = data.get(length..).unwrap_or_default();
    }
    Ok(found)
}

impl Entry {
    /// What extended headers say goes before what the plain one says.
    pub(super) fn extend(&mut self, records: Records) -> Result<()> {
        for (key, value) in records {
            let digits = || {
                let text = String::from_utf8_lossy(&value);
                text.parse().map_err(|_| broken(format_args!("{} is not a number", shown(&key))))
            };
            match key.as_slice() {
                b"path" => self.path = text(&value),
                b"linkpath" => self.link = text(&value),
                b"size" => self.size = digits()?,
                b"uid" => self.uid = digits()?,
                b"gid" => self.gid = digits()?,
                key if key.starts_with(b"GNU.sparse") => return Err(broken("it holds sparse files")),
                _ => {
                    self.records.insert(key, value);
                }
            }
        }
        Ok(())
    }

    /// A directory that an archive takes for granted.
    pub(super) fn directory(path: &[u8]) -> Self {
        Entry {
            path: path.to_vec(),
            kind: Kind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 0,
            size: 0,
            link: Vec::new(),
            device: (0, 0),
            records: BTreeMap::new(),
        }
    }

    /// All header blocks of the entry as POSIX has them. Names that are no ASCII stand there as they are, which every reader
    /// of today takes; only what is too long goes into records.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut path = self.path.clone();
        if self.kind == Kind::Directory {
            path.push(b'/');
        }
        let mut records = self.records.clone();
        let mut long = |key: &[u8], value: &[u8], fits: bool| {
            if !fits {
                records.insert(key.to_vec(), value.to_vec());
            }
        };
        long(b"path", &path, path.len() <= 100);
        long(b"linkpath", &self.link, self.link.len() <= 100);
        long(b"size", self.size.to_string().as_bytes(), self.size <= SIZE_MAX);
        long(b"uid", self.uid.to_string().as_bytes(), self.uid <= ID_MAX);
        long(b"gid", self.gid.to_string().as_bytes(), self.gid <= ID_MAX);
        let mut blocks = Vec::new();
        if !records.is_empty() {
            let data: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
            let extended = Entry { size: data.len() as u64, ..Entry::directory(b"") };
            blocks.extend(extended.plain(b"PaxHeaders/entry", b'x'));
            blocks.extend(&data);
            blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
        }
        let letter = match self.kind {
            Kind::File => b'0',
            Kind::HardLink => b'1',
            Kind::Symlink => b'2',
            Kind::Character => b'3',
            Kind::Block => b'4',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
        };
        blocks.extend(self.plain(&path, letter));
        blocks
    }

    fn plain(&self, path: &[u8], letter: u8) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        let mut put = |at: usize, bytes: &[u8], most: usize| {
            for (place, byte) in header.iter_mut().skip(at).take(most).zip(bytes) {
                *place = *byte;
            }
        };
        put(0, path, 100);
        put(100, format!("{:07o}", self.mode).as_bytes(), 7);
        put(108, format!("{:07o}", self.uid.min(ID_MAX)).as_bytes(), 7);
        put(116, format!("{:07o}", self.gid.min(ID_MAX)).as_bytes(), 7);
        put(124, format!("{:011o}", self.size.min(SIZE_MAX)).as_bytes(), 11);
        put(136, format!("{:011o}", self.mtime.min(SIZE_MAX)).as_bytes(), 11);
        put(148, b"        ", 8);
        put(156, &[letter], 1);
        put(157, &self.link, 100);
        put(257, b"ustar\x0000", 8);
        put(329, format!("{:07o}", self.device.0.min(ID_MAX)).as_bytes(), 7);
        put(337, format!("{:07o}", self.device.1.min(ID_MAX)).as_bytes(), 7);
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        for (place, byte) in header.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").bytes()) {
            *place = byte;
        }
        header
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}
