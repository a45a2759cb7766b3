//! The packets of SFTP version 3, as far as they are needed.

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub(super) const VERSION: u32 = 3;
/// No answer is longer: what is read is asked for in pieces below this.
pub(super) const PACKET_MAX: u32 = 256 * 1024;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Ask {
    Init = 1,
    Open = 3,
    Close = 4,
    Read = 5,
    Write = 6,
    Lstat = 7,
    Setstat = 9,
    Opendir = 11,
    Readdir = 12,
    Remove = 13,
    Mkdir = 14,
    Rmdir = 15,
    Stat = 17,
    Readlink = 19,
    Symlink = 20,
    Extended = 200,
}

pub(super) const READ: u32 = 0x1;
pub(super) const WRITE: u32 = 0x2;
pub(super) const CREATE: u32 = 0x8;
pub(super) const TRUNCATE: u32 = 0x10;

/// The code of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    End,
    NoSuchFile,
    PermissionDenied,
    Unsupported,
    Other,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Version,
    Status(Status, String),
    Handle(Bytes),
    Data(Bytes),
    Names(Vec<(Bytes, Attributes)>),
    Attributes(Attributes),
}

/// What is known of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Attributes {
    pub(in super::super) size: Option<u64>,
    pub(in super::super) owner: Option<(u32, u32)>,
    /// Kind and permissions, as stat(2) has them.
    pub(in super::super) mode: Option<u32>,
    /// Of the last access and the last change, in seconds.
    pub(in super::super) times: Option<(u32, u32)>,
}

impl Attributes {
    pub(super) fn write(&self, to: &mut BytesMut) {
        let flags = u32::from(self.size.is_some())
            | u32::from(self.owner.is_some()) << 1
            | u32::from(self.mode.is_some()) << 2
            | u32::from(self.times.is_some()) << 3;
        to.put_u32(flags);
        if let Some(size) = self.size {
            to.put_u64(size);
        }
        if let Some((user, group)) = self.owner {
            to.put_u32(user);
            to.put_u32(group);
        }
        if let Some(mode) = self.mode {
            to.put_u32(mode);
        }
        if let Some((access, change)) = self.times {
            to.put_u32(access);
            to.put_u32(change);
        }
    }

    fn read(from: &mut Bytes) -> Option<Self> {
        let flags = number(from)?;
        let mut found = Attributes::default();
        if flags & 1 != 0 {
            found.size = Some(from.try_get_u64().ok()?);
        }
        if flags & 2 != 0 {
            found.owner = Some((number(from)?, number(from)?));
        }
        if flags & 4 != 0 {
            found.mode = Some(number(from)?);
        }
        if flags & 8 != 0 {
            found.times = Some((number(from)?, number(from)?));
        }
        if flags & 0x8000_0000 != 0 {
            for _ in 0..number(from)? {
                text(from)?;
                text(from)?;
            }
        }
        Some(found)
    }
}

/// A packet that is being written.
pub(super) struct Packet(BytesMut);

impl Packet {
    pub(super) fn new(ask: Ask, id: u32) -> Self {
        let mut bytes = BytesMut::new();
        bytes.put_u32(0);
        bytes.put_u8(ask as u8);
        bytes.put_u32(id);
        Packet(bytes)
    }

    pub(super) fn text(mut self, text: &[u8]) -> Self {
        self.0.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(text);
        self
    }

    pub(super) fn number(mut self, number: u32) -> Self {
        self.0.put_u32(number);
        self
    }

    pub(super) fn long(mut self, number: u64) -> Self {
        self.0.put_u64(number);
        self
    }

    pub(super) fn attributes(mut self, attributes: &Attributes) -> Self {
        attributes.write(&mut self.0);
        self
    }

    pub(super) fn finish(mut self) -> Bytes {
        let length = u32::try_from(self.0.len().saturating_sub(4)).unwrap_or(u32::MAX);
        for (place, byte) in self.0.iter_mut().zip(length.to_be_bytes()) {
            *place = byte;
        }
        self.0.freeze()
    }
}

/// Reads an answer, without its length; its id, and what it says. Nothing when it makes no sense.
pub(super) fn answer(mut bytes: Bytes) -> Option<(u32, Answer)> {
    let kind = bytes.try_get_u8().ok()?;
    let id = number(&mut bytes)?;
    let answer = match kind {
        // The version stands where others have their id.
        2 => return Some((0, Answer::Version)),
        101 => {
            let status = match number(&mut bytes)? {
                0 => Status::Ok,
                1 => Status::End,
                2 => Status::NoSuchFile,
                3 => Status::PermissionDenied,
                8 => Status::Unsupported,
                _ => Status::Other,
            };
            let words = text(&mut bytes).unwrap_or_default();
            Answer::Status(status, String::from_utf8_lossy(&words).into_owned())
        }
        102 => Answer::Handle(text(&mut bytes)?),
        103 => Answer::Data(text(&mut bytes)?),
        104 => {
            let count = number(&mut bytes)?;
            let mut names = Vec::new();
            for _ in 0..count {
                let name = text(&mut bytes)?;
                // The same as `ls -l` would write it.
                text(&mut bytes)?;
                names.push((name, Attributes::read(&mut bytes)?));
            }
            Answer::Names(names)
        }
        105 => Answer::Attributes(Attributes::read(&mut bytes)?),
        _ => return None,
    };
    Some((id, answer))
}

fn number(from: &mut Bytes) -> Option<u32> {
    from.try_get_u32().ok()
}

fn text(from: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(number(from)?).ok()?;
    (length <= from.len()).then(|| from.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_as_long_as_they_say() {
        let attributes = Attributes { size: Some(7), owner: Some((1, 2)), mode: Some(0o644), times: Some((3, 4)) };
        let packet = Packet::new(Ask::Setstat, 9).text(b"/a").attributes(&attributes).finish();
        assert_eq!(packet.len() - 4, usize::from(packet[3]));
        let mut rest = packet.slice(4 + 5 + 6..);
        assert_eq!(Attributes::read(&mut rest), Some(attributes));
        assert!(rest.is_empty());
    }

    #[test]
    fn answers_are_read_and_nonsense_is_not() {
        let status = [&[101_u8][..], &5_u32.to_be_bytes(), &2_u32.to_be_bytes(), &2_u32.to_be_bytes(), b"no"].concat();
        assert_eq!(answer(status.clone().into()), Some((5, Answer::Status(Status::NoSuchFile, "no".to_owned()))));
        assert_eq!(answer(status[..9].to_vec().into()), Some((5, Answer::Status(Status::NoSuchFile, String::new()))));
        let names = [
            &[104_u8][..],
            &6_u32.to_be_bytes(),
            &1_u32.to_be_bytes(),
            &1_u32.to_be_bytes(),
            b"x",
            &0_u32.to_be_bytes(),
            &4_u32.to_be_bytes(),
            &0o100_644_u32.to_be_bytes(),
        ]
        .concat();
        let Some((6, Answer::Names(found))) = answer(names.clone().into()) else { panic!() };
        assert_eq!((&found[0].0[..], found[0].1.mode), (&b"x"[..], Some(0o100_644)));
        for length in 0..names.len() {
            let _ = answer(names[..length].to_vec().into());
        }
        assert_eq!(answer(Bytes::from_static(&[103, 0, 0, 0, 1, 255, 255, 255, 255])), None);
        assert_eq!(answer(Bytes::new()), None);
    }
}
