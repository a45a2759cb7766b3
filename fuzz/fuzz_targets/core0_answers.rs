//! Bytes as everything that a core0 node can send.
#![no_main]

#[path = "../../crates/backends/tests/core0_hostile/every_type.rs"]
mod every_type;

libfuzzer_sys::fuzz_target!(|document: &[u8]| every_type::read(document));
