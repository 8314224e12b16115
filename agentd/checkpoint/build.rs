//! Compiles the disk format without protoc; Mesos's messages come from `tepui-wire`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(
        ["tepui/checkpoint/v1/journal.proto"],
        ["proto", "../../control-plane/wire/proto"],
    )?;
    prost_build::Config::new()
        .extern_path(".mesos.v1", "::tepui_wire::v1")
        .compile_fds(descriptors)?;
    Ok(())
}
