//! The frame of a tar: where entries begin and end, and whether their headers are right.

use super::BLOCK;

/// Extended headers and long names are never longer than this.
pub(super) const EXTENSION_MAX: u64 = 1024 * 1024;

/// Follows the frame of a tar.
#[derive(Debug, Default)]
pub(super) struct Check {
    block: Vec<u8>,
    state: State,
    /// The size that an extended header gives for the next entry.
    size: Option<u64>,
    /// Whether a compressed archive is refused.
    plain: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing has come yet.
    #[default]
    Start,
    /// A header comes next.
    Header,
    /// One empty block has come; a second ends the archive.
    Ending,
    /// Data, and how much of it is padding.
    Data { left: u64, padding: u64 },
    /// An extended header, to be read.
    Extension { left: u64, length: usize },
    /// Further blocks of a sparse file's map.
    Sparse { size: u64 },
    /// The end, or compressed: anything may follow.
    Anything,
}

impl Check {
    /// One that refuses what is compressed.
    pub(super) fn plain() -> Self {
        Check { plain: true, ..Check::default() }
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Anything => return Ok(()),
                State::Data { left, .. } => {
                    let step = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= step as u64;
                    bytes = bytes.get(step..).unwrap_or_default();
                    if *left == 0 {
                        self.state = State::Header;
                    }
                    continue;
                }
                State::Extension { left, length } => {
                    let step = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= step as u64;
                    let (taken, rest) = bytes.split_at(step);
                    self.block.extend_from_slice(taken);
                    bytes = rest;
                    if *left == 0 {
                        let length = *length;
                        self.size = extended_size(self.block.get(..length).unwrap_or_default());
                        self.block.clear();
                        self.state = State::Header;
                    }
                    continue;
                }
                State::Start | State::Header | State::Ending | State::Sparse { .. } => {}
            }
            let step = (BLOCK - self.block.len()).min(bytes.len());
            let (taken, rest) = bytes.split_at(step);
            self.block.extend_from_slice(taken);
            bytes = rest;
            if self.state == State::Start && self.block.len() >= 6 && is_compressed(&self.block) {
                if self.plain {
                    return Err("it is compressed; a plain tar is needed");
                }
                self.state = State::Anything;
                return Ok(());
            }
            if self.block.len() == BLOCK {
                let block = std::mem::take(&mut self.block);
                self.state = self.after(&block)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<(), &'static str> {
        match self.state {
            State::Start if self.block.is_empty() => Err("it is empty"),
            State::Start => Err("it is not a tar archive"),
            State::Anything => Ok(()),
            // Some programs leave the end marks and the last padding out; engines accept it.
            State::Header | State::Ending if self.block.is_empty() => Ok(()),
            State::Data { left, padding } if left <= padding => Ok(()),
            _ => Err("it ends in the middle of an entry"),
        }
    }

    /// What follows this block.
    fn after(&mut self, block: &[u8]) -> Result<State, &'static str> {
        if let State::Sparse { size } = self.state {
            return Ok(if block.get(504).is_some_and(|more| *more != 0) { State::Sparse { size } } else { data(size) });
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(if self.state == State::Ending { State::Anything } else { State::Ending });
        }
        let header = Header::read(block).ok_or(match self.state {
            State::Start => "it is not a tar archive",
            _ => "an entry has a wrong checksum or size",
        })?;
        match header.kind {
            // Extended headers are about the next entry; global ones and long names do not change its frame.
            b'x' | b'g' | b'L' | b'K' if header.size > EXTENSION_MAX => Err("an extended header is too long"),
            b'x' if header.size > 0 => Ok(State::Extension {
                left: header.size.next_multiple_of(BLOCK as u64),
                length: usize::try_from(header.size).map_err(|_| "an extended header is too long")?,
            }),
            b'x' | b'g' | b'L' | b'K' => Ok(data(header.size)),
            // Links, devices and directories have no data, whatever their size says.
            b'1'..=b'6' => {
                self.size = None;
                Ok(State::Header)
            }
            kind => {
                let size = self.size.take().unwrap_or(header.size);
                let more_map = kind == b'S' && block.get(482).is_some_and(|more| *more != 0);
                Ok(if more_map { State::Sparse { size } } else { data(size) })
            }
        }
    }
}

fn data(size: u64) -> State {
    let whole = size.checked_next_multiple_of(BLOCK as u64).unwrap_or(size);
    if whole == 0 { State::Header } else { State::Data { left: whole, padding: whole - size } }
}

/// Whether this is how a compressed archive begins (gzip, bzip2, xz, zstd).
pub(crate) fn is_compressed(bytes: &[u8]) -> bool {
    let magics: [&[u8]; 4] = [&[0x1f, 0x8b], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z', 0], &[0x28, 0xb5, 0x2f, 0xfd]];
    magics.iter().any(|magic| bytes.starts_with(magic))
}

/// What matters of a header.
pub(super) struct Header {
    pub(super) size: u64,
    pub(super) kind: u8,
}

impl Header {
    pub(super) fn read(block: &[u8]) -> Option<Self> {
        let sum = number(block.get(148..156)?)?;
        let bytes = || block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
        let unsigned: u64 = bytes().map(u64::from).sum();
        // Very old programs summed up signed bytes.
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        if sum != unsigned && i64::try_from(sum) != Ok(signed) {
            return None;
        }
        Some(Header { size: number(block.get(124..136)?)?, kind: *block.get(156)? })
    }
}

/// A number of a header: octal digits, or, marked by the first bit, binary.
fn number(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if *first & 0x80 != 0 {
        // The second bit is a sign; nothing here may be negative.
        let start = (*first & 0x40 == 0).then_some(u64::from(*first & 0x3f))?;
        return rest.iter().try_fold(start, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches(|c| c == ' ' || c == '\0');
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// The `size` of an extended header: records of the form `LENGTH KEY=VALUE\n`.
fn extended_size(mut records: &[u8]) -> Option<u64> {
    let mut size = None;
    while !records.is_empty() {
        let blank = records.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(records.get(..blank)?).ok()?.parse().ok()?;
        let record = records.get(blank + 1..length.checked_sub(1)?)?;
        if let Some(value) = record.strip_prefix(b"size=") {
            size = std::str::from_utf8(value).ok()?.parse().ok();
        }
        records = records.get(length..)?;
    }
    size
}
