//! A server's problem document as the error that it was made of: kind, field, resource, facts and advice are the same. The
//! node's name is left to who knows under which name the node is known here.

use roadstead_core::operation::Operation;
use roadstead_core::{ERROR_TABLE, Error, ErrorKind, Retry};
use serde_json::Value;

/// The facts that errors tell, by name: names of an error's facts are words of the program.
const FACTS: &[&str] =
    &["capability", "code", "command", "dropped", "engine_operation", "engine_status", "field", "job", "left", "move"];
/// What a newer server tells beyond, with its name.
const OTHER_FACT: &str = "server_fact";
/// More facts than these are not kept.
const FACTS_MAX: usize = 32;
/// A line for a person is not longer.
const WORDS_MAX: usize = 4096;

/// The error that an answer with this status and body tells.
pub(super) fn from_answer(status: u16, body: &[u8]) -> Error {
    match serde_json::from_slice::<Value>(body) {
        Ok(document) if document.get("code").is_some_and(Value::is_string) => from_document(status, &document),
        _ => {
            let kind = by_status(status);
            let words = String::from_utf8_lossy(body);
            let words = words.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('<'));
            let words = words.map(|line| format!(": {}", short(line))).unwrap_or_default();
            let error = Error::new(kind, format!("the server answered with status {status}{words}"));
            if status == 503 { error.with_retry(Retry::Safe) } else { error }
        }
    }
}

/// The error that a problem document tells, or a part of one: an item of a list's errors has the same members.
pub(super) fn from_document(status: u16, document: &Value) -> Error {
    let word = |member: &str| document.get(member).and_then(Value::as_str);
    let kind = word("code").map_or_else(|| by_status(status), |code| by_code(code, status));
    let detail = word("detail").unwrap_or_default();
    let (operation, resource) = (word("operation"), word("resource"));
    let mut error = Error::new(kind, short(without_place(detail, operation, resource, word("node"))));
    if let Some(operation) = operation.and_then(Operation::named) {
        error = error.with_operation(operation.name);
    }
    if let Some(resource) = resource {
        error = error.with_resource(short(resource));
    }
    if let Some(field) = word("field") {
        error = error.with_field(short(field));
    }
    error = match word("retry") {
        Some("never") => error.with_retry(Retry::Never),
        Some("safe") => error.with_retry(Retry::Safe),
        Some(_) => error.with_retry(Retry::Unknown),
        None => error,
    };
    for (name, value) in document.get("context").and_then(Value::as_object).into_iter().flatten().take(FACTS_MAX) {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        error = match FACTS.iter().find(|known| *known == name) {
            Some(known) => error.with_context(known, short(&value)),
            None => error.with_context(OTHER_FACT, short(&format!("{name}: {value}"))),
        };
    }
    match word("request_id") {
        // What is found by in the server's log.
        Some(id) if kind == ErrorKind::Unexpected => error.with_context("server_request", short(id)),
        _ => error,
    }
}

/// The line for a person begins with where it happened, by the names that things have on the server.
fn without_place<'a>(detail: &'a str, operation: Option<&str>, resource: Option<&str>, node: Option<&str>) -> &'a str {
    let Some(operation) = operation else { return detail };
    let mut place = operation.to_owned();
    for (word, before) in [(resource, " "), (node, " on ")] {
        if let Some(word) = word {
            place.push_str(before);
            place.push_str(word);
        }
    }
    detail.strip_prefix(&place).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(detail)
}

fn by_code(code: &str, status: u16) -> ErrorKind {
    if let Some(row) = ERROR_TABLE.iter().find(|row| row.code == code) {
        return row.kind;
    }
    match code {
        // What only HTTP knows. A server that lacks a method is an older one.
        "method_not_allowed" | "not_acceptable" | "unsupported_media_type" => ErrorKind::Unsupported,
        "request_timeout" => ErrorKind::DeadlineExceeded,
        "payload_too_large" => ErrorKind::ResourceExhausted,
        "uri_too_long" => ErrorKind::InvalidInput,
        _ => by_status(status),
    }
}

fn by_status(status: u16) -> ErrorKind {
    if let Some(row) = ERROR_TABLE.iter().find(|row| row.status == status && row.kind != ErrorKind::AlreadyExists) {
        return row.kind;
    }
    match status {
        408 => ErrorKind::DeadlineExceeded,
        423 => ErrorKind::Conflict,
        413 => ErrorKind::ResourceExhausted,
        // What stands before a server that is away.
        502 => ErrorKind::Unavailable,
        405 | 406 | 415 => ErrorKind::Unsupported,
        414 | 422 => ErrorKind::InvalidInput,
        _ => ErrorKind::Unexpected,
    }
}

/// One line of bounded length, without what would make a terminal do things.
fn short(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_is_the_error_that_it_was_made_of() {
        let told = from_answer(
            400,
            json!({
                "type": "urn:roadstead:problem:invalid_input", "title": "Invalid input", "status": 400,
                "code": "invalid_input", "retry": "never", "field": "limits.pids", "node": "far", "resource": "web",
                "operation": "container.update", "context": {"engine_status": "400", "new_fact": "x"},
                "detail": "container.update web on far: limits.pids: must be from 1 to 4194304", "newer": [1]
            })
            .to_string()
            .as_bytes(),
        );
        assert_eq!((told.kind(), told.retry()), (ErrorKind::InvalidInput, Retry::Never));
        assert_eq!((told.field(), told.resource(), told.node()), (Some("limits.pids"), Some("web"), None));
        assert_eq!(told.operation(), Some("container.update"));
        assert_eq!(told.message(), "limits.pids: must be from 1 to 4194304");
        assert_eq!(told.context().collect::<Vec<_>>(), [("engine_status", "400"), ("server_fact", "new_fact: x")]);
        assert_eq!(
            told.with_node("near").to_string(),
            "container.update web on near: limits.pids: must be from 1 to 4194304"
        );
    }

    #[test]
    fn every_kind_comes_back() {
        for row in &ERROR_TABLE {
            let body = json!({"code": row.code, "detail": "x", "retry": "unknown"}).to_string();
            let told = from_answer(row.status, body.as_bytes());
            assert_eq!((told.kind(), told.retry()), (row.kind, Retry::Unknown), "{}", row.code);
        }
        let newer = json!({"code": "quite_new", "detail": "x"}).to_string();
        assert_eq!(from_answer(409, newer.as_bytes()).kind(), ErrorKind::Conflict);
    }

    #[test]
    fn what_is_no_document_is_told_by_its_status() {
        for (status, body, kind) in [
            (404, "<html>no</html>", ErrorKind::NotFound),
            (502, "bad gateway\nmore", ErrorKind::Unavailable),
            (503, "", ErrorKind::Unavailable),
            (500, "[1,2", ErrorKind::Unexpected),
            (200, "{\"code\":7}", ErrorKind::Unexpected),
            (301, "", ErrorKind::Unexpected),
        ] {
            assert_eq!(from_answer(status, body.as_bytes()).kind(), kind, "{status}");
        }
        assert_eq!(
            from_answer(502, b"bad\x1b[31m gateway\n").message(),
            "the server answered with status 502: bad [31m gateway"
        );
        let nonsense =
            json!({"code": "conflict", "detail": ["x"], "field": 7, "context": [1], "retry": {}}).to_string();
        assert_eq!(from_answer(409, nonsense.as_bytes()).kind(), ErrorKind::Conflict);
        let long = json!({"code": "conflict", "detail": "x".repeat(100_000)}).to_string();
        assert_eq!(from_answer(409, long.as_bytes()).message().len(), WORDS_MAX);
    }
}
