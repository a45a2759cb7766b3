//! How a process ended, from what its operation tells.

use roadstead_core::{Error, ErrorKind, Result};
use serde_json::Value;

use super::super::operation::{Operation, OperationState};

/// What shells say of a command that is not there, and of one that may not be run.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// Waits until the operation has ended. It has to be called at once: the server forgets the operation soon.
pub(super) async fn of(mut operation: Operation) -> Result<OperationState> {
    while !operation.state().is_final() {
        operation.changed().await?;
    }
    Ok(operation.state().clone())
}

/// The exit code; 128 + n when signal n ended the process.
pub(super) fn exit_code(state: OperationState) -> Result<i32> {
    let told = state.metadata.get("return").and_then(Value::as_i64).and_then(|code| i32::try_from(code).ok());
    if let Some(code) = told.filter(|code| (0..=255).contains(code)) {
        return Ok(code);
    }
    // Older servers give -1 and words.
    let words = state.error.to_lowercase();
    if words.contains("command not found") {
        return Ok(NOT_FOUND);
    }
    if words.contains("not executable") {
        return Ok(NOT_EXECUTABLE);
    }
    state.into_result()?;
    Err(Error::new(ErrorKind::Unexpected, "the engine does not tell how the job ended"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn end(code: u16, error: &str, metadata: &Value) -> Result<i32> {
        let state = json!({"id": "a", "status_code": code, "err": error, "metadata": metadata});
        exit_code(OperationState::parse(state).unwrap())
    }

    #[test]
    fn exit_codes() {
        assert_eq!(end(200, "", &json!({"return": 3})).unwrap(), 3);
        assert_eq!(end(400, "Command not found", &json!({"return": 127})).unwrap(), 127);
        assert_eq!(end(400, "Command not executable", &json!({"return": -1})).unwrap(), 126);
        assert_eq!(end(400, "Command not found", &json!(null)).unwrap(), 127);
        assert_eq!(end(400, "Timed out", &json!({"return": -1})).unwrap_err().kind(), ErrorKind::Unexpected);
        assert_eq!(end(200, "", &json!({})).unwrap_err().kind(), ErrorKind::Unexpected);
        assert_eq!(end(401, "", &json!({})).unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
