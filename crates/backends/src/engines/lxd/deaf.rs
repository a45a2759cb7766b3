//! Connections that are read to their end although the other side has hung up already.
//!
//! A server sends the last output of a process and closes the connection in one breath. The answer to a sign of life
//! that came before then meets a closed door, and the websocket library would give up reading for that: the output would
//! be lost. So what cannot be written any more is dropped, and whoever writes messages is told.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::transport::Link;

/// A connection whose other side may have gone deaf.
#[derive(Debug)]
pub(super) struct MaybeDeaf {
    link: Link,
    deaf: Deaf,
}

/// Whether the other side takes nothing any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Deaf(Arc<AtomicBool>);

impl Deaf {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// `value` instead of an error that says that the other side has hung up.
    fn excuse<T>(&self, result: io::Result<T>, value: T) -> io::Result<T> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
        match result {
            Err(cause) if matches!(cause.kind(), BrokenPipe | ConnectionReset | ConnectionAborted | NotConnected) => {
                self.0.store(true, Ordering::Release);
                Ok(value)
            }
            result => result,
        }
    }
}

impl MaybeDeaf {
    pub(super) fn new(link: Link) -> (Self, Deaf) {
        let deaf = Deaf::default();
        (MaybeDeaf { link, deaf: deaf.clone() }, deaf)
    }
}

impl AsyncRead for MaybeDeaf {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_read(cx, buf)
    }
}

impl AsyncWrite for MaybeDeaf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.deaf.is_so() {
            return Poll::Ready(Ok(buf.len()));
        }
        let result = ready!(Pin::new(&mut self.link).poll_write(cx, buf));
        Poll::Ready(self.deaf.excuse(result, buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf.is_so() {
            return Poll::Ready(Ok(()));
        }
        let result = ready!(Pin::new(&mut self.link).poll_flush(cx));
        Poll::Ready(self.deaf.excuse(result, ()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.link).poll_shutdown(cx));
        Poll::Ready(self.deaf.excuse(result, ()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn what_came_before_the_end_is_read_after_a_write_that_failed() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"last words").await.unwrap();
        drop(theirs);
        let (mut link, deaf) = MaybeDeaf::new(Link::new(ours));
        assert!(!deaf.is_so());
        link.write_all(b"pong").await.unwrap();
        assert!(deaf.is_so());
        link.flush().await.unwrap();
        let mut read = String::new();
        link.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "last words");
    }
}
