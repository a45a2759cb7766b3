//! What stands in the kernel's files, each file with its parser, which knows nothing of where the text came from.

pub(super) mod group;
pub(super) mod machine;
pub(super) mod mounts;
pub(super) mod pid;
pub(super) mod scan;
pub(super) mod sockets;
