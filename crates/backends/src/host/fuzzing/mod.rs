//! What must be true of the kernel's files, each kind with its parsers.

pub(crate) mod facts;
pub(crate) mod group;
pub(crate) mod machine;
pub(crate) mod owner;
pub(crate) mod pid;
pub(crate) mod sockets;
