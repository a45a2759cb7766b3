//! The verbs that change what a container does.

use std::sync::Arc;
use std::time::Duration;

use roadstead_core::{ContainerExit, DeleteOptions, Error, Result, Signal, StopOptions, WaitFor};

use super::shared::Lxd;

/// C20–C23.
pub(super) async fn start(_lxd: &Arc<Lxd>, _id: &str) -> Result<()> {
    Err(Error::unsupported("this yet"))
}

/// C30–C32.
pub(super) async fn stop(_lxd: &Arc<Lxd>, _id: &str, _options: &StopOptions) -> Result<()> {
    Err(Error::unsupported("this yet"))
}

/// C40, C41.
pub(super) async fn restart(_lxd: &Arc<Lxd>, _id: &str, _options: &StopOptions) -> Result<()> {
    Err(Error::unsupported("this yet"))
}

/// C50, C51.
pub(super) async fn kill(_lxd: &Arc<Lxd>, _id: &str, _signal: Signal) -> Result<()> {
    Err(Error::unsupported("this yet"))
}

/// C60–C62.
pub(super) async fn freeze(_lxd: &Arc<Lxd>, _id: &str) -> Result<()> {
    Err(Error::unsupported("this yet"))
}

/// C63, C64.
pub(super) async fn unfreeze(_lxd: &Arc<Lxd>, _id: &str) -> Result<()> {
    Err(Error::unsupported("this yet"))
}

/// C70, C71.
pub(super) async fn rename(_lxd: &Arc<Lxd>, _id: &str, _name: &str) -> Result<()> {
    Err(Error::unsupported("this yet"))
}

/// C90–C92.
pub(super) async fn delete(_lxd: &Arc<Lxd>, _id: &str, _options: &DeleteOptions) -> Result<()> {
    Err(Error::unsupported("this yet"))
}

/// C100–C102.
pub(super) async fn wait(
    _lxd: &Arc<Lxd>,
    _id: &str,
    _condition: WaitFor,
    _deadline: Duration,
) -> Result<ContainerExit> {
    Err(Error::unsupported("this yet"))
}
