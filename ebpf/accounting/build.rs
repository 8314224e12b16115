//! Compiles the BPF programs with clang: no kernel headers, no running kernel, no bpftool.

use std::env;
use std::path::PathBuf;

use libbpf_cargo::SkeletonBuilder;

/// One object per subject, so that a kernel that refuses one still gets the others.
const OBJECTS: &[&str] = &["level", "devices", "ports", "sched", "net", "block"];

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for name in OBJECTS {
        let source = format!("src/bpf/{name}.bpf.c");
        let mut builder = SkeletonBuilder::new();
        // Some distributions wrap clang for hosts only; theirs for BPF is another.
        if let Some(clang) = env::var_os("CLANG") {
            builder.clang(clang);
        }
        builder
            .source(&source)
            .obj(out.join(format!("{name}.bpf.o")))
            .clang_args(["-Wall", "-Werror", "-mcpu=v3", "-Isrc/bpf"])
            .build_and_generate(out.join(format!("{name}.skel.rs")))
            .unwrap_or_else(|error| panic!("failed to build {source}: {error:?}"));
    }
    println!("cargo:rerun-if-changed=src/bpf");
    println!("cargo:rerun-if-env-changed=CLANG");
}
