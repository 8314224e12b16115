//! Output of tasks, read from the sandbox at their agents.

use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

use crate::args::Logs;
use crate::client::Client;
use crate::fault::{Fault, INTERRUPTED};
use crate::output::{self, Tone, paint};

/// The most an agent gives at once (`mesos-http.md` 4.4: 16 pages).
const CHUNK_BYTES: u64 = 64 << 10;
const POLL: Duration = Duration::from_millis(500);
const TONES: [Tone; 3] = [Tone::Good, Tone::Busy, Tone::Plain];

/// A task's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Shown before each line; empty when there is only one task.
    pub(crate) label: String,
    /// `http://ip:port`.
    pub(crate) agent: String,
    pub(crate) path: String,
}

#[derive(Debug, Deserialize)]
struct Chunk {
    #[serde(default)]
    data: String,
    #[serde(default)]
    offset: u64,
}

/// Prints the end of each file, and goes on if asked to.
pub(crate) async fn print(
    client: &Client,
    sources: Vec<Source>,
    logs: &Logs,
) -> anyhow::Result<u8> {
    let colour = output::colour();
    let width = sources.iter().map(|source| source.label.len()).max().unwrap_or(0);
    let mut readers = Vec::new();
    for (index, source) in sources.into_iter().enumerate() {
        let prefix = match source.label.as_str() {
            "" => String::new(),
            label => paint(&format!("{label:<width$} | "), TONES[index % TONES.len()], colour),
        };
        let mut reader = Reader { source, prefix, at: 0, partial: String::new() };
        reader.tail(client, logs.lines).await?;
        readers.push(reader);
    }
    if !logs.follow {
        for reader in &mut readers {
            reader.flush()?;
        }
        return Ok(crate::fault::DONE);
    }
    loop {
        for reader in &mut readers {
            reader.advance(client).await?;
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(INTERRUPTED),
        }
    }
}

struct Reader {
    source: Source,
    prefix: String,
    at: u64,
    partial: String,
}

impl Reader {
    async fn size(&self, client: &Client) -> anyhow::Result<u64> {
        let query = [("path", self.source.path.clone()), ("offset", "-1".to_owned())];
        let chunk: Chunk = client
            .get_from_agent(&self.source.agent, "/files/read", &query)
            .await
            .with_context(|| format!("failed to read {}", self.source.path))?;
        Ok(chunk.offset)
    }

    async fn read(&self, client: &Client, at: u64, length: u64) -> anyhow::Result<String> {
        let query = [
            ("path", self.source.path.clone()),
            ("offset", at.to_string()),
            ("length", length.to_string()),
        ];
        let chunk: Chunk = client.get_from_agent(&self.source.agent, "/files/read", &query).await?;
        Ok(chunk.data)
    }

    /// Prints the last `lines` lines.
    async fn tail(&mut self, client: &Client, lines: usize) -> anyhow::Result<()> {
        let size = self.size(client).await?;
        let mut text = String::new();
        let mut from = size;
        while from > 0 && text.matches('\n').count() <= lines {
            let length = from.min(CHUNK_BYTES);
            from -= length;
            text.insert_str(0, &self.read(client, from, length).await?);
        }
        self.at = size;
        let kept = last_lines(&text, lines).to_owned();
        self.take(&kept)
    }

    /// Prints what was written since.
    async fn advance(&mut self, client: &Client) -> anyhow::Result<()> {
        let size = self.size(client).await?;
        if size < self.at {
            // The file was rotated away; the new one is read from its beginning.
            self.at = 0;
        }
        while self.at < size {
            let length = (size - self.at).min(CHUNK_BYTES);
            let text = self.read(client, self.at, length).await?;
            let (text, taken) = whole_lines(&text, length);
            let text = text.to_owned();
            self.at += taken;
            self.take(&text)?;
        }
        Ok(())
    }

    /// Prints whole lines and keeps the rest.
    fn take(&mut self, text: &str) -> anyhow::Result<()> {
        self.partial.push_str(text);
        while let Some(end) = self.partial.find('\n') {
            let line: String = self.partial.drain(..=end).collect();
            output::print(&format!("{}{line}", self.prefix))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if !self.partial.is_empty() {
            output::print(&format!("{}{}\n", self.prefix, self.partial))?;
            self.partial.clear();
        }
        Ok(())
    }
}

/// The part of `text` that holds its last `lines` lines.
fn last_lines(text: &str, lines: usize) -> &str {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let starts = body.rmatch_indices('\n').map(|(at, _)| at + 1);
    match lines.checked_sub(1) {
        None => "",
        Some(skip) => starts.into_iter().nth(skip).map_or(text, |start| &text[start..]),
    }
}

/// What of a chunk of `length` bytes to print, and how many bytes that is. Ends at a line so that
/// no character is cut, unless bytes were replaced and their number is not known any more.
fn whole_lines(text: &str, length: u64) -> (&str, u64) {
    match text.rfind('\n') {
        Some(end) if !text.contains('\u{fffd}') => (&text[..=end], end as u64 + 1),
        _ => (text, length),
    }
}

/// The sandbox of a task in an agent's `/state`, also of one that has ended.
pub(crate) fn sandbox(state: &Value, task: &str) -> Option<String> {
    let list = |value: &Value, name: &str| -> Vec<Value> {
        value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let is_it = |value: &Value| value.get("id").and_then(Value::as_str) == Some(task);
    for frameworks in ["frameworks", "completed_frameworks"] {
        for framework in list(state, frameworks) {
            for executors in ["executors", "completed_executors"] {
                // The latest run comes last.
                for executor in list(&framework, executors).iter().rev() {
                    let tasks = ["tasks", "queued_tasks", "completed_tasks"];
                    let has = tasks.iter().any(|name| list(executor, name).iter().any(is_it));
                    if has || is_it(executor) {
                        return executor.get("directory")?.as_str().map(str::to_owned);
                    }
                }
            }
        }
    }
    None
}

/// The source of a task's file at the agent with this address.
pub(crate) async fn source(
    client: &Client,
    agent: &str,
    task: &str,
    file: &str,
) -> anyhow::Result<Source> {
    let state: Value = client.get_from_agent(agent, "/state", &[]).await?;
    let folder = sandbox(&state, task).ok_or_else(|| {
        Fault::new(format!("the agent at {agent} does not know task '{task}' any more"))
            .fix("sandboxes of ended tasks are removed after a while")
    })?;
    Ok(Source {
        label: String::new(),
        agent: agent.to_owned(),
        path: format!("{}/{file}", folder.trim_end_matches('/')),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(last_lines("a\nb\nc", 1), "c");
        assert_eq!(last_lines("a\nb\n", 5), "a\nb\n");
        assert_eq!(last_lines("a\nb\n", 0), "");
        assert_eq!(last_lines("", 3), "");
    }

    #[test]
    fn a_chunk_ends_at_a_line_unless_bytes_were_replaced() {
        assert_eq!(whole_lines("ab\ncd", 5), ("ab\n", 3));
        assert_eq!(whole_lines("abcd", 4), ("abcd", 4));
        assert_eq!(whole_lines("a\u{fffd}\nb", 6), ("a\u{fffd}\nb", 6));
    }

    #[test]
    fn the_sandbox_is_found_for_running_and_ended_tasks() {
        let state = json!({
            "frameworks": [{"id": "f", "executors": [
                {"id": "t1", "directory": "/w/runs/1", "tasks": [{"id": "t1"}]}],
                "completed_executors": [
                {"id": "t2", "directory": "/w/runs/2", "completed_tasks": [{"id": "t2"}]},
                {"id": "t2", "directory": "/w/runs/3", "completed_tasks": [{"id": "t2"}]}]}],
            "completed_frameworks": [{"executors": [], "completed_executors": [
                {"id": "e", "directory": "/w/runs/4", "tasks": [], "completed_tasks": [{"id": "t3"}]}]}]
        });
        assert_eq!(sandbox(&state, "t1").as_deref(), Some("/w/runs/1"));
        assert_eq!(sandbox(&state, "t2").as_deref(), Some("/w/runs/3"));
        assert_eq!(sandbox(&state, "t3").as_deref(), Some("/w/runs/4"));
        assert_eq!(sandbox(&state, "t4"), None);
        assert_eq!(sandbox(&json!({}), "t1"), None);
    }
}
