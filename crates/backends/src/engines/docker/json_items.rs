//! JSON values that arrive one after the other: progress of pulls and loads, events.

use bytes::BytesMut;
use futures_util::{Stream, StreamExt, stream};
use roadstead_core::{ByteStream, Error, ErrorKind, Result};
use serde::de::DeserializeOwned;

/// A value is never longer than this.
const LINE_MAX: usize = 4 * 1024 * 1024;

/// The values of `body`. Engines end each with a line break; several may stand on one line all the same.
pub(super) fn json_items<T: DeserializeOwned + Send + 'static>(
    body: ByteStream,
) -> impl Stream<Item = Result<T>> + Send + 'static {
    let lines = stream::unfold((Some(body), BytesMut::new(), 0), |(mut body, mut buffer, mut searched)| async move {
        loop {
            let fresh = buffer.get(searched..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                let line = buffer.split_to(searched + end + 1);
                return Some((Ok(line), (body, buffer, 0)));
            }
            searched = buffer.len();
            if searched > LINE_MAX {
                let error = Error::new(ErrorKind::Unexpected, "the engine's answer is too long");
                return Some((Err(error), (None, BytesMut::new(), 0)));
            }
            match body.as_mut() {
                None if buffer.is_empty() => return None,
                None => return Some((Ok(buffer), (None, BytesMut::new(), 0))),
                Some(more) => match more.next().await {
                    Some(Ok(piece)) => buffer.extend_from_slice(&piece),
                    Some(Err(error)) => return Some((Err(error), (None, BytesMut::new(), 0))),
                    None => body = None,
                },
            }
        }
    });
    lines.flat_map(|line| {
        let items: Vec<Result<T>> = match line {
            Ok(line) => serde_json::Deserializer::from_slice(&line)
                .into_iter()
                .map(|item| {
                    item.map_err(|cause| {
                        Error::new(ErrorKind::Unexpected, format!("the engine's answer makes no sense: {cause}"))
                            .with_source(cause)
                    })
                })
                .collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(items)
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::TryStreamExt;

    use super::*;

    async fn parse(text: &'static str, size: usize) -> Result<Vec<u32>> {
        let pieces: Vec<Result<Bytes>> =
            text.as_bytes().chunks(size).map(|piece| Ok(Bytes::from_static(piece))).collect();
        json_items::<u32>(stream::iter(pieces).boxed()).try_collect().await
    }

    #[tokio::test]
    async fn values_come_out_however_they_arrive() {
        for size in 1..12 {
            assert_eq!(parse("1\n22\r\n\n3 4\n5", size).await.unwrap(), [1, 22, 3, 4, 5], "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn nonsense_is_an_error() {
        assert_eq!(parse("1\n{\n", 2).await.unwrap_err().kind(), ErrorKind::Unexpected);
    }
}
