//! The output of a container's main process.

use actix_web::{HttpRequest, get, web};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::StreamExt;
use roadstead_core::{LogOptions, LogRecord, Timestamp};
use serde::Deserialize;

use crate::extract::{Query, past, reachable};
use crate::problem::Answer;
use crate::state::App;
use crate::stream::{self, OutputItem, Wire};

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogsQuery {
    /// Goes on with what is written from now on.
    follow: bool,
    /// Only so many of the last lines.
    tail: Option<u64>,
    /// Only what was written at or after this time.
    since: Option<Timestamp>,
    /// Only what was written before this time.
    until: Option<Timestamp>,
    /// Standard output; true when absent.
    stdout: Option<bool>,
    /// Standard error; true when absent.
    stderr: Option<bool>,
    /// Each record carries its time; in plain text as its first word.
    timestamps: bool,
}

/// The log of a container: as server-sent events, as lines of JSON, or as plain bytes, by `Accept`.
///
/// The `id` of an event counts the records of this stream; it does not resume a log, since engines cannot. To go on after
/// a break, ask with `timestamps` and give the last time as `since`.
#[utoipa::path(tag = "containers", operation_id = "containers_logs", params(LogsQuery), responses((status = 200, description = "The log.",
    content((String = "text/plain"), (OutputItem = "text/event-stream"), (OutputItem = "application/x-ndjson")))))]
#[get("/nodes/{node}/containers/{container}/logs")]
pub(crate) async fn logs(
    app: web::Data<App>,
    req: HttpRequest,
    path: web::Path<(String, String)>,
    Query(query): Query<LogsQuery>,
) -> Answer {
    let wire = Wire::negotiate(&req, &[Wire::Raw, Wire::Events, Wire::Lines])?;
    past("since", query.since)?;
    reachable("until", query.until)?;
    let mut options = LogOptions::default();
    options.follow = query.follow;
    options.tail = query.tail;
    options.since = query.since;
    options.until = query.until;
    options.stdout = query.stdout.unwrap_or(true);
    options.stderr = query.stderr.unwrap_or(true);
    options.timestamps = query.timestamps;
    options.validate()?;
    let container = app.container(&path.0, &path.1).await?;
    let records = container.logs(&options).await?;
    let frames = records.enumerate().map(move |(index, record)| {
        record.map(|record| match wire {
            Wire::Raw => plain(record),
            Wire::Events | Wire::Lines | Wire::Whole => {
                let sequence = index as u64 + 1;
                let item = OutputItem::new(sequence, record.kind, record.time, &record.data);
                wire.frame(&sequence.to_string(), "log", &item)
            }
        })
    });
    Ok(stream::respond(&app, &req, wire, frames.boxed()))
}

fn plain(record: LogRecord) -> Bytes {
    match record.time {
        None => record.data,
        Some(time) => {
            let time = time.to_string();
            let mut line = BytesMut::with_capacity(time.len() + 1 + record.data.len());
            line.put_slice(time.as_bytes());
            line.put_u8(b' ');
            line.put_slice(&record.data);
            line.freeze()
        }
    }
}
