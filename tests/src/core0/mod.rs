//! A core0 to test against: a stand-in for a Zero-OS node, which cannot be had.

pub mod builtins;
