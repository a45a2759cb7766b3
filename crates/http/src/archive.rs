//! Archives in and out: tar bodies go to the engine as they come, bounded in size and time, never held as a whole.

use std::cell::Cell;
use std::fmt::Display;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::stream;
use futures_util::{Stream, StreamExt};
use roadstead_core::{ByteStream, Error, ErrorKind, Result, Retry};
use tokio::sync::mpsc;

use crate::problem::Problem;
use crate::state::{App, within};

/// The longest pause of a client in the middle of its body: it holds a turn on the node for as long as it sends.
const UPLOAD_IDLE: Duration = Duration::from_secs(30);

/// What an archive may call itself.
const ARCHIVE_TYPES: [&str; 8] = [
    "application/x-tar",
    "application/tar",
    "application/octet-stream",
    "application/gzip",
    "application/x-gzip",
    "application/x-bzip2",
    "application/x-xz",
    "application/zstd",
];

/// Bytes as they are, in the documentation of routes.
#[derive(Debug, utoipa::ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code, reason = "stands in the documentation only")]
pub(crate) struct Binary(String);

/// Sends an archive.
pub(crate) fn send(archive: ByteStream, filename: &str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/x-tar")
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{filename}.tar\"")))
        .streaming(archive.map(|piece| piece.map_err(Problem::from)))
}

/// Takes the body as an archive, and gives it to `take`. A body that breaks off reaches the engine as an error, never
/// as a shorter archive.
///
/// # Errors
/// 408, 413, 415, what the engine says, or `DeadlineExceeded`.
pub(crate) async fn receive<T, F: Future<Output = Result<T>>>(
    app: &App,
    req: &HttpRequest,
    body: Payload,
    take: impl FnOnce(ByteStream) -> F,
) -> Result<T, Problem> {
    let media = req.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let essence = media.map(|media| media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    if let Some(essence) = essence.filter(|essence| !ARCHIVE_TYPES.contains(&essence.as_str())) {
        return Err(Problem::from_status(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("the body must be a tar archive (application/x-tar), not {essence:?}"),
        ));
    }
    let limit = app.config.max_archive_bytes;
    let announced =
        req.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Problem::too_large(limit));
    }
    let (sender, receiver) = mpsc::channel(8);
    let fault = Cell::new(None);
    let pump = pump(body, limit, UPLOAD_IDLE, sender, &fault);
    let call = within(app.archive_deadline(), take(whole(receiver)));
    // The engine may answer before it has read everything, above all with an error; then nobody reads any more.
    let mut call = std::pin::pin!(call);
    let mut pump = std::pin::pin!(pump);
    let mut pumping = true;
    let result = loop {
        tokio::select! {
            result = &mut call => break result,
            () = &mut pump, if pumping => pumping = false,
        }
    };
    result.map_err(|error| match fault.get() {
        Some(Fault::TooLarge) => Problem::too_large(limit),
        Some(Fault::Stalled) => Problem::from_status(StatusCode::REQUEST_TIMEOUT, stalled()),
        None => Problem::from(error),
    })
}

/// What is wrong with a body, so that the client is told this, and not what the engine makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    TooLarge,
    Stalled,
}

fn stalled() -> String {
    format!("nothing of the body came for {} seconds", UPLOAD_IDLE.as_secs())
}

/// A piece of the body, or its proper end.
type Piece = Result<Option<Bytes>>;

async fn pump<E: Display>(
    mut body: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    limit: u64,
    idle: Duration,
    sender: mpsc::Sender<Piece>,
    fault: &Cell<Option<Fault>>,
) {
    let mut read = 0_u64;
    loop {
        // Only the client's time counts here, not that of an engine which is slow to take a piece.
        let piece = match tokio::time::timeout(idle, body.next()).await {
            Err(_) => {
                fault.set(Some(Fault::Stalled));
                Err(Error::new(ErrorKind::DeadlineExceeded, stalled()).with_retry(Retry::Unknown))
            }
            Ok(Some(Ok(bytes))) => {
                read = read.saturating_add(bytes.len() as u64);
                if read > limit {
                    fault.set(Some(Fault::TooLarge));
                    Err(Error::new(ErrorKind::ResourceExhausted, format!("the body has more than {limit} bytes")))
                } else {
                    Ok(Some(bytes))
                }
            }
            Ok(Some(Err(error))) => {
                Err(Error::invalid("body", format!("it broke off: {error}")).with_retry(Retry::Unknown))
            }
            Ok(None) => Ok(None),
        };
        let last = !matches!(piece, Ok(Some(_)));
        if sender.send(piece).await.is_err() || last {
            return;
        }
    }
}

/// The pieces up to the proper end. When the sender goes away before, that is an error.
fn whole(receiver: mpsc::Receiver<Piece>) -> ByteStream {
    stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Ok(Some(bytes))) => Some((Ok(bytes), Some(receiver))),
            Some(Ok(None)) => None,
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Err(Error::new(ErrorKind::Cancelled, "the request was given up")), None)),
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[tokio::test]
    async fn a_body_that_stalls_is_an_error_and_a_slow_one_is_not() {
        let idle = Duration::from_millis(400);
        let slow = stream::iter(0..5).then(move |_| async move {
            tokio::time::sleep(idle / 4).await;
            Ok::<_, Infallible>(Bytes::from_static(b"x"))
        });
        let (sender, receiver) = mpsc::channel(8);
        let fault = Cell::new(None);
        pump(slow.boxed(), 100, idle, sender, &fault).await;
        assert_eq!((whole(receiver).count().await, fault.get()), (5, None));

        let stuck = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"x"))]).chain(stream::pending());
        let (sender, receiver) = mpsc::channel(8);
        pump(stuck.boxed(), 100, idle, sender, &fault).await;
        assert_eq!(fault.get(), Some(Fault::Stalled));
        let pieces: Vec<_> = whole(receiver).collect().await;
        assert_eq!(pieces.len(), 2);
        assert_eq!(pieces[1].as_ref().unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    }
}
