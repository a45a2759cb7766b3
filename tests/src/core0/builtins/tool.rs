//! Programs of the node that built-in functions run, and the two ways in which their failures are told: as the result of
//! the program itself (level 0, its output in the streams), or as the error of a function that needed it.

use std::process::{Command, Stdio};

use super::{Answer, Failure, errors};

/// What a program left.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// 0, or 1000 + exit status, or 999 after a signal.
    pub(super) code: u32,
}

/// Runs a program to its end; `None` when it is not there.
fn run(program: &str, arguments: &[String]) -> Result<Option<Output>, Failure> {
    let output = match Command::new(program).args(arguments).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::new(500, format!("fork/exec {program}: {}", errors::text(&error)))),
    };
    let code = match output.status.code() {
        Some(0) => 0,
        Some(status) => 1000 + status.unsigned_abs(),
        None => 999,
    };
    Ok(Some(Output {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code,
    }))
}

/// Runs a program that a function needs.
///
/// # Errors
/// 404 when it is not there; its own code, with what it printed, when it fails.
pub(super) fn needed(program: &str, arguments: &[&str]) -> Result<Output, Failure> {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let Some(output) = run(program, &arguments)? else { return Err(Failure::new(404, "(ERROR): []")) };
    if output.code == 0 {
        return Ok(output);
    }
    Err(Failure::new(output.code, format!("(ERROR): [{} {}]", output.stdout, output.stderr)))
}

/// Runs a program whose result is the command's.
pub(super) fn itself(program: &str, arguments: &[String]) -> Result<Answer, Failure> {
    Ok(match run(program, arguments)? {
        Some(output) => {
            Answer::Text { data: String::new(), code: output.code, streams: [output.stdout, output.stderr] }
        }
        None => Answer::Text {
            data: format!("exec: \"{program}\": executable file not found in $PATH"),
            code: 404,
            streams: [String::new(), String::new()],
        },
    })
}
