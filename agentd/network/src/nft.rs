//! The program `nft`: it is the interface that nftables keeps stable.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::NetworkError;

/// How long a change of rules may take. The first one of a host that has just booted waits for the
/// kernel's modules, and giving up then would leave the host without a bridge until the agent's next
/// start.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest word of `nft` that is passed on.
const MAX_WORDS: usize = 500;

/// What `nft` says of a table that is not there.
const ABSENT: &str = "No such file or directory";

/// Makes a change as one transaction.
///
/// # Errors
/// [`NetworkError::Rules`] with what `nft` says; [`NetworkError::PortTaken`] where an element exists.
pub async fn apply(script: &str) -> Result<(), NetworkError> {
    run(&["-f", "-"], script).await.map(drop)
}

/// Whether a change would be taken; nothing is changed.
pub(crate) async fn check(script: &str) -> Result<(), NetworkError> {
    run(&["--check", "-f", "-"], script).await.map(drop)
}

/// A table of the family `inet` with all that is in it; `None` where there is none.
pub(crate) async fn list(table: &str) -> Result<Option<String>, NetworkError> {
    match run(&["list", "table", "inet", table], "").await {
        Ok(listing) => Ok(Some(listing)),
        Err(NetworkError::Rules(words)) if words.contains(ABSENT) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn run(arguments: &[&str], script: &str) -> Result<String, NetworkError> {
    let failed = |what: String| NetworkError::Rules(what);
    let mut child = Command::new("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("the program nft cannot be started: {error}")))?;
    let work = async {
        if let Some(mut stdin) = child.stdin.take() {
            // What it does not read it complains about below.
            let _ = stdin.write_all(script.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(PATIENCE, work)
        .await
        .map_err(|_| failed(format!("nft did not end within {PATIENCE:?}")))?
        .map_err(|error| failed(format!("nft cannot be waited for: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    if words.contains("File exists") {
        return Err(NetworkError::PortTaken);
    }
    let words: String = words.lines().next().unwrap_or_default().chars().take(MAX_WORDS).collect();
    Err(failed(words))
}
