//! Builds what the program has in C, a call that Rust has no safe form of, and says how it is linked.

fn main() {
    println!("cargo:rerun-if-changed=src/arenas.c");
    let has_glibc = std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|name| name == "gnu");
    if has_glibc {
        for object in cc::Build::new().file("src/arenas.c").warnings_into_errors(true).compile_intermediates() {
            println!("cargo:rustc-link-arg-bin=roadstead={}", object.display());
        }
        // Two megabytes that the loader would read at each start, and leave resident, become some kilobytes.
        println!("cargo:rustc-link-arg-bin=roadstead=-Wl,-z,pack-relative-relocs");
    }
}
