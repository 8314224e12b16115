//! A stream of an instance as lines: what was written so far, over rotated files, and what comes.

use std::collections::VecDeque;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::client::{Client, refused};

use super::marks::{self, Times};
use super::when::Instant;

/// The most an agent gives at once (`mesos-http.md` 4.4: 16 pages).
const CHUNK_BYTES: u64 = 64 << 10;
/// A longer line is shown in parts.
const MAX_LINE_BYTES: usize = 1 << 20;

/// A file in a sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `http://ip:port` of the agent.
    pub(super) agent: String,
    /// The sandbox.
    pub(super) folder: String,
    /// The file's name in it.
    pub(super) name: String,
}

/// Where to begin.
#[derive(Clone, Debug)]
pub(super) struct Begin {
    pub(super) since: Option<Instant>,
    pub(super) tail: Option<usize>,
    pub(super) grep: Option<Regex>,
}

/// One line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    /// When it was written, if that is recorded.
    pub(super) time: Option<Instant>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    mtime: f64,
}

#[derive(Debug, Deserialize)]
struct ReadAnswer {
    read_file: ReadFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReadFile {
    size: Number,
    data: String,
}

/// A number that JSON made from protobuf may be text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(u64),
    Text(String),
}

impl Default for Number {
    fn default() -> Self {
        Self::Plain(0)
    }
}

/// One file of a stream.
#[derive(Clone, Debug)]
struct Part {
    path: String,
    size: u64,
    mtime: f64,
}

/// A stream: the numbered files of the past, then the one that grows, one behind the other.
#[derive(Debug)]
pub(super) struct Feed {
    client: Client,
    pub(super) place: Place,
    parts: Vec<Part>,
    times: Times,
    /// The next byte to read, counted over all parts.
    at: u64,
    /// Bytes read and not given away yet; the first one is at `at` less their number.
    pending: VecDeque<u8>,
    /// Bytes of `pending` that are known to hold no end of a line.
    searched: usize,
    /// Whether times are those of the reading: history is over.
    live: bool,
}

impl Feed {
    /// The stream from where `begin` says; nothing is read for it while its file is not there.
    pub(super) async fn open(client: &Client, place: Place, begin: &Begin) -> anyhow::Result<Self> {
        let mut feed = Self {
            client: client.clone(),
            place,
            parts: Vec::new(),
            times: Times::default(),
            at: 0,
            pending: VecDeque::new(),
            searched: 0,
            live: false,
        };
        feed.parts = feed.list().await?;
        // After the sizes: so there is a record for each byte that is counted.
        feed.times = feed.recorded_times().await?;
        feed.at = feed.first_byte(begin).await?;
        Ok(feed)
    }

    /// Whether --since could not be answered exactly.
    pub(super) fn lacks_times(&self) -> bool {
        self.times.is_empty() && self.size() > 0
    }

    fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.size).sum()
    }

    /// The files of the stream, oldest first.
    async fn list(&self) -> anyhow::Result<Vec<Part>> {
        let (folder, name) = self.folder_and_name();
        let query = [("path", folder)];
        let url = format!("{}/files/browse", self.place.agent);
        let request = self.client.http().get(&url).query(&query);
        let Some(entries) = self.ask::<Vec<Entry>>(Method::GET, request).await? else {
            return Ok(Vec::new());
        };
        let mut parts: Vec<(u64, Part)> = Vec::new();
        for entry in entries {
            let own = entry.path.rsplit('/').next().unwrap_or_default();
            let number = match own.strip_prefix(name.as_str()) {
                Some("") => 0,
                Some(ending) => match ending.strip_prefix('.').map(str::parse) {
                    Some(Ok(number)) if number > 0 => number,
                    _ => continue,
                },
                None => continue,
            };
            parts.push((number, Part { path: entry.path, size: entry.size, mtime: entry.mtime }));
        }
        parts.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        // A numbered file behind a gap is none of the rotation's.
        let mut expected = 0;
        let from = parts.iter().rposition(|(number, _)| {
            expected += 1;
            *number != expected - 1
        });
        let kept = parts.split_off(from.map_or(0, |from| from + 1));
        Ok(kept.into_iter().map(|(_, part)| part).collect())
    }

    fn folder_and_name(&self) -> (String, String) {
        let path = format!("{}/{}", self.place.folder.trim_end_matches('/'), self.place.name);
        match path.rsplit_once('/') {
            Some((folder, name)) => (folder.to_owned(), name.to_owned()),
            None => (String::new(), path),
        }
    }

    async fn recorded_times(&self) -> anyhow::Result<Times> {
        let (folder, name) = self.folder_and_name();
        let path = format!("{folder}/.{name}.times");
        let mut text = Vec::new();
        while let Some((size, piece)) = self.read(&path, text.len() as u64).await? {
            text.extend_from_slice(&piece);
            if piece.is_empty() || text.len() as u64 >= size {
                break;
            }
        }
        let sizes: Vec<u64> = self.parts.iter().map(|part| part.size).collect();
        Ok(Times::new(&marks::parse(&String::from_utf8_lossy(&text)), &sizes))
    }

    async fn first_byte(&self, begin: &Begin) -> anyhow::Result<u64> {
        let since = match begin.since {
            None => 0,
            Some(since) => self.line_from(self.since(since)).await?,
        };
        match begin.tail {
            None => Ok(since),
            Some(lines) => self.tail(lines, since, begin.grep.as_ref()).await,
        }
    }

    fn since(&self, since: Instant) -> u64 {
        if !self.times.is_empty() {
            return self.times.since(since, self.size());
        }
        // The time of a file is that of its newest byte, in seconds.
        #[allow(clippy::cast_precision_loss)]
        let seconds = (since.0 / 1_000) as f64;
        let older = self.parts.iter().take_while(|part| part.mtime < seconds);
        older.map(|part| part.size).sum()
    }

    /// The first line that begins at this byte or behind it.
    async fn line_from(&self, at: u64) -> anyhow::Result<u64> {
        let mut before = match at.checked_sub(1) {
            Some(before) if at < self.size() => before,
            _ => return Ok(at),
        };
        loop {
            let piece = self.read_at(before).await?;
            if piece.is_empty() {
                return Ok(self.size());
            }
            if let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
                return Ok(before + end as u64 + 1);
            }
            before += piece.len() as u64;
        }
    }

    /// Where the last `lines` lines that match begin, but not before `first`.
    async fn tail(&self, lines: usize, first: u64, grep: Option<&Regex>) -> anyhow::Result<u64> {
        let size = self.size();
        let (mut from, mut found) = (size, 0);
        // What of a line is behind `from`, and ends there or at the end of the stream.
        let mut rest: Vec<u8> = Vec::new();
        let mut best = size;
        while from > first && found < lines {
            let begin = from.saturating_sub(CHUNK_BYTES).max(first);
            let mut piece = self.read_between(begin, from).await?;
            piece.append(&mut rest);
            let mut end = piece.len();
            while end > 0 && found < lines {
                let line = piece[..end - 1].iter().rposition(|byte| *byte == b'\n');
                let start = line.map_or(0, |newline| newline + 1);
                if start == 0 && begin > first && end < MAX_LINE_BYTES {
                    break;
                }
                let text = String::from_utf8_lossy(&piece[start..end]);
                if grep.is_none_or(|grep| grep.is_match(text.trim_end_matches('\n'))) {
                    (found, best) = (found + 1, begin + start as u64);
                }
                end = start;
            }
            piece.truncate(end);
            rest = piece;
            from = begin;
        }
        Ok(best)
    }

    async fn read_between(&self, from: u64, to: u64) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let length = usize::try_from(to - from).unwrap_or(usize::MAX);
        while bytes.len() < length {
            let piece = self.read_at(from + bytes.len() as u64).await?;
            if piece.is_empty() {
                break;
            }
            bytes.extend_from_slice(&piece);
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Bytes of the history; none at its end.
    async fn read_at(&self, at: u64) -> anyhow::Result<Vec<u8>> {
        let mut base = 0;
        for part in &self.parts {
            if at < base + part.size {
                let read = self.read(&part.path, at - base).await?;
                let (_, mut piece) = read.unwrap_or_default();
                let left = usize::try_from(base + part.size - at).unwrap_or(usize::MAX);
                piece.truncate(left);
                return Ok(piece);
            }
            base += part.size;
        }
        Ok(Vec::new())
    }

    /// The next line that was there at the beginning; `None` when there is no whole one.
    pub(super) async fn next_old(&mut self) -> anyhow::Result<Option<Line>> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Some(line));
            }
            let piece = self.read_at(self.at).await?;
            if piece.is_empty() {
                return Ok(None);
            }
            self.push(&piece);
        }
    }

    /// What was written since the last look.
    pub(super) async fn next_new(&mut self) -> anyhow::Result<Vec<Line>> {
        self.live = true;
        let mut lines = Vec::new();
        let (folder, name) = self.folder_and_name();
        let path = format!("{folder}/{name}");
        let base: u64 = self.parts.iter().rev().skip(1).map(|part| part.size).sum();
        // Only the place in the file that grows matters from now on.
        self.at -= base.min(self.at);
        self.parts.clear();
        loop {
            let Some((size, piece)) = self.read(&path, self.at).await? else { return Ok(lines) };
            if size < self.at {
                // It was rotated: the rest of the former one has another name now.
                let former = format!("{path}.1");
                while let Some((_, piece)) = self.read(&former, self.at).await?
                    && !piece.is_empty()
                {
                    self.push(&piece);
                }
                self.at = 0;
                continue;
            }
            self.push(&piece);
            while let Some(line) = self.take_line() {
                lines.push(line);
            }
            if piece.is_empty() || self.at >= size {
                return Ok(lines);
            }
        }
    }

    /// The last line, which has no end.
    pub(super) fn rest(&mut self) -> Option<Line> {
        let length = self.pending.len();
        (length > 0).then(|| self.cut(length, length))
    }

    fn push(&mut self, piece: &[u8]) {
        self.pending.extend(piece);
        self.at += piece.len() as u64;
    }

    fn take_line(&mut self) -> Option<Line> {
        let unseen = self.pending.iter().skip(self.searched);
        match unseen.enumerate().find(|(_, byte)| **byte == b'\n') {
            Some((end, _)) => Some(self.cut(self.searched + end, self.searched + end + 1)),
            None if self.pending.len() >= MAX_LINE_BYTES => {
                Some(self.cut(MAX_LINE_BYTES, MAX_LINE_BYTES))
            }
            None => {
                self.searched = self.pending.len();
                None
            }
        }
    }

    /// Takes `taken` bytes, of which the first `shown` are the line.
    fn cut(&mut self, shown: usize, taken: usize) -> Line {
        self.searched = 0;
        let begin = self.at - (self.pending.len() as u64).min(self.at);
        let mut bytes: Vec<u8> = self.pending.drain(..taken).collect();
        bytes.truncate(shown);
        let time = if self.live { Some(Instant::now()) } else { self.times.of(begin) };
        Line { text: String::from_utf8_lossy(&bytes).into_owned(), time }
    }

    /// Size of a file and bytes from an offset on; `None` when it is not there.
    async fn read(&self, path: &str, at: u64) -> anyhow::Result<Option<(u64, Vec<u8>)>> {
        let call = json!({
            "type": "READ_FILE",
            "read_file": {"path": path, "offset": at, "length": CHUNK_BYTES},
        });
        let url = format!("{}/api/v1", self.place.agent);
        let request = self.client.http().post(&url).json(&call);
        let Some(answer) = self.ask::<ReadAnswer>(Method::POST, request).await? else {
            return Ok(None);
        };
        let data = STANDARD.decode(&answer.read_file.data);
        let data = data.with_context(|| format!("the agent's answer about {path} is broken"))?;
        let size = match answer.read_file.size {
            Number::Plain(size) => size,
            Number::Text(text) => text.parse().unwrap_or_default(),
        };
        Ok(Some((size, data)))
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        request: reqwest::RequestBuilder,
    ) -> anyhow::Result<Option<T>> {
        let request = request.header(reqwest::header::ACCEPT, "application/json");
        let response = request.timeout(crate::client::REQUEST_TIMEOUT).send().await;
        let response = response.map_err(|error| {
            let why = "logs are read from the agent itself";
            self.client.agent_unreachable(&self.place.agent, &error, why)
        })?;
        let (status, url) = (response.status(), response.url().to_string());
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            let text = response.text().await.unwrap_or_default();
            return Err(refused(&method, &url, status, &text).into());
        }
        Ok(Some(response.json().await?))
    }
}

#[cfg(test)]
mod tests;
