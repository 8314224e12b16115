//! `tepui run`: the driver of a scheduler that runs one command.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, Response};
use tepui_wire::recordio::Decoder;
use tepui_wire::v1::scheduler::{Call, Event};
use tepui_wire::{decode_json, encode_json};

use crate::args::Run;
use crate::client::{Again, Api, Client};
use crate::fault::{Fault, USAGE_OR_PLACEMENT};
use crate::interrupt::Interrupts;
use crate::run::launcher::{FAILOVER_SECONDS, Job, Launcher, Step};
use crate::run::why::{self, Reasons};
use crate::span;

const PATH: &str = "/api/v1/scheduler";
const JSON: &str = "application/json";
const STREAM_ID: &str = "Mesos-Stream-Id";
/// Without a launch for so long, the reason is told.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);
/// And told again after each such span.
const PATIENCE: Duration = Duration::from_secs(10);
/// The control plane is asked for its reasons no longer than this.
const EXPLAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// The stream is dead when nothing came for five heartbeats of 15 s.
const SILENCE: Duration = Duration::from_secs(75);
const RETRY: Duration = Duration::from_millis(500);
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) async fn run(client: &Client, args: Run) -> anyhow::Result<u8> {
    let timeout = args.timeout;
    let mut driver = Driver {
        client: client.clone(),
        launcher: Launcher::new(job(args)?),
        stream_id: None,
        waiting_since: Instant::now(),
    };
    let mut stream = driver.subscribe().await?;
    let mut interrupts = Interrupts::take()?;
    let mut heard = Instant::now();
    let mut tell_at = heard + FIRST_PATIENCE;
    loop {
        let step = tokio::select! {
            next = tokio::time::timeout(SILENCE.saturating_sub(heard.elapsed()), stream.next())
                => match next {
                Ok(Some(Ok(event))) => {
                    heard = Instant::now();
                    driver.launcher.handle(event)
                }
                Ok(Some(Err(error))) => return Err(error),
                Ok(None) | Err(_) => {
                    stream = driver.come_back(&mut interrupts).await?;
                    heard = Instant::now();
                    continue;
                }
            },
            () = interrupts.next() => driver.launcher.interrupt(),
            () = tokio::time::sleep(tell_at.saturating_duration_since(Instant::now())),
                if driver.launcher.is_waiting() =>
            {
                eprintln!("Waiting: {}", driver.why_waiting().await);
                tell_at = Instant::now() + PATIENCE;
                Vec::new()
            }
            () = tokio::time::sleep(driver.left(timeout)),
                if timeout.is_some() && driver.launcher.is_waiting() =>
            {
                let why = driver.why_waiting().await;
                driver.tear_down().await;
                let limit = span::show(timeout.unwrap_or_default());
                return Err(Fault::new(format!("nothing fitted within {limit}: {why}"))
                    .fix("ask for less, free resources, or wait longer with --timeout")
                    .code(USAGE_OR_PLACEMENT)
                    .into());
            }
        };
        for step in step {
            match step {
                Step::Say(text) => eprintln!("{text}"),
                Step::Call(call) => driver.call(&call).await,
                Step::End(code) => {
                    driver.tear_down().await;
                    return Ok(code);
                }
            }
        }
        if driver.launcher.is_waiting() {
            continue;
        }
        driver.waiting_since = Instant::now();
    }
}

fn job(args: Run) -> anyhow::Result<Job> {
    for (flag, amount) in [("--cpus", args.cpus), ("--mem", args.mem), ("--disk", args.disk)] {
        if !amount.is_finite() || amount < 0.0 {
            return Err(Fault::new(format!("{flag} {amount} is no amount"))
                .fix("give a number that is not negative")
                .code(USAGE_OR_PLACEMENT)
                .into());
        }
    }
    let user = match args.user {
        Some(user) => user,
        None => nix::unistd::User::from_uid(nix::unistd::geteuid())
            .context("failed to look up the name of your user")?
            .map(|user| user.name)
            .ok_or_else(|| Fault::new("your user has no name").fix("name one with --user"))?,
    };
    let kill_grace_nanos = args
        .kill_grace
        .map(|grace| i64::try_from(grace.as_nanos()))
        .transpose()
        .context("--kill-grace is too long")?;
    Ok(Job {
        name: args.name,
        command: args.command,
        cpus: args.cpus,
        mem: args.mem,
        disk: args.disk,
        gpus: f64::from(args.gpus),
        env: args.env,
        role: args.role,
        user,
        kill_grace_nanos,
    })
}

type Events = BoxStream<'static, anyhow::Result<Event>>;

struct Driver {
    client: Client,
    launcher: Launcher,
    stream_id: Option<String>,
    waiting_since: Instant,
}

impl Driver {
    fn left(&self, timeout: Option<Duration>) -> Duration {
        timeout.unwrap_or_default().saturating_sub(self.waiting_since.elapsed())
    }

    /// What the offers lacked, and what the control plane says about those that do not come.
    async fn why_waiting(&self) -> String {
        let mut text = self.launcher.why_waiting();
        let Some(id) = self.launcher.framework_id() else { return text };
        let path = format!("/tepui/v1/explain/frameworks/{id}");
        let asked = async {
            let agents = self.client.agents().await?;
            if !self.launcher.saw_offers() && !agents.iter().any(|agent| agent.active) {
                return Ok(vec!["no agent is registered and active".to_owned()]);
            }
            let reasons: Reasons = self.client.get(Api::Mesos, &path).await?;
            anyhow::Ok(why::lines(&reasons))
        };
        // Without an answer what the offers lacked has to do.
        if let Ok(Ok(lines)) = tokio::time::timeout(EXPLAIN_TIMEOUT, asked).await {
            lines.iter().for_each(|line| text.push_str(&format!("\n  {line}")));
        }
        text
    }

    async fn subscribe(&mut self) -> anyhow::Result<Events> {
        let body = encode_json(&self.launcher.subscribe());
        // Who has an id already becomes no second framework.
        let again = match self.launcher.framework_id() {
            Some(_) => Again::Harmless,
            None => Again::Twice,
        };
        let request = |http: &reqwest::Client, url: &str| {
            let request = http.post(url).header(CONTENT_TYPE, JSON).header(ACCEPT, JSON);
            request.body(body.clone())
        };
        let response = self.client.ask(Api::Mesos, Method::POST, PATH, again, request).await?;
        let id = response.headers().get(STREAM_ID).and_then(|id| id.to_str().ok());
        self.stream_id = id.map(str::to_owned);
        Ok(events(response).boxed())
    }

    /// Subscribes again after the stream broke, for as long as the cluster keeps the framework.
    async fn come_back(&mut self, interrupts: &mut Interrupts) -> anyhow::Result<Events> {
        eprintln!("The connection to the cluster broke, connecting again");
        let deadline = Instant::now() + Duration::from_secs_f64(FAILOVER_SECONDS);
        loop {
            match self.subscribe().await {
                Ok(stream) => return Ok(stream),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = interrupts.next() => {
                        return Err(Fault::new("interrupted while the cluster was not reachable")
                            .fix(format!("the task is killed {FAILOVER_SECONDS} s after the break"))
                            .code(crate::fault::INTERRUPTED)
                            .into());
                    }
                },
            }
        }
    }

    /// Makes a call. What fails here shows on the stream too: as a break, or as an update that
    /// comes again because it was not acknowledged.
    async fn call(&self, call: &Call) {
        if let Err(error) = self.try_call(call).await {
            eprintln!("A call failed, going on: {error:#}");
        }
    }

    async fn try_call(&self, call: &Call) -> anyhow::Result<()> {
        let body = encode_json(call);
        let request = |http: &reqwest::Client, url: &str| {
            let request = http.post(url).timeout(CALL_TIMEOUT).header(CONTENT_TYPE, JSON);
            let request = request.body(body.clone());
            match &self.stream_id {
                Some(id) => request.header(STREAM_ID, id),
                None => request,
            }
        };
        self.client.ask(Api::Mesos, Method::POST, PATH, Again::Twice, request).await?;
        Ok(())
    }

    async fn tear_down(&self) {
        if let Some(call) = self.launcher.teardown() {
            self.call(&call).await;
        }
    }
}

/// The events of a RecordIO stream of JSON (`mesos-http.md` 0.3). Ends when the connection does;
/// bytes that are no events are an error.
fn events(response: Response) -> impl Stream<Item = anyhow::Result<Event>> {
    let body = response.bytes_stream();
    let start = (Box::pin(body), Decoder::default());
    futures_util::stream::try_unfold(start, |(mut body, mut decoder)| async move {
        loop {
            if let Some(record) =
                decoder.next_record().context("failed to read the stream of the cluster")?
            {
                let event = decode_json::<Event>(&record)
                    .context("failed to read an event of the cluster")?;
                return Ok(Some((event, (body, decoder))));
            }
            match body.next().await {
                Some(Ok(chunk)) => decoder.push(&chunk),
                Some(Err(_)) | None => return Ok(None),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::post;
    use futures_util::TryStreamExt;
    use tepui_wire::recordio;

    use super::*;
    use crate::args::Endpoints;

    /// A cluster that answers every call with these bytes.
    async fn fixture(chunks: Vec<Vec<u8>>) -> Client {
        let handler = move || {
            let chunks = chunks.clone();
            async move {
                let items = chunks.into_iter().map(Ok::<_, std::io::Error>);
                ([(STREAM_ID, "s-1")], Body::from_stream(futures_util::stream::iter(items)))
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new().route(PATH, post(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Client::new(&Endpoints::at(&address)).unwrap()
    }

    fn driver(client: Client) -> Driver {
        let args = ["tepui", "run", "--name", "j", "--command", "true", "--user", "u"];
        let args: crate::args::Args = clap::Parser::parse_from(args);
        let crate::args::Verb::Run(args) = args.verb else { panic!("it is `run`") };
        let launcher = Launcher::new(job(args).unwrap());
        Driver { client, launcher, stream_id: None, waiting_since: Instant::now() }
    }

    #[tokio::test]
    async fn events_are_read_wherever_chunks_end() {
        let one = recordio::encode(br#"{"type":"HEARTBEAT"}"#);
        let two = recordio::encode(
            br#"{"type":"SUBSCRIBED","subscribed":{"framework_id":{"value":"f"}}}"#,
        );
        let all = [one, two].concat();
        let (first, rest) = all.split_at(25);
        let mut driver = driver(fixture(vec![first.to_vec(), rest.to_vec()]).await);
        let events: Vec<Event> = driver.subscribe().await.unwrap().try_collect().await.unwrap();
        assert_eq!(events.len(), 2);
        assert_eq!(events[1].subscribed.as_ref().unwrap().framework_id.value, "f");
        assert_eq!(driver.stream_id.as_deref(), Some("s-1"));
    }

    #[tokio::test]
    async fn bytes_that_are_no_events_are_an_error() {
        let mut driver = driver(fixture(vec![b"x\n{}".to_vec()]).await);
        let result: anyhow::Result<Vec<Event>> =
            driver.subscribe().await.unwrap().try_collect().await;
        assert!(result.is_err());
    }
}
