//! The management socket: one command in, one result out, for whoever is on the node itself.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::command::Command;
use super::containers::Containers;
use super::engine::Engine;
use super::go;
use super::result::{ERROR, JobResult, UNKNOWN_CMD};

/// Listens; a socket that somebody left there is replaced.
///
/// # Errors
/// When it cannot be bound.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, String> {
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Answers whoever connects.
pub(crate) async fn serve(listener: UnixListener, engine: Engine, containers: Arc<Containers>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (engine, containers) = (engine.clone(), containers.clone());
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &engine, &containers).await {
                eprintln!("core0: local: {error}");
            }
        });
    }
}

async fn answer(mut stream: UnixStream, engine: &Engine, containers: &Containers) -> std::io::Result<()> {
    let mut document = Vec::new();
    let decoded = loop {
        match go::json_value(&document) {
            // It could end here, and could as well go on.
            Err(reason) if reason == "EOF" || reason == "unexpected EOF" => {
                if stream.read_buf(&mut document).await? == 0 {
                    break Err(reason);
                }
            }
            Err(reason) => break Err(reason),
            Ok(end) => break serde_json::from_slice::<Value>(&document[..end]).map_err(|error| error.to_string()),
        }
    };
    let result = match decoded {
        Ok(request) => run(&request, engine, containers).await,
        Err(reason) => Err(format!("Failed to decode message: {reason}")),
    };
    let result = result.unwrap_or_else(|reason| JobResult {
        streams: Some([String::new(), reason]),
        state: ERROR.to_owned(),
        ..JobResult::default()
    });
    stream.write_all(&serde_json::to_vec(&result)?).await?;
    stream.shutdown().await
}

async fn run(request: &Value, engine: &Engine, containers: &Containers) -> Result<JobResult, String> {
    let container = request.get("container").and_then(Value::as_str).unwrap_or_default();
    let sync = request.get("sync").and_then(Value::as_bool).unwrap_or_default();
    let content = request.get("content").unwrap_or(&Value::Null);
    let command = Command::from_value(content).map_err(|reason| format!("Failed to extract command: {reason}"))?;
    if !container.is_empty() {
        // A number that is no container ends the real node.
        let found = match container.parse::<u16>() {
            Ok(id) => containers.has(id).then_some(id),
            Err(_) => {
                containers.with_tags(&container.split(',').map(str::to_owned).collect::<Vec<_>>()).first().copied()
            }
        };
        let id = found.ok_or_else(|| format!("couldn't match any containers with '{container}'"))?;
        let name = command.command.clone();
        return containers
            .run_in(id, command)
            .await
            .map_err(|reason| format!("Failed to dispatch command ({name}): {reason}"));
    }
    let name = command.command.clone();
    let failed = |reason: &str| format!("Failed to get result job for command({name}): {reason}");
    let job = engine.run(command).map_err(|_| failed("duplicate job id"))?;
    if !sync {
        return Ok(JobResult { state: ERROR.to_owned(), ..JobResult::default() });
    }
    let result = job.wait().await;
    if result.state == UNKNOWN_CMD { Err(failed("unkonw command")) } else { Ok(result) }
}
