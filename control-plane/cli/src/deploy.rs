//! Waiting for a deployment: progress on stderr, the reason when it stalls, the verdict at the end.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::args::Change;
use crate::client::{Again, Api, Client};
use crate::explain;
use crate::fault::{DONE, FAILED, Fault, INTERRUPTED, USAGE_OR_PLACEMENT};
use crate::interrupt::Interrupts;
use crate::model::{App, Deployment};
use crate::output::{self, Format};
use crate::progress::{Row, Stall};
use crate::pulling::pulling;
use crate::span;

const POLL: Duration = Duration::from_millis(400);
/// Polls without the deployment after which its fate is read from the apps: the event that tells
/// it is on its way, if there is a stream.
const POLLS_WITHOUT: u32 = 4;
/// The same when another control plane leads since the deployment was begun.
const POLLS_AFTER_FAILOVER: u32 = 25;
/// The pause before the event stream is made anew.
const STREAM_PAUSE: Duration = Duration::from_millis(300);

/// What is told of a deployment's end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ended {
    deployment: String,
    failed: Option<String>,
}

/// Listens from before the change is made, so that no end is missed.
#[derive(Debug)]
pub(crate) struct Watch {
    client: Client,
    format: Format,
    change: Change,
    ends: mpsc::UnboundedReceiver<Ended>,
}

impl Watch {
    /// Begins to listen, unless the caller will not wait.
    pub(crate) async fn begin(client: &Client, format: Format, change: Change) -> Self {
        let (sender, ends) = mpsc::unbounded_channel();
        if !change.detach {
            // Without the stream the end is read from the list of deployments.
            if let Some(response) = subscribe(client).await {
                tokio::spawn(keep_reading(client.clone(), response, sender));
            }
        }
        Self { client: client.clone(), format, change, ends }
    }

    /// Prints the API's answer to the change for programs, then waits as [`Watch::finish`] does.
    pub(crate) async fn answered(
        self,
        answer: &Value,
        deployment: &str,
        apps: &[String],
    ) -> anyhow::Result<u8> {
        if self.format.is_json() {
            output::print_json(self.format, answer)?;
        }
        self.finish(deployment, apps).await
    }

    /// Waits for the end of a deployment of these apps. `Ok` is the exit code.
    pub(crate) async fn finish(mut self, deployment: &str, apps: &[String]) -> anyhow::Result<u8> {
        if self.change.detach {
            if self.format == Format::Table {
                output::print(&format!("{deployment}\n"))?;
            }
            return Ok(DONE);
        }
        let mut screen = Screen::new();
        let mut stall = Stall::new(Instant::now());
        let deadline = self.change.timeout.map(|timeout| Instant::now() + timeout);
        let mut without = 0;
        let mut why = None;
        let moves = self.moves();
        let mut interrupts = Interrupts::take()?;
        loop {
            let (rows, running) = self.look(deployment, apps).await?;
            screen.show(&rows);
            if let Some(ended) = self.take_end(deployment) {
                return screen.end(deployment, &rows, ended.failed);
            }
            without = if running { 0 } else { without + 1 };
            let missed = !rows.iter().all(Row::is_there);
            // A new leader knows tasks when their agents have registered.
            let patience =
                if missed && self.moves() > moves { POLLS_AFTER_FAILOVER } else { POLLS_WITHOUT };
            if without >= patience {
                return screen.end(deployment, &rows, missed.then(String::new));
            }
            if stall.observe(Instant::now(), &rows) {
                why = self.reason(apps).await;
                screen.say(&match &why {
                    Some((app, reason, _)) => format!("waiting: {app} {reason}"),
                    None => "waiting: nothing changed for 10 s".to_owned(),
                });
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                if why.is_none() {
                    why = self.reason(apps).await;
                }
                return Err(self.too_late(deployment, why).into());
            }
            tokio::select! {
                Some(ended) = self.ends.recv() => {
                    if ended.deployment == deployment {
                        let (rows, _) = self.look(deployment, apps).await?;
                        screen.show(&rows);
                        return screen.end(deployment, &rows, ended.failed);
                    }
                }
                () = tokio::time::sleep(POLL) => {}
                () = interrupts.next() => {
                    screen.say(&format!(
                        "deployment {deployment} goes on; `tepui deployment cancel` undoes it"
                    ));
                    return Ok(INTERRUPTED);
                }
            }
        }
    }

    /// How often other control planes had to be asked.
    fn moves(&self) -> u64 {
        self.client.places(Api::Marathon).moves()
    }

    fn take_end(&mut self, deployment: &str) -> Option<Ended> {
        while let Ok(ended) = self.ends.try_recv() {
            if ended.deployment == deployment {
                return Some(ended);
            }
        }
        None
    }

    /// The rows of the apps, and whether the deployment is still listed.
    async fn look(&self, deployment: &str, apps: &[String]) -> anyhow::Result<(Vec<Row>, bool)> {
        let running: Vec<Deployment> = self.client.get(Api::Marathon, "/v2/deployments").await?;
        let found = running.iter().find(|running| running.id == deployment);
        let all = self.client.apps("").await?;
        let mut ids = apps.to_vec();
        for id in found.into_iter().flat_map(|found| &found.affected_apps) {
            if !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        let rows = ids.iter().map(|id| Row::new(id, all.iter().find(|app| app.id == *id), found));
        Ok((rows.collect(), found.is_some()))
    }

    /// Why the first of the apps that waits does so, and whether nothing fits.
    async fn reason(&self, apps: &[String]) -> Option<(String, String, bool)> {
        let queue = self.client.queue().await.ok()?;
        let agents = self.client.agents().await.ok();
        let all: Vec<App> = self.client.apps("").await.ok()?;
        let waiting = queue.queue.iter().find_map(|item| {
            let id = &item.app.as_ref()?.id;
            let app = all.iter().find(|app| app.id == *id && apps.contains(id))?;
            let why = explain::headline(app, item, agents.as_deref());
            Some((id.clone(), why, explain::is_placement(item)))
        });
        if waiting.is_some() {
            return waiting;
        }
        // Nothing waits for an offer: what was started may wait for its image.
        for app in all.iter().filter(|app| app.tasks_staged > 0 && apps.contains(&app.id)) {
            let app = self.client.app(&app.id).await.ok()?;
            let pulls = pulling(&self.client, &app, agents.as_deref().unwrap_or_default()).await;
            if let Some(sentence) = pulls.into_values().next() {
                return Some((app.id, format!("is {sentence}"), false));
            }
        }
        None
    }

    fn too_late(&self, deployment: &str, why: Option<(String, String, bool)>) -> Fault {
        let limit = span::show(self.change.timeout.unwrap_or_default());
        let placement = why.as_ref().is_some_and(|(_, _, placement)| *placement);
        let reason = why.map(|(app, why, _)| format!(": {app} {why}")).unwrap_or_default();
        Fault::new(format!("deployment {deployment} did not end within {limit}{reason}"))
            .fix(format!("it goes on; `tepui deployment cancel {deployment}` undoes it"))
            .code(if placement { USAGE_OR_PLACEMENT } else { FAILED })
    }
}

async fn subscribe(client: &Client) -> Option<reqwest::Response> {
    let path = "/v2/events?event_type=deployment_success&event_type=deployment_failed";
    let accept = |http: &reqwest::Client, url: &str| {
        http.get(url).header(reqwest::header::ACCEPT, "text/event-stream")
    };
    client.ask(Api::Marathon, reqwest::Method::GET, path, Again::Harmless, accept).await.ok()
}

/// Reads ends from one stream after the other, for as long as somebody wants them.
async fn keep_reading(
    client: Client,
    mut response: reqwest::Response,
    ends: mpsc::UnboundedSender<Ended>,
) {
    loop {
        tokio::select! {
            () = read_ends(response, &ends) => {}
            () = ends.closed() => return,
        }
        // What ended meanwhile is read from the list of deployments.
        tokio::time::sleep(STREAM_PAUSE).await;
        let Some(next) = subscribe(&client).await else { return };
        response = next;
    }
}

async fn read_ends(response: reqwest::Response, ends: &mpsc::UnboundedSender<Ended>) {
    let mut body = response.bytes_stream();
    let mut pending = Vec::new();
    while let Some(Ok(chunk)) = body.next().await {
        pending.extend_from_slice(&chunk);
        while let Some(at) = pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=at).collect();
            if let Some(ended) = parse_end(&line)
                && ends.send(ended).is_err()
            {
                return;
            }
        }
    }
}

/// Reads a `data:` line of the event stream.
fn parse_end(line: &[u8]) -> Option<Ended> {
    let data = line.strip_prefix(b"data:")?;
    let event: Value = serde_json::from_slice(data).ok()?;
    let text = |name: &str| event.get(name).and_then(Value::as_str);
    let failed = match text("eventType")? {
        "deployment_success" => None,
        "deployment_failed" => Some(text("reason").unwrap_or_default().to_owned()),
        _ => return None,
    };
    Some(Ended { deployment: text("id")?.to_owned(), failed })
}

/// Rows that move on a terminal, lines elsewhere.
struct Screen {
    bars: Option<MultiProgress>,
    rows: Vec<(Row, Option<ProgressBar>)>,
}

impl Screen {
    fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, rows: Vec::new() }
    }

    fn show(&mut self, rows: &[Row]) {
        for row in rows {
            let at = self.rows.iter().position(|(shown, _)| shown.app == row.app);
            let at = at.unwrap_or_else(|| {
                let bar = self.bars.as_ref().map(|bars| bars.add(new_bar(&row.app)));
                let unseen = Row { running: u32::MAX, ..row.clone() };
                self.rows.push((unseen, bar));
                self.rows.len() - 1
            });
            let (shown, bar) = &mut self.rows[at];
            if shown == row {
                continue;
            }
            *shown = row.clone();
            match bar {
                Some(bar) => {
                    bar.set_length(u64::from(row.target.max(1)));
                    let done =
                        if row.target == 0 { u32::from(row.running == 0) } else { row.running };
                    bar.set_position(u64::from(done));
                    bar.set_message(row.text());
                }
                None => eprintln!("{}  {}", row.app, row.text()),
            }
        }
    }

    fn say(&self, text: &str) {
        match &self.bars {
            // Nothing is lost when the terminal is gone.
            Some(bars) => drop(bars.println(text)),
            None => eprintln!("{text}"),
        }
    }

    fn end(self, deployment: &str, rows: &[Row], failed: Option<String>) -> anyhow::Result<u8> {
        for (_, bar) in &self.rows {
            if let Some(bar) = bar {
                bar.abandon();
            }
        }
        let Some(reason) = failed else { return Ok(DONE) };
        let missing: Vec<String> = rows
            .iter()
            .filter(|row| !row.is_there())
            .map(|row| format!("{} has {}", row.app, row.text()))
            .collect();
        let because = [reason, missing.join(", ")];
        let because: Vec<String> = because.into_iter().filter(|part| !part.is_empty()).collect();
        let because =
            if because.is_empty() { String::new() } else { format!(": {}", because.join("; ")) };
        Err(Fault::new(format!("deployment {deployment} was cancelled or replaced{because}"))
            .fix("`tepui deployment list` shows what is under way, `tepui explain APP` tells why")
            .into())
    }
}

fn new_bar(app: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix}  [{bar:20}]  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::new(1).with_style(style).with_prefix(app.to_owned())
}

#[cfg(test)]
mod tests;
