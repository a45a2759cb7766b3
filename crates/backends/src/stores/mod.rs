//! Where a server keeps what it must remember.

#[cfg(feature = "sealed")]
pub mod sealed;
#[cfg(feature = "sqlite")]
pub mod sqlite;
