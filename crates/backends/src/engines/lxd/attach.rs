//! The console of a running container.

use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{AttachOptions, Attachment, Error, ErrorKind, Result, TerminalSize};

use super::exec::inside;
use super::facts::Facts;
use super::shared::Lxd;

/// Time for the program inside that sets the terminal's size.
const RESIZE_DEADLINE: Duration = Duration::from_secs(20);
/// Sizes of the console are taken by the protocol, but do not reach the container's own terminal.
const RESIZE: &str = r#"stty rows "$1" cols "$2" </dev/console"#;

/// C150, C151.
pub(super) async fn attach(_lxd: &Arc<Lxd>, _id: &str, _options: &AttachOptions) -> Result<Attachment> {
    Err(Error::unsupported("this yet"))
}

/// C152, C153.
pub(super) async fn resize(lxd: &Arc<Lxd>, id: &str, size: TerminalSize) -> Result<()> {
    size.validate()?;
    Facts::of(lxd, id).await?.must_run()?;
    let (rows, columns) = (size.rows.to_string(), size.columns.to_string());
    let command = ["sh", "-c", RESIZE, "sh", &rows, &columns];
    match inside(lxd, id, &command, RESIZE_DEADLINE).await? {
        0 => Ok(()),
        126 | 127 => Err(Error::unsupported("resizing the terminal of a container without the programs sh and stty")),
        code => Err(Error::new(
            ErrorKind::Unexpected,
            format!("the container's stty could not set the size of its terminal (exit code {code})"),
        )),
    }
}
