//! A framework that launches as fast as it can, over the real scheduler API in protobuf, and
//! measures. Calls are pipelined on a few connections, as a busy scheduler's would be.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tepui_wire::v1::scheduler::{self, Call, call, event};
use tepui_wire::v1::{self, offer::operation};
use tepui_wire::{MediaType, encode_protobuf, media, recordio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// What to launch, and what is good enough.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The Mesos address of the control plane
    #[arg(long, default_value = "127.0.0.1:5050")]
    mesos: String,
    /// How many tasks
    #[arg(long, default_value_t = 50_000)]
    tasks: usize,
    /// How many of them from one offer
    #[arg(long, default_value_t = 50)]
    per_offer: usize,
    /// Tasks per second that must be reached
    #[arg(long, default_value_t = 5_000.0)]
    goal: f64,
    /// Give up after so many seconds
    #[arg(long, default_value_t = 120)]
    seconds: u64,
}

/// Launches and prints the rate; `false` when it is below the goal.
///
/// # Errors
/// When the control plane does not answer as a Mesos would, or not in time.
pub async fn run(options: Options) -> anyhow::Result<bool> {
    let limit = Duration::from_secs(options.seconds);
    tokio::time::timeout(limit, measure(&options)).await.context("not all tasks ran in time")?
}

async fn measure(options: &Options) -> anyhow::Result<bool> {
    let mut stream = Stream::subscribe(&options.mesos).await?;
    let mut calls = Calls::connect(&options.mesos, &stream.id).await?;
    let mut framework = None;
    let mut launched: HashMap<String, Instant> = HashMap::new();
    let mut delays: Vec<Duration> = Vec::new();
    let mut begin = Instant::now();
    while delays.len() < options.tasks {
        for event in stream.next().await? {
            match event.r#type() {
                event::Type::Subscribed => {
                    framework = event.subscribed.map(|subscribed| subscribed.framework_id);
                }
                event::Type::Offers => {
                    if launched.is_empty() {
                        begin = Instant::now();
                    }
                    for offer in event.offers.map(|offers| offers.offers).unwrap_or_default() {
                        let count = options.per_offer.min(options.tasks - launched.len());
                        calls.push(&answer(&framework, &offer, count, &mut launched));
                    }
                }
                event::Type::Update => {
                    let Some(status) = event.update.map(|update| update.status) else { continue };
                    if status.state() == v1::TaskState::TaskRunning
                        && let Some(at) = launched.get(&status.task_id.value)
                    {
                        delays.push(at.elapsed());
                    }
                    calls.push(&acknowledge(&framework, status));
                }
                event::Type::Error => bail!("the control plane says: {:?}", event.error),
                _ => {}
            }
        }
        calls.flush().await?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    calls.push(&plain(&framework, call::Type::Teardown));
    calls.flush().await?;
    Ok(report(options, &mut delays, seconds))
}

#[allow(clippy::cast_precision_loss)]
fn report(options: &Options, delays: &mut [Duration], seconds: f64) -> bool {
    delays.sort_unstable();
    let at = |percent: usize| {
        delays.get(delays.len() * percent / 100).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    let rate = options.tasks as f64 / seconds;
    let good = rate >= options.goal;
    println!(
        "{} tasks in {seconds:.2} s: {rate:.0} tasks/s (goal {:.0}, {}), launch to RUNNING p50 \
         {:.0} ms, p95 {:.0} ms",
        options.tasks,
        options.goal,
        if good { "ok" } else { "MISSED" },
        at(50),
        at(95),
    );
    good
}

fn plain(framework: &Option<v1::FrameworkId>, kind: call::Type) -> Call {
    Call { framework_id: framework.clone(), r#type: Some(kind.into()), ..Call::default() }
}

fn amount(name: &str, value: f64) -> v1::Resource {
    v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar.into(),
        scalar: Some(v1::value::Scalar { value }),
        ..v1::Resource::default()
    }
}

/// Launches `count` tasks from an offer, or declines it for good.
fn answer(
    framework: &Option<v1::FrameworkId>,
    offer: &v1::Offer,
    count: usize,
    launched: &mut HashMap<String, Instant>,
) -> Call {
    let forever = Some(v1::Filters { refuse_seconds: Some(3600.0) });
    if count == 0 {
        return Call {
            decline: Some(call::Decline { offer_ids: vec![offer.id.clone()], filters: forever }),
            ..plain(framework, call::Type::Decline)
        };
    }
    let now = Instant::now();
    let task_infos = (0..count)
        .map(|_| {
            let name = format!("task-{}", launched.len());
            launched.insert(name.clone(), now);
            v1::TaskInfo {
                name: name.clone(),
                task_id: v1::TaskId { value: name },
                agent_id: offer.agent_id.clone(),
                resources: vec![amount("cpus", 0.01), amount("mem", 1.0)],
                command: Some(v1::CommandInfo {
                    value: Some("endless".into()),
                    ..v1::CommandInfo::default()
                }),
                ..v1::TaskInfo::default()
            }
        })
        .collect();
    let launch = v1::offer::Operation {
        r#type: Some(operation::Type::Launch.into()),
        launch: Some(operation::Launch { task_infos }),
        ..v1::offer::Operation::default()
    };
    Call {
        accept: Some(call::Accept {
            offer_ids: vec![offer.id.clone()],
            operations: vec![launch],
            filters: forever,
        }),
        ..plain(framework, call::Type::Accept)
    }
}

fn acknowledge(framework: &Option<v1::FrameworkId>, status: v1::TaskStatus) -> Call {
    Call {
        acknowledge: Some(call::Acknowledge {
            agent_id: status.agent_id.unwrap_or_default(),
            task_id: status.task_id,
            uuid: status.uuid.unwrap_or_default(),
        }),
        ..plain(framework, call::Type::Acknowledge)
    }
}

fn request(host: &str, extra: &str, call: &Call) -> Vec<u8> {
    let body = encode_protobuf(call);
    let kind = MediaType::Protobuf;
    let mut bytes = format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nAccept: {kind}\
         \r\n{extra}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(&body);
    bytes
}

/// The framework's event stream.
struct Stream {
    socket: TcpStream,
    id: String,
    /// Bytes of the chunked body that are not a whole chunk yet.
    raw: Vec<u8>,
    decoder: recordio::Decoder,
}

impl Stream {
    async fn subscribe(host: &str) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect(host)
            .await
            .with_context(|| format!("failed to connect to {host}"))?;
        let info = v1::FrameworkInfo {
            user: "root".into(),
            name: "launch-rate".into(),
            ..v1::FrameworkInfo::default()
        };
        let subscribe = call::Subscribe { framework_info: info, ..call::Subscribe::default() };
        let call = Call { subscribe: Some(subscribe), ..plain(&None, call::Type::Subscribe) };
        socket.write_all(&request(host, "", &call)).await?;
        let mut raw = Vec::new();
        let head = loop {
            if socket.read_buf(&mut raw).await? == 0 {
                bail!("the control plane closed the connection");
            }
            if let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&raw[..end]).into_owned();
                raw.drain(..end + 4);
                break head;
            }
        };
        let id = head
            .lines()
            .find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("mesos-stream-id").then(|| value.trim().to_owned())
            })
            .with_context(|| format!("no stream: {head}"))?;
        Ok(Self { socket, id, raw, decoder: recordio::Decoder::with_limit(64 << 20) })
    }

    /// Waits for events and takes all that are there.
    async fn next(&mut self) -> anyhow::Result<Vec<scheduler::Event>> {
        loop {
            while let Some(chunk) = take_chunk(&mut self.raw)? {
                self.decoder.push(&chunk);
            }
            let mut events = Vec::new();
            while let Some(record) = self.decoder.next_record()? {
                events.push(media::decode(MediaType::Protobuf, &record)?);
            }
            if !events.is_empty() {
                return Ok(events);
            }
            self.raw.reserve(1 << 18);
            if self.socket.read_buf(&mut self.raw).await? == 0 {
                bail!("the control plane ended the stream");
            }
        }
    }
}

/// The first whole chunk of a chunked body.
fn take_chunk(raw: &mut Vec<u8>) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(end) = raw.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let size = std::str::from_utf8(&raw[..end])?;
    let size = usize::from_str_radix(size, 16).context("a chunk without a size")?;
    let (begin, whole) = (end + 2, end + 2 + size + 2);
    if raw.len() < whole {
        return Ok(None);
    }
    let chunk = raw[begin..begin + size].to_vec();
    raw.drain(..whole);
    Ok(Some(chunk))
}

/// A connection that calls are pipelined on; the answers are only counted.
struct Calls {
    host: String,
    extra: String,
    writer: OwnedWriteHalf,
    waiting: Vec<u8>,
}

impl Calls {
    async fn connect(host: &str, stream: &str) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(host).await?;
        socket.set_nodelay(true)?;
        let (reader, writer) = socket.into_split();
        tokio::spawn(read_answers(reader));
        let extra = format!("Mesos-Stream-Id: {stream}\r\n");
        Ok(Self { host: host.to_owned(), extra, writer, waiting: Vec::new() })
    }

    fn push(&mut self, call: &Call) {
        self.waiting.extend_from_slice(&request(&self.host, &self.extra, call));
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.writer.write_all(&self.waiting).await?;
        self.waiting.clear();
        Ok(())
    }
}

/// Reads until the end; says when an answer is not 202.
async fn read_answers(mut reader: OwnedReadHalf) {
    let mut buffer = Vec::with_capacity(1 << 16);
    while let Ok(read) = reader.read_buf(&mut buffer).await {
        if read == 0 {
            return;
        }
        let text = String::from_utf8_lossy(&buffer);
        for line in text.lines().filter(|line| line.starts_with("HTTP/1.1 ")) {
            if !line.starts_with("HTTP/1.1 202") && line.len() > 12 {
                eprintln!("a call was refused: {line}");
            }
        }
        // A status line may be cut at the end of the buffer: its beginning stays.
        let keep = buffer.len().saturating_sub(12);
        buffer.drain(..keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_taken_when_it_is_whole() {
        let mut raw = b"5\r\nhe".to_vec();
        assert_eq!(take_chunk(&mut raw).unwrap(), None);
        raw.extend_from_slice(b"llo\r\n1\r\n");
        assert_eq!(take_chunk(&mut raw).unwrap(), Some(b"hello".to_vec()));
        assert_eq!(raw, b"1\r\n");
    }
}
