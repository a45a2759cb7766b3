#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roadstead_backends::fuzzing::run("sockets_packet", bytes));
