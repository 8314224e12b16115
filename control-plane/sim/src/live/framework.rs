//! The scheduler API in protobuf, as a busy framework speaks it: one stream of events, and calls
//! that are pipelined on another connection.

use anyhow::{Context, bail};
use tepui_wire::v1::scheduler::{self, Call, call};
use tepui_wire::v1::{self, offer::operation};
use tepui_wire::{MediaType, encode_protobuf, media, recordio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// How long offers that are answered stay away.
const FOREVER_SECONDS: f64 = 3600.0;

/// A call with nothing but its type.
pub fn plain(framework: &Option<v1::FrameworkId>, kind: call::Type) -> Call {
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

fn forever() -> Option<v1::Filters> {
    Some(v1::Filters { refuse_seconds: Some(FOREVER_SECONDS) })
}

/// Wants nothing of an offer, for good.
pub fn decline(framework: &Option<v1::FrameworkId>, offer: &v1::Offer) -> Call {
    let offer_ids = vec![offer.id.clone()];
    Call {
        decline: Some(call::Decline { offer_ids, filters: forever() }),
        ..plain(framework, call::Type::Decline)
    }
}

/// What a task needs.
const TASK: [(&str, f64); 2] = [("cpus", 0.01), ("mem", 1.0)];

/// How many tasks an offer has room for.
pub fn tasks_in(offer: &v1::Offer) -> usize {
    let room = |(name, each): (&str, f64)| {
        let all = offer.resources.iter().filter(|one| one.name == name);
        let sum: f64 = all.filter_map(|one| Some(one.scalar.as_ref()?.value)).sum();
        // Amounts are thousandths: a little more than the quotient is the quotient.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let times = (sum / each + 1e-6) as usize;
        times
    };
    TASK.into_iter().map(room).min().unwrap_or_default()
}

/// Launches these tasks from an offer, each a name and a command, and wants nothing more of it.
pub fn launch(
    framework: &Option<v1::FrameworkId>,
    offer: &v1::Offer,
    tasks: impl Iterator<Item = (String, &'static str)>,
) -> Call {
    let task_infos = tasks
        .map(|(name, command)| v1::TaskInfo {
            name: name.clone(),
            task_id: v1::TaskId { value: name },
            agent_id: offer.agent_id.clone(),
            resources: TASK.map(|(name, value)| amount(name, value)).into(),
            command: Some(v1::CommandInfo {
                value: Some(command.into()),
                ..v1::CommandInfo::default()
            }),
            ..v1::TaskInfo::default()
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
            filters: forever(),
        }),
        ..plain(framework, call::Type::Accept)
    }
}

/// Says that a status arrived.
pub fn acknowledge(framework: &Option<v1::FrameworkId>, status: v1::TaskStatus) -> Call {
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

/// A framework's event stream.
pub struct Stream {
    socket: TcpStream,
    /// Its name in the headers of calls.
    pub id: String,
    /// Bytes of the chunked body that are not a whole chunk yet.
    raw: Vec<u8>,
    decoder: recordio::Decoder,
}

impl Stream {
    /// Subscribes; whoever has an id in its description comes back.
    ///
    /// # Errors
    /// When the control plane is not there, or does not lead.
    pub async fn subscribe(host: &str, info: v1::FrameworkInfo) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect(host)
            .await
            .with_context(|| format!("failed to connect to {host}"))?;
        let id = info.id.clone();
        let subscribe = call::Subscribe { framework_info: info, ..call::Subscribe::default() };
        let call = Call { subscribe: Some(subscribe), ..plain(&id, call::Type::Subscribe) };
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
    ///
    /// # Errors
    /// When the stream ends, or says what no Mesos says.
    pub async fn next(&mut self) -> anyhow::Result<Vec<scheduler::Event>> {
        loop {
            let mut used = 0;
            while let Some((chunk, length)) = first_chunk(&self.raw[used..])? {
                self.decoder.push(chunk);
                used += length;
            }
            self.raw.drain(..used);
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

/// The first whole chunk of a chunked body, and how long it is with what is around it.
fn first_chunk(raw: &[u8]) -> anyhow::Result<Option<(&[u8], usize)>> {
    let Some(end) = raw.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
    let size = std::str::from_utf8(&raw[..end])?;
    let size = usize::from_str_radix(size, 16).context("a chunk without a size")?;
    let (begin, whole) = (end + 2, end + 2 + size + 2);
    if raw.len() < whole {
        return Ok(None);
    }
    Ok(Some((&raw[begin..begin + size], whole)))
}

/// A connection that calls are pipelined on; of the answers only refusals are told.
pub struct Calls {
    host: String,
    extra: String,
    writer: OwnedWriteHalf,
    waiting: Vec<u8>,
}

impl Calls {
    /// Connects for calls beside a stream.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn connect(host: &str, stream: &str) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(host).await?;
        socket.set_nodelay(true)?;
        let (reader, writer) = socket.into_split();
        tokio::spawn(read_answers(reader));
        let extra = format!("Mesos-Stream-Id: {stream}\r\n");
        Ok(Self { host: host.to_owned(), extra, writer, waiting: Vec::new() })
    }

    /// Adds a call to those that wait.
    pub fn push(&mut self, call: &Call) {
        self.waiting.extend_from_slice(&request(&self.host, &self.extra, call));
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn flush(&mut self) -> anyhow::Result<()> {
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
    fn an_offer_has_room_for_what_its_scarcest_resource_allows() {
        let offer = |resources: Vec<_>| v1::Offer { resources, ..v1::Offer::default() };
        assert_eq!(tasks_in(&offer(vec![amount("cpus", 0.03), amount("mem", 512.0)])), 3);
        assert_eq!(tasks_in(&offer(vec![amount("cpus", 4.0), amount("mem", 1.9)])), 1);
        assert_eq!(tasks_in(&offer(vec![amount("mem", 8.0)])), 0);
    }

    #[test]
    fn a_chunk_is_taken_when_it_is_whole() {
        assert_eq!(first_chunk(b"5\r\nhe").unwrap(), None);
        let two = b"5\r\nhello\r\n1\r\n";
        assert_eq!(first_chunk(two).unwrap(), Some((&b"hello"[..], 10)));
        assert_eq!(first_chunk(&two[10..]).unwrap(), None);
    }
}
