//! The streams of a container's main process over a WebSocket.
//!
//! From the server: binary messages, the first byte says where it was written (0 a terminal, 1 standard output,
//! 2 standard error), the rest is what was written. A text message is a problem document; the connection ends after it.
//! From the client: binary messages go to standard input; text messages are JSON, either
//! `{"type":"resize","columns":80,"rows":24}` or `{"type":"close_stdin"}`. When the process ends the server closes with
//! code 1000; when the server itself ends, and the process goes on, with 1001.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, get, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, Session};
use bytes::{BufMut, BytesMut};
use futures_util::StreamExt;
use roadstead_core::{AttachOptions, Attachment, Container, Error, OutputChunk, OutputKind, Result, TerminalSize};
use serde::Deserialize;

use crate::extract::{Query, parse_json};
use crate::problem::{Answer, Problem};
use crate::state::App;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AttachQuery {
    /// Standard input; the container must have been created with `stdin`.
    stdin: bool,
    /// Standard output; true when absent.
    stdout: Option<bool>,
    /// Standard error; true when absent.
    stderr: Option<bool>,
    /// Begins with the kept output.
    logs: bool,
}

/// What a client says in text.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Control {
    Resize { columns: u16, rows: u16 },
    CloseStdin {},
}

/// Largest message of a client.
const MESSAGE_MAX: usize = 1024 * 1024;
/// A client that does not answer pings this long is gone.
const PING_EVERY: Duration = Duration::from_secs(20);

/// Connects to the streams of the main process over a WebSocket.
///
/// From the server: binary messages, the first byte says where it was written (0 a terminal, 1 standard output,
/// 2 standard error), the rest is what was written; a text message is a problem document, and the last.
/// From the client: binary messages go to standard input; text messages are JSON, either
/// `{"type":"resize","columns":80,"rows":24}` or `{"type":"close_stdin"}`. The server closes with code 1000 when the process
/// ends, and with 1001 when the server itself ends.
#[utoipa::path(tag = "containers", operation_id = "containers_attach", params(AttachQuery), responses((status = 101, description = "The WebSocket.")))]
#[get("/nodes/{node}/containers/{container}/attach")]
pub(crate) async fn attach(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, String)>,
    Query(query): Query<AttachQuery>,
    body: Payload,
) -> Answer {
    let mut options = AttachOptions::default();
    options.stdin = query.stdin;
    options.stdout = query.stdout.unwrap_or(true);
    options.stderr = query.stderr.unwrap_or(true);
    options.logs = query.logs;
    if !options.stdin && !options.stdout && !options.stderr {
        return Err(Error::invalid("stdout", "at least one of stdin, stdout and stderr must be asked for").into());
    }
    let (response, session, messages) = actix_ws::handle(&req, body)
        .map_err(|error| Problem::from_status(StatusCode::UPGRADE_REQUIRED, error.to_string()))?;
    let container = app.container(&path.0, &path.1).await?;
    let attachment = container.attach(&options).await?;
    let messages = messages.max_frame_size(MESSAGE_MAX).aggregate_continuations().max_continuation_size(MESSAGE_MAX);
    let ending = app.ending();
    let deadline = app.deadline();
    actix_web::rt::spawn(async move {
        let mut ws = session.clone();
        let talk = talk(container, attachment, session, messages, deadline);
        let result = tokio::select! {
            result = talk => result.map(|()| CloseCode::Normal),
            // The process goes on.
            () = ending => Ok(CloseCode::Away),
        };
        // Whether the client hears of the end does not matter any more.
        match result {
            Ok(code) => drop(ws.close(Some(CloseReason::from(code))).await),
            Err(error) => {
                let problem = serde_json::to_string(&Problem::from(error)).unwrap_or_default();
                let _ = ws.text(problem).await;
                let _ = ws.close(Some(CloseReason::from(CloseCode::Error))).await;
            }
        }
    });
    Ok(response)
}

async fn talk(
    container: Arc<dyn Container>,
    attachment: Attachment,
    mut session: Session,
    mut messages: AggregatedMessageStream,
    deadline: Duration,
) -> Result<()> {
    let Attachment { mut output, mut input } = attachment;
    let mut ping = tokio::time::interval(PING_EVERY);
    ping.reset();
    let mut heard = true;
    loop {
        tokio::select! {
            chunk = output.next() => match chunk {
                Some(chunk) => {
                    if session.binary(message(&chunk?)).await.is_err() {
                        return Ok(());
                    }
                }
                None => return Ok(()),
            },
            _ = ping.tick() => {
                if !std::mem::take(&mut heard) || session.ping(b"").await.is_err() {
                    return Ok(());
                }
            }
            said = messages.recv() => {
                heard = true;
                match said {
                    Some(Ok(AggregatedMessage::Binary(data))) => match input.as_mut() {
                        Some(input) => crate::state::within(deadline, input.write(data)).await?,
                        None => return Err(Error::invalid("stdin", "was not asked for")),
                    },
                    Some(Ok(AggregatedMessage::Text(text))) => match parse_json(text.as_bytes())? {
                        Control::Resize { columns, rows } => {
                            let size = TerminalSize { columns, rows };
                            size.validate()?;
                            crate::state::within(deadline, container.resize(size)).await?;
                        }
                        Control::CloseStdin {} => {
                            if let Some(input) = input.as_mut() {
                                crate::state::within(deadline, input.close()).await?;
                            }
                        }
                    },
                    Some(Ok(AggregatedMessage::Ping(data))) => {
                        if session.pong(&data).await.is_err() {
                            return Ok(());
                        }
                    }
                    Some(Ok(AggregatedMessage::Pong(_))) => {}
                    Some(Ok(AggregatedMessage::Close(_)) | Err(_)) | None => return Ok(()),
                }
            }
        }
    }
}

fn message(chunk: &OutputChunk) -> bytes::Bytes {
    let mut message = BytesMut::with_capacity(chunk.data.len() + 1);
    message.put_u8(match chunk.kind {
        OutputKind::Stdout => 1,
        OutputKind::Stderr => 2,
        _ => 0,
    });
    message.put_slice(&chunk.data);
    message.freeze()
}
