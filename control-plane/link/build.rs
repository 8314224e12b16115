//! Compiles the private protocol without protoc; Mesos's messages come from `tepui-wire`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let grpc = std::env::var_os("CARGO_FEATURE_GRPC").is_some();
    let descriptors = protox::compile(["tepui/link/v1/link.proto"], ["proto", "../wire/proto"])?;
    tonic_prost_build::configure()
        .build_client(grpc)
        .build_server(grpc)
        .codec_path("crate::frames::FrameCodec")
        .extern_path(".mesos.v1", "::tepui_wire::v1")
        .bytes(".tepui.link.v1.Report.register")
        .compile_fds(descriptors)?;
    Ok(())
}
