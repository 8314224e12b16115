//! Records of a session, both ways: JSON in RecordIO.

use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tepui_wire::recordio::{self, Decoder};
use tokio::time::timeout;

use crate::fault::Fault;

/// Largest record that an agent sends.
const MAX_RECORD_BYTES: usize = 1 << 20;
/// An agent shows every 30 s that it is there (`mesos-http.md` 3.3): one that is silent for longer has
/// lost its power or its network, and this terminal must not wait for it.
const SILENCE: Duration = Duration::from_secs(100);

/// A piece of what the command prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Printed {
    Output(Vec<u8>),
    Error(Vec<u8>),
}

type Chunks = Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>;

/// What the command prints, as it comes.
pub(super) struct Stream {
    chunks: Chunks,
    decoder: Decoder,
}

impl Stream {
    pub(super) fn new(
        chunks: impl futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send + 'static,
    ) -> Self {
        Self { chunks: Box::pin(chunks), decoder: Decoder::with_limit(MAX_RECORD_BYTES) }
    }

    /// The next piece; none when the output has ended. May be dropped and called again.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Printed>> {
        loop {
            while let Some(record) = self.decoder.next_record()? {
                if let Some(printed) = printed(&serde_json::from_slice(&record)?)? {
                    return Ok(Some(printed));
                }
            }
            let silent = || {
                let time = SILENCE.as_secs();
                Fault::new(format!("the agent has shown no sign of life for {time} seconds"))
                    .fix("`tepui agent list` shows whether it is still there")
            };
            match timeout(SILENCE, self.chunks.next()).await.map_err(|_| silent())? {
                Some(chunk) => {
                    self.decoder.push(&chunk.context("the connection to the agent broke")?);
                }
                None => return Ok(None),
            }
        }
    }
}

/// What a record prints; heartbeats print nothing.
fn printed(record: &Value) -> anyhow::Result<Option<Printed>> {
    if record["type"] != "DATA" {
        return Ok(None);
    }
    let data = &record["data"];
    let text = data["data"].as_str().unwrap_or_default();
    let bytes = STANDARD.decode(text).context("the agent sent a record that is no base64")?;
    Ok(Some(match data["type"].as_str() {
        Some("STDERR") => Printed::Error(bytes),
        _ => Printed::Output(bytes),
    }))
}

/// A call as a record.
pub(super) fn record(call: &Value) -> Vec<u8> {
    recordio::encode(call.to_string().as_bytes())
}

fn process_io(io: Value) -> Value {
    json!({
        "type": "ATTACH_CONTAINER_INPUT",
        "attach_container_input": {"type": "PROCESS_IO", "process_io": io},
    })
}

/// Something for the command's standard input; nothing means that it ends.
pub(super) fn input(data: &[u8]) -> Value {
    let data = json!({"type": "STDIN", "data": STANDARD.encode(data)});
    process_io(json!({"type": "DATA", "data": data}))
}

/// The terminal has another size.
pub(super) fn resize(size: &Value) -> Value {
    let control = json!({"type": "TTY_INFO", "tty_info": {"window_size": size}});
    process_io(json!({"type": "CONTROL", "control": control}))
}

/// The input lives, though nothing is typed.
pub(super) fn heartbeat() -> Value {
    let interval = json!({"nanoseconds": 30_000_000_000_u64});
    let control = json!({"type": "HEARTBEAT", "heartbeat": {"interval": interval}});
    process_io(json!({"type": "CONTROL", "control": control}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_and_errors_come_apart_and_heartbeats_are_passed_over() {
        let mut bytes = Vec::new();
        for record in [
            json!({"type": "CONTROL", "control": {"type": "HEARTBEAT"}}),
            json!({"type": "DATA", "data": {"type": "STDOUT", "data": "aGk="}}),
            json!({"type": "DATA", "data": {"type": "STDERR", "data": "b2g="}}),
        ] {
            recordio::encode_into(record.to_string().as_bytes(), &mut bytes);
        }
        let chunks: Vec<_> =
            bytes.chunks(5).map(|chunk| Ok(bytes::Bytes::copy_from_slice(chunk))).collect();
        let mut stream = Stream::new(futures_util::stream::iter(chunks));
        assert_eq!(stream.next().await.unwrap(), Some(Printed::Output(b"hi".to_vec())));
        assert_eq!(stream.next().await.unwrap(), Some(Printed::Error(b"oh".to_vec())));
        assert_eq!(stream.next().await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_falls_silent_is_not_waited_for() {
        let beat = recordio::encode(br#"{"type": "CONTROL", "control": {"type": "HEARTBEAT"}}"#);
        let chunks = futures_util::stream::unfold(0, move |beats| {
            let beat = bytes::Bytes::from(beat.clone());
            async move {
                match beats {
                    0..9 => tokio::time::sleep(Duration::from_secs(30)).await,
                    _ => std::future::pending().await,
                }
                Some((Ok(beat), beats + 1))
            }
        });
        let begun = tokio::time::Instant::now();
        let error = Stream::new(chunks).next().await.unwrap_err();
        assert!(error.to_string().contains("no sign of life for 100 seconds"), "{error}");
        assert_eq!(begun.elapsed(), Duration::from_secs(9 * 30 + 100));
    }
}
