//! `info.*`: what the kernel tells of the machine, with the members of the node's own library for it.

mod dmi;
mod machine;
mod nic;
mod ports;

use serde_json::{Value, json};

use super::{Failure, VERSION};

pub(super) use ports::listening_tcp;

/// The commands of this group; `None` for any other name. Arguments are looked at by `info.dmi` only.
pub(super) fn call(inside: bool, command: &str, arguments: &Value) -> Option<Result<Value, Failure>> {
    Some(match command {
        "info.cpu" => machine::processors(),
        "info.mem" => machine::memory(),
        "info.disk" => machine::partitions(),
        "info.nic" => nic::all(),
        "info.os" => machine::system(),
        "info.port" => ports::all(),
        "info.version" => Ok(json!({"branch": VERSION.0, "revision": VERSION.1, "dirty": false})),
        "info.dmi" if !inside => dmi::call(arguments),
        _ => return None,
    })
}
