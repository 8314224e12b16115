//! `tepui version`.

use serde_json::{Value, json};

use crate::client::{Api, Client};
use crate::fault::DONE;
use crate::output::{self, Format};

pub(crate) async fn run(client: &Client, format: Format) -> anyhow::Result<u8> {
    let ours = env!("CARGO_PKG_VERSION");
    // The tool's own version is worth something without a cluster too.
    let cluster = client.get::<Value>(Api::Mesos, "/version").await.ok();
    if format.is_json() {
        output::print_json(format, &json!({"tepui": ours, "cluster": cluster}))?;
        return Ok(DONE);
    }
    let theirs = cluster.as_ref().and_then(|version| version.get("version")?.as_str());
    output::print(&format!("tepui {ours}\ncluster {}\n", theirs.unwrap_or("not reachable")))?;
    Ok(DONE)
}
