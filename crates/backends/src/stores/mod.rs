//! Where a server keeps what it must remember.

#[cfg(feature = "sqlite")]
pub mod sqlite;
