//! One call of one plugin: a program that reads its configuration and writes its result.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::{Container, Network};
use crate::error::NetworkError;

/// How long a plugin may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest answer of a plugin.
const MAX_ANSWER_BYTES: u64 = 1 << 20;
/// Longest word of a plugin that is passed on.
const MAX_WORDS: usize = 500;
/// Where hosts usually have the tools that plugins call.
const TOOLS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) struct Call<'a> {
    pub(super) command: &'static str,
    pub(super) container: &'a Container<'a>,
    pub(super) config: &'a Value,
    pub(super) folders: &'a [PathBuf],
}

/// Calls a plugin of the network; its answer.
pub(super) async fn call(
    network: &Network,
    at: usize,
    call: Call<'_>,
) -> Result<Value, NetworkError> {
    let name = network.plugins[at]["type"].as_str().unwrap_or_default();
    let found = call.folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    let Some(program) = found else {
        return Err(network.failure(at, format!("is in none of {:?}", call.folders)));
    };
    let paths = std::env::join_paths(call.folders).unwrap_or_default();
    // Where hosts have no /usr, the tools that plugins call are in the daemon's own PATH.
    let tools =
        std::env::var("PATH").map_or_else(|_| TOOLS.to_owned(), |own| format!("{own}:{TOOLS}"));
    let child = Command::new(program)
        .env_clear()
        .env("PATH", tools)
        .env("CNI_COMMAND", call.command)
        .env("CNI_CONTAINERID", call.container.id)
        .env("CNI_NETNS", call.container.namespace)
        .env("CNI_IFNAME", &call.container.interface)
        .env("CNI_PATH", paths)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child =
        child.map_err(|error| network.failure(at, format!("cannot be started: {error}")))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let text = call.config.to_string();
    let talk = async {
        let tell = async {
            if let Some(mut stdin) = stdin {
                // What it does not read it does not need.
                let _ = stdin.write_all(text.as_bytes()).await;
            }
        };
        let hear = async {
            let mut answer = Vec::new();
            if let Some(stdout) = stdout {
                let _ = stdout.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await;
            }
            answer
        };
        let ((), answer) = tokio::join!(tell, hear);
        (child.wait().await, answer)
    };
    let heard = tokio::time::timeout(PATIENCE, talk).await;
    let Ok((status, answer)) = heard else {
        end_group(&child);
        return Err(network.failure(at, format!("did not end within {PATIENCE:?}")));
    };
    let status =
        status.map_err(|error| network.failure(at, format!("cannot be waited for: {error}")))?;
    if !status.success() {
        return Err(network.failure(at, format!("failed: {}", reason(&answer, &status))));
    }
    if call.command == "DEL" {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&answer)
        .map_err(|error| network.failure(at, format!("gave an answer that is no JSON: {error}")))
}

/// A plugin is often a script: what it waits for ends with it.
fn end_group(plugin: &Child) {
    let leader = plugin.id().and_then(|id| i32::try_from(id).ok());
    if let Some(leader) = leader {
        // What ended by itself meanwhile needs nothing.
        let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
    }
}

fn reason(answer: &[u8], status: &std::process::ExitStatus) -> String {
    let Ok(error) = serde_json::from_slice::<Value>(answer) else { return status.to_string() };
    let word = |name: &str| error[name].as_str().filter(|text| !text.is_empty());
    let words: Vec<_> = [word("msg"), word("details")].into_iter().flatten().collect();
    let text = format!("{} (code {})", words.join(": "), error["code"]);
    text.chars().take(MAX_WORDS).collect()
}
