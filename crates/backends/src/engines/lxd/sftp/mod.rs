//! A container's files, one by one, over the server's SFTP endpoint: owners as the container counts, links and directories
//! as they are, whether it runs or not, and without any program inside.

mod wire;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use roadstead_core::{Error, ErrorKind, Result, Retry};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::time::timeout;

use super::request::Request;
use super::shared::Lxd;
use super::transport::Link;
pub(super) use wire::Attributes;
use wire::{Answer, Ask, PACKET_MAX, Packet, Status};

/// A single answer may take so long.
const ANSWER: Duration = Duration::from_secs(60);
/// Bytes per packet of content, and how many packets are on their way at once.
const PIECE: u32 = 32 * 1024;
const AHEAD: usize = 16;

/// An open connection.
pub(super) struct Sftp {
    link: BufWriter<Link>,
    next: u32,
}

/// An open file or directory.
pub(super) struct Handle(Bytes);

impl Sftp {
    /// Opens a connection to the files of a container.
    pub(super) async fn open(lxd: &Lxd, id: &str) -> Result<Self> {
        let link = lxd.client.upgrade(Request::get(&["instances", id, "sftp"]), "sftp").await?;
        let mut sftp = Sftp { link: BufWriter::with_capacity(64 * 1024, link), next: 0 };
        // The version stands where other packets have their id.
        sftp.send(Packet::new(Ask::Init, wire::VERSION).finish()).await?;
        match sftp.receive().await? {
            (_, Answer::Version) => Ok(sftp),
            _ => Err(nonsense()),
        }
    }

    fn packet(&mut self, ask: Ask) -> (u32, Packet) {
        self.next = self.next.wrapping_add(1);
        (self.next, Packet::new(ask, self.next))
    }

    async fn send(&mut self, packet: Bytes) -> Result<()> {
        let sent = timeout(ANSWER, self.link.write_all(&packet)).await.map_err(|_| late())?;
        sent.map_err(broken)
    }

    async fn receive(&mut self) -> Result<(u32, Answer)> {
        let read = async {
            self.link.flush().await?;
            let length = self.link.get_mut().read_u32().await?;
            if length > PACKET_MAX {
                return Ok(None);
            }
            let mut bytes = BytesMut::zeroed(usize::try_from(length).unwrap_or_default());
            self.link.get_mut().read_exact(&mut bytes).await?;
            Ok(wire::answer(bytes.freeze()))
        };
        timeout(ANSWER, read).await.map_err(|_| late())?.map_err(broken)?.ok_or_else(nonsense)
    }

    async fn ask(&mut self, id: u32, packet: Packet) -> Result<Answer> {
        self.send(packet.finish()).await?;
        match self.receive().await? {
            (answered, answer) if answered == id => Ok(answer),
            _ => Err(nonsense()),
        }
    }

    async fn done(&mut self, what: &[u8], id: u32, packet: Packet) -> Result<()> {
        let answer = self.ask(id, packet).await?;
        done(what, answer)
    }

    /// What is at `path`, a link itself included.
    pub(super) async fn lstat(&mut self, path: &[u8]) -> Result<Attributes> {
        let (id, packet) = self.packet(Ask::Lstat);
        attributes(path, self.ask(id, packet.text(path)).await?)
    }

    /// What is at `path`, behind any link.
    pub(super) async fn stat(&mut self, path: &[u8]) -> Result<Attributes> {
        let (id, packet) = self.packet(Ask::Stat);
        attributes(path, self.ask(id, packet.text(path)).await?)
    }

    /// Where a link goes.
    pub(super) async fn read_link(&mut self, path: &[u8]) -> Result<Bytes> {
        let (id, packet) = self.packet(Ask::Readlink);
        match self.ask(id, packet.text(path)).await? {
            Answer::Names(names) => names.into_iter().next().map(|(name, _)| name).ok_or_else(nonsense),
            answer => Err(refusal(path, answer)),
        }
    }

    /// The names in a directory with what is known of each, by name; those for itself and the one above left out.
    pub(super) async fn list(&mut self, path: &[u8]) -> Result<Vec<(Bytes, Attributes)>> {
        let (id, packet) = self.packet(Ask::Opendir);
        let handle = handle(path, self.ask(id, packet.text(path)).await?)?;
        let mut names = Vec::new();
        loop {
            let (id, packet) = self.packet(Ask::Readdir);
            match self.ask(id, packet.text(&handle.0)).await? {
                Answer::Names(more) => names.extend(more.into_iter().filter(|(name, _)| *name != "." && *name != "..")),
                Answer::Status(Status::End, _) => break,
                answer => return Err(refusal(path, answer)),
            }
        }
        self.close(handle).await?;
        names.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(names)
    }

    pub(super) async fn make_directory(&mut self, path: &[u8], mode: u32) -> Result<()> {
        let (id, packet) = self.packet(Ask::Mkdir);
        let attributes = Attributes { mode: Some(mode), ..Attributes::default() };
        self.done(path, id, packet.text(path).attributes(&attributes)).await
    }

    pub(super) async fn remove(&mut self, path: &[u8]) -> Result<()> {
        let (id, packet) = self.packet(Ask::Remove);
        self.done(path, id, packet.text(path)).await
    }

    pub(super) async fn remove_directory(&mut self, path: &[u8]) -> Result<()> {
        let (id, packet) = self.packet(Ask::Rmdir);
        self.done(path, id, packet.text(path)).await
    }

    /// Makes a link at `path`. Servers take the two names in the order of OpenSSH, which is not the standard's.
    pub(super) async fn link(&mut self, path: &[u8], target: &[u8]) -> Result<()> {
        let (id, packet) = self.packet(Ask::Symlink);
        self.done(path, id, packet.text(target).text(path)).await
    }

    /// Gives an existing file another name.
    pub(super) async fn hard_link(&mut self, path: &[u8], existing: &[u8]) -> Result<()> {
        let (id, packet) = self.packet(Ask::Extended);
        self.done(path, id, packet.text(b"hardlink@openssh.com").text(existing).text(path)).await
    }

    /// Sets what is given; behind a link, of what the link goes to.
    ///
    /// The owner goes first and alone: the servers of LXD 5.0 read it behind mode and times, not before them as the standard
    /// has it, and so take each for another. Changing it takes set-id bits away, which the mode brings back.
    pub(super) async fn set(&mut self, path: &[u8], attributes: &Attributes) -> Result<()> {
        let owner = Attributes { owner: attributes.owner, ..Attributes::default() };
        let mode = attributes.mode.map(with_set_id);
        let others = Attributes { owner: None, mode, ..attributes.clone() };
        for part in [owner, others].iter().filter(|part| **part != Attributes::default()) {
            let (id, packet) = self.packet(Ask::Setstat);
            self.done(path, id, packet.text(path).attributes(part)).await?;
        }
        Ok(())
    }

    pub(super) async fn open_to_read(&mut self, path: &[u8]) -> Result<Handle> {
        self.open_file(path, wire::READ, &Attributes::default()).await
    }

    /// Makes an empty file, or empties the one that is there.
    pub(super) async fn open_to_write(&mut self, path: &[u8], mode: u32) -> Result<Handle> {
        let attributes = Attributes { mode: Some(mode), ..Attributes::default() };
        self.open_file(path, wire::WRITE | wire::CREATE | wire::TRUNCATE, &attributes).await
    }

    async fn open_file(&mut self, path: &[u8], flags: u32, attributes: &Attributes) -> Result<Handle> {
        let (id, packet) = self.packet(Ask::Open);
        handle(path, self.ask(id, packet.text(path).number(flags).attributes(attributes)).await?)
    }

    pub(super) async fn close(&mut self, handle: Handle) -> Result<()> {
        let (id, packet) = self.packet(Ask::Close);
        self.done(b"", id, packet.text(&handle.0)).await
    }

    /// Up to so many bytes from `offset` on, in order; fewer than asked for only at the end of the file. Several packets are
    /// asked for at once.
    pub(super) async fn read(&mut self, handle: &Handle, offset: u64, count: u64) -> Result<Bytes> {
        let mut asked = VecDeque::new();
        let mut at = offset;
        let end = offset.saturating_add(count.min(u64::from(PIECE) * AHEAD as u64));
        while at < end {
            let length = u32::try_from((end - at).min(u64::from(PIECE))).unwrap_or(PIECE);
            let (id, packet) = self.packet(Ask::Read);
            self.send(packet.text(&handle.0).long(at).number(length).finish()).await?;
            asked.push_back((id, length));
            at += u64::from(length);
        }
        let mut pieces: Vec<(u32, Bytes)> = Vec::new();
        for _ in 0..asked.len() {
            let (id, answer) = self.receive().await?;
            if !asked.iter().any(|(known, _)| *known == id) {
                return Err(nonsense());
            }
            match answer {
                Answer::Data(data) => pieces.push((id, data)),
                Answer::Status(Status::End, _) => pieces.push((id, Bytes::new())),
                answer => return Err(refusal(b"", answer)),
            }
        }
        let mut whole = BytesMut::new();
        for (id, length) in asked {
            let piece =
                pieces.iter().find(|(known, _)| *known == id).map(|(_, piece)| piece.clone()).unwrap_or_default();
            let short = piece.len() < usize::try_from(length).unwrap_or_default();
            whole.extend_from_slice(&piece);
            // What comes after a gap is asked for again.
            if short {
                break;
            }
        }
        Ok(whole.freeze())
    }

    /// Writes all of `data` at `offset`. Several packets are on their way at once.
    pub(super) async fn write(&mut self, handle: &Handle, mut offset: u64, mut data: Bytes) -> Result<()> {
        let mut waiting = 0;
        while !data.is_empty() || waiting > 0 {
            if !data.is_empty() && waiting < AHEAD {
                let piece = data.split_to(data.len().min(usize::try_from(PIECE).unwrap_or(usize::MAX)));
                let (_, packet) = self.packet(Ask::Write);
                self.send(packet.text(&handle.0).long(offset).text(&piece).finish()).await?;
                offset += piece.len() as u64;
                waiting += 1;
                continue;
            }
            let (_, answer) = self.receive().await?;
            done(b"", answer)?;
            waiting -= 1;
        }
        Ok(())
    }
}

/// A mode with the set-id and sticky bits a second time, where the Go language has them: servers take the number as it is for
/// such a one, and ignore the bits where POSIX has them. Servers that read modes by the standard ignore the others.
fn with_set_id(mode: u32) -> u32 {
    let also = |bit: u32, there: u32| if mode & bit == 0 { 0 } else { there };
    mode | also(0o4000, 1 << 23) | also(0o2000, 1 << 22) | also(0o1000, 1 << 20)
}

fn handle(path: &[u8], answer: Answer) -> Result<Handle> {
    match answer {
        Answer::Handle(handle) => Ok(Handle(handle)),
        answer => Err(refusal(path, answer)),
    }
}

fn attributes(path: &[u8], answer: Answer) -> Result<Attributes> {
    match answer {
        Answer::Attributes(attributes) => Ok(attributes),
        answer => Err(refusal(path, answer)),
    }
}

fn done(what: &[u8], answer: Answer) -> Result<()> {
    match answer {
        Answer::Status(Status::Ok, _) => Ok(()),
        answer => Err(refusal(what, answer)),
    }
}

/// What an answer that is no good means.
fn refusal(path: &[u8], answer: Answer) -> Error {
    let Answer::Status(status, words) = answer else { return nonsense() };
    let path = String::from_utf8_lossy(path).into_owned();
    let lower = words.to_lowercase();
    let kind = match status {
        Status::NoSuchFile => ErrorKind::NotFound,
        Status::PermissionDenied => ErrorKind::PermissionDenied,
        Status::Unsupported => ErrorKind::Unsupported,
        _ if lower.contains("no space left") || lower.contains("quota") => ErrorKind::ResourceExhausted,
        _ if lower.contains("file exists") => ErrorKind::AlreadyExists,
        _ if lower.contains("no such file") => ErrorKind::NotFound,
        _ if lower.contains("read-only file system") => ErrorKind::Conflict,
        _ if lower.contains("not a directory") || lower.contains("is a directory") => ErrorKind::InvalidInput,
        _ => ErrorKind::Unexpected,
    };
    match kind {
        ErrorKind::NotFound => Error::new(kind, format!("no such file in the container: {path}")),
        ErrorKind::InvalidInput => Error::invalid("path", format!("{path}: {words}")),
        _ => Error::new(kind, format!("{path}: {words}")).with_retry(Retry::Never),
    }
}

fn broken(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the connection to the container's files broke: {error}"))
        .with_source(error)
}

fn late() -> Error {
    Error::new(
        ErrorKind::DeadlineExceeded,
        format!("the container's files did not answer within {} s", ANSWER.as_secs()),
    )
}

fn nonsense() -> Error {
    Error::new(ErrorKind::Unexpected, "the answer of the container's files makes no sense")
}
