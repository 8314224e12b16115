//! Whether the container's state is written down. The library writes it over when the first process has
//! begun already, so that who comes then finds a file with nothing in it, or half of one.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

/// What is waited for a state: that of a runtime that was killed while it wrote is never complete.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(1);

/// Waits until the state in that folder is the last one that is written while the container runs. What
/// is not there, and what does not come in time, is for the library to tell of.
pub(crate) fn wait(folder: &Path) {
    let file = folder.join("state.json");
    let tries = PATIENCE.as_millis() / PAUSE.as_millis();
    for _ in 0..tries {
        match std::fs::read(&file) {
            Ok(text) if !is_final(&text) => sleep(PAUSE),
            _ => return,
        }
    }
}

fn is_final(text: &[u8]) -> bool {
    let state = serde_json::from_slice::<Value>(text).unwrap_or_default();
    state["status"].as_str().is_some_and(|status| !matches!(status, "creating" | "created"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_state_and_that_of_a_container_that_has_not_begun_are_not_the_last() {
        for text in
            ["", "{\"status\":\"run", "{\"status\":\"creating\"}", "{\"status\":\"created\"}"]
        {
            assert!(!is_final(text.as_bytes()), "{text}");
        }
        for status in ["running", "paused", "stopped"] {
            let text = format!("{{\"ociVersion\":\"v1.0.2\",\"status\":\"{status}\"}}");
            assert!(is_final(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_container_without_a_state_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        wait(folder.path());
    }
}
