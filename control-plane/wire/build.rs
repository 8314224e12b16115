//! Compiles the protobuf files without protoc, keeps the descriptors, and writes the compact
//! schema tables that the JSON and binary codecs walk.

#[path = "build/tables.rs"]
mod tables;

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 9] = [
    "mesos/v1/mesos.proto",
    "mesos/v1/agent/agent.proto",
    "mesos/v1/allocator/allocator.proto",
    "mesos/v1/executor/executor.proto",
    "mesos/v1/maintenance/maintenance.proto",
    "mesos/v1/master/master.proto",
    "mesos/v1/quota/quota.proto",
    "mesos/v1/resource_provider/resource_provider.proto",
    "mesos/v1/scheduler/scheduler.proto",
];

/// Fields that most messages do not have and that take hundreds of bytes where they stand: they are
/// apart, since a cluster has hundreds of thousands of the messages around them.
const RARE_AND_LARGE: [&str; 8] = [
    ".mesos.v1.Resource.disk",
    ".mesos.v1.Task.container",
    ".mesos.v1.Task.health_check",
    ".mesos.v1.TaskInfo.executor",
    ".mesos.v1.TaskInfo.container",
    ".mesos.v1.TaskInfo.health_check",
    ".mesos.v1.TaskInfo.check",
    ".mesos.v1.ExecutorInfo.container",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let descriptors = protox::compile(FILES, ["proto"])?;
    fs::write(out.join("mesos.fds"), descriptors.encode_to_vec())?;
    let tables = tables::Tables::from_descriptors(&descriptors)?;
    fs::write(out.join("schema.rs"), tables.schema_source())?;
    fs::write(out.join("every_message.rs"), tables.every_message_source())?;
    let mut config = prost_build::Config::new();
    for field in RARE_AND_LARGE {
        config.boxed(field);
    }
    config.btree_map(["."]).include_file("messages.rs").compile_fds(descriptors)?;
    Ok(())
}
