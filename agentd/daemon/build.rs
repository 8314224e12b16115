//! How the agent is linked.

fn main() {
    // The program may be loaded anywhere, so each pointer in its constants is corrected at the
    // start. The list of them is read whole and stays in memory: a megabyte with 24 bytes for each,
    // some pages as a bit map. The C library reads the latter since 2.36 (Debian 12).
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    println!("cargo::rerun-if-changed=build.rs");
}
