//! `tepui exec`: a command beside a task, as if it were run here (`mesos-http.md` 3.3, sessions).

mod choose;
mod terminal;
mod wire;

use std::io::{Read, Write};
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Body, Method};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::args::Exec;
use crate::client::{Client, refused};
use crate::fault::{FAILED, Fault, INTERRUPTED};

use choose::Target;
use terminal::Raw;
use wire::{Printed, Stream};

const RECORDIO: &str = "application/recordio";
const JSON: &str = "application/json";
const MESSAGE_ACCEPT: &str = "Message-Accept";
const MESSAGE_CONTENT_TYPE: &str = "Message-Content-Type";
/// How often the input shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How long the status may take after the last output.
const STATUS_PATIENCE: Duration = Duration::from_secs(10);
/// How long an agent may take to pass Ctrl-C on.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(3);
const INPUT_BYTES: usize = 8 << 10;
/// Added to the number of the signal that ended a command, as shells do.
const SIGNALLED: i32 = 128;
const SIGINT: i32 = 2;

/// Runs the command; its status is the answer.
pub(crate) async fn run(client: &Client, mut exec: Exec) -> anyhow::Result<u8> {
    if !exec.interactive && !exec.tty && terminal::is_ours() {
        (exec.interactive, exec.tty) = (true, true);
    }
    if exec.tty && !terminal::is_one() {
        return Err(Fault::new("-t needs a terminal, and the standard input is none")
            .fix("leave -t out to run the command without one")
            .code(crate::fault::USAGE_OR_PLACEMENT)
            .into());
    }
    let target = choose::target(client, &exec).await?;
    let session = Session { client, target, id: session_id() };
    session.talk(&exec).await
}

/// Unlike any other one of this host and moment.
fn session_id() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map(|since| since.as_nanos()).unwrap_or_default();
    format!("exec-{:x}-{nanos:x}", std::process::id())
}

/// Whether every key goes to the command, also those that make signals here.
fn passes_keys(exec: &Exec) -> bool {
    exec.interactive && exec.tty
}

struct Session<'a> {
    client: &'a Client,
    target: Target,
    id: String,
}

impl Session<'_> {
    fn container(&self) -> Value {
        json!({"value": self.id, "parent": self.target.container})
    }

    fn url(&self) -> String {
        format!("{}/api/v1", self.target.agent)
    }

    async fn talk(&self, exec: &Exec) -> anyhow::Result<u8> {
        let printed = self.launch(exec).await?;
        let raw = passes_keys(exec).then(Raw::enter).transpose()?;
        let outcome = self.relay(exec, printed).await;
        drop(raw);
        match outcome? {
            Some(code) => Ok(code),
            None => self.status().await,
        }
    }

    async fn launch(&self, exec: &Exec) -> anyhow::Result<Stream> {
        let call = json!({
            "type": "LAUNCH_NESTED_CONTAINER_SESSION",
            "launch_nested_container_session": {
                "container_id": self.container(),
                "command": command(exec),
                "container": {"type": "MESOS", "tty_info": exec.tty.then(|| {
                    json!({"window_size": terminal::size()})
                })},
            },
        });
        let call = without_nulls(call);
        let request = self.client.http().post(self.url()).json(&call);
        let request = request.header(ACCEPT, RECORDIO).header(MESSAGE_ACCEPT, JSON);
        let response = request.send().await.map_err(|error| {
            self.client.agent_unreachable(&self.target.agent, &error, "exec talks to the agent")
        })?;
        let status = response.status();
        if !status.is_success() {
            let text = response.text().await.unwrap_or_default();
            return Err(refused(&Method::POST, &self.url(), status, &text).into());
        }
        if status == reqwest::StatusCode::ACCEPTED {
            return Err(Fault::new("the agent has a session of this name already").into());
        }
        Ok(Stream::new(response.bytes_stream()))
    }

    /// Passes on what comes and goes until the output ends; a code when it was given up before.
    async fn relay(&self, exec: &Exec, mut printed: Stream) -> anyhow::Result<Option<u8>> {
        let (words, said) = mpsc::channel::<Value>(4);
        let mut feeding = pin!(async {
            self.feed(said).await;
            std::future::pending::<()>().await;
        });
        if exec.interactive {
            let words = words.clone();
            std::thread::spawn(move || read_input(&words));
        } else if !exec.tty {
            // Who asks for input is told that there is none, and does not wait for it.
            words.send(wire::input(&[])).await?;
        }
        let mut resized = signal(SignalKind::window_change()).context("failed to take signals")?;
        let mut interrupts = signal(SignalKind::interrupt()).context("failed to take signals")?;
        let mut stops = Stops::take()?;
        let mut interrupted = false;
        loop {
            tokio::select! {
                next = printed.next() => match next? {
                    Some(Printed::Output(data)) => put(&mut std::io::stdout().lock(), &data)?,
                    Some(Printed::Error(data)) => put(&mut std::io::stderr().lock(), &data)?,
                    None => return Ok(None),
                },
                () = &mut feeding => {}
                _ = resized.recv(), if exec.tty => {
                    // Behind what was typed before; when that is much, a later size follows.
                    let _ = words.try_send(wire::resize(&terminal::size()));
                }
                _ = interrupts.recv(), if !passes_keys(exec) => {
                    if interrupted {
                        return Ok(Some(INTERRUPTED));
                    }
                    interrupted = true;
                    self.interrupt().await?;
                }
                code = stops.next() => return Ok(Some(code)),
            }
        }
    }

    /// Sends words to the command for as long as there are any.
    async fn feed(&self, mut said: mpsc::Receiver<Value>) {
        let first = wire::record(&json!({
            "type": "ATTACH_CONTAINER_INPUT",
            "attach_container_input": {"type": "CONTAINER_ID", "container_id": self.container()},
        }));
        let records = futures_util::stream::once(async move { first });
        let rest = futures_util::stream::poll_fn({
            let mut beat = tokio::time::interval(HEARTBEAT);
            move |context| {
                if let std::task::Poll::Ready(word) = said.poll_recv(context) {
                    return std::task::Poll::Ready(word.map(|word| wire::record(&word)));
                }
                beat.poll_tick(context).map(|_| Some(wire::record(&wire::heartbeat())))
            }
        });
        let body = records.chain(rest).map(Ok::<_, std::io::Error>);
        let request = self.client.http().post(self.url()).body(Body::wrap_stream(body));
        let request = request.header(CONTENT_TYPE, RECORDIO).header(MESSAGE_CONTENT_TYPE, JSON);
        // A command that is over takes no input; what it printed tells the rest.
        let _ = request.send().await;
    }

    /// As Ctrl-C does: asks the command to end.
    async fn interrupt(&self) -> anyhow::Result<()> {
        let call = json!({
            "type": "KILL_NESTED_CONTAINER",
            "kill_nested_container": {"container_id": self.container(), "signal": SIGINT},
        });
        let request = self.client.http().post(self.url()).json(&call);
        request.timeout(INTERRUPT_PATIENCE).send().await.map_err(|error| {
            self.client.agent_unreachable(&self.target.agent, &error, "exec talks to the agent")
        })?;
        Ok(())
    }

    /// The status of a command whose output has ended.
    async fn status(&self) -> anyhow::Result<u8> {
        let call = json!({
            "type": "WAIT_NESTED_CONTAINER",
            "wait_nested_container": {"container_id": self.container()},
        });
        let request = self.client.http().post(self.url()).json(&call).timeout(STATUS_PATIENCE);
        let response = request.header(ACCEPT, JSON).send().await;
        let response = response.context("failed to ask for the status of the command")?;
        let status = response.status();
        if !status.is_success() {
            let text = response.text().await.unwrap_or_default();
            return Err(refused(&Method::POST, &self.url(), status, &text).into());
        }
        let answer: Value = response.json().await?;
        let waited = &answer["wait_nested_container"];
        match waited["exit_status"].as_i64() {
            Some(status) => Ok(exit_code(status)),
            None => {
                let why = waited["message"].as_str().unwrap_or("its status is not known");
                eprintln!("error: {why}");
                Ok(FAILED)
            }
        }
    }
}

/// What else ends this process.
struct Stops {
    terminate: Signal,
    hang_up: Signal,
}

impl Stops {
    fn take() -> anyhow::Result<Self> {
        let take = |kind| signal(kind).context("failed to take signals");
        Ok(Self { terminate: take(SignalKind::terminate())?, hang_up: take(SignalKind::hangup())? })
    }

    async fn next(&mut self) -> u8 {
        let number = tokio::select! {
            _ = self.terminate.recv() => 15,
            _ = self.hang_up.recv() => 1,
        };
        u8::try_from(SIGNALLED + number).unwrap_or(FAILED)
    }
}

/// Reads the standard input to its end, and says so. On a thread of its own, which ends with the
/// process.
fn read_input(words: &mpsc::Sender<Value>) {
    let mut chunk = vec![0; INPUT_BYTES];
    loop {
        // An input that breaks has ended.
        let length = std::io::stdin().lock().read(&mut chunk).unwrap_or(0);
        if words.blocking_send(wire::input(&chunk[..length])).is_err() || length == 0 {
            return;
        }
    }
}

fn put(to: &mut impl Write, data: &[u8]) -> std::io::Result<()> {
    to.write_all(data)?;
    to.flush()
}

fn command(exec: &Exec) -> Value {
    let mut variables: Vec<Value> = Vec::new();
    if exec.tty
        && let Ok(kind) = std::env::var("TERM")
    {
        variables.push(json!({"name": "TERM", "value": kind}));
    }
    for (name, value) in &exec.env {
        variables.push(json!({"name": name, "value": value}));
    }
    json!({
        "shell": false,
        "value": exec.command.first(),
        "arguments": exec.command,
        "user": exec.user,
        "environment": {"variables": variables},
    })
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        other => other,
    }
}

/// The code of a raw wait status.
fn exit_code(status: i64) -> u8 {
    let (code, signal) = ((status >> 8) & 0xff, status & 0x7f);
    let code = if signal == 0 { code } else { i64::from(SIGNALLED) + signal };
    u8::try_from(code).unwrap_or(FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_that_of_the_command_or_its_signal() {
        assert_eq!(exit_code(0), 0);
        assert_eq!(exit_code(7 << 8), 7);
        assert_eq!(exit_code(255 << 8), 255);
        assert_eq!(exit_code(9), 137);
    }

    #[test]
    fn what_is_not_given_is_not_sent() {
        let exec = Exec {
            app: "web".into(),
            task: None,
            interactive: false,
            tty: false,
            user: None,
            env: vec![("A".into(), "b=c".into())],
            command: vec!["ls".into(), "-l".into()],
        };
        let sent = without_nulls(command(&exec));
        let environment = json!({"variables": [{"name": "A", "value": "b=c"}]});
        let expected = json!({
            "shell": false, "value": "ls", "arguments": ["ls", "-l"], "environment": environment
        });
        assert_eq!(sent, expected);
    }
}
