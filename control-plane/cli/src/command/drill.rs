//! `tepui drill …`: what a failure costs, found out on purpose.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use tepui_election::Candidate;

use crate::args::{Drill, Failover};
use crate::client::{Api, Client, refused};
use crate::confirm::confirm;
use crate::fault::{DONE, Fault, USAGE_OR_PLACEMENT};
use crate::output::{self, Cell, Format, Table, Tone};
use crate::span;

const LEADERSHIP: &str = "/tepui/v1/leadership";
const WRITE: &str = "/tepui/v1/drill/write";
/// Between two tries of a write at the same control plane.
const PAUSE: Duration = Duration::from_millis(5);
/// How long one may take to answer a try.
const TRY: Duration = Duration::from_secs(2);
/// How long the leader may take to end once it said that it does.
const END: Duration = Duration::from_secs(10);

/// What a leader says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Leads {
    term: u64,
    leader: Candidate,
    standbys: Vec<Candidate>,
}

#[derive(Debug, Deserialize)]
struct Written {
    term: u64,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
struct Outcome {
    killed: Candidate,
    killed_term: u64,
    /// Nobody when the new leader was gone again before it could be asked.
    leader: Option<Candidate>,
    leader_term: u64,
    standbys: usize,
    seconds_without_leader: f64,
}

pub(crate) async fn run(client: &Client, format: Format, verb: Drill) -> anyhow::Result<u8> {
    let Drill::Failover(asked) = verb;
    let leads: Leads = client.get(Api::Mesos, LEADERSHIP).await?;
    let alive = alive(client, &leads.standbys).await;
    if alive.is_empty() && !asked.force {
        return Err(Fault::new("no other control plane stands by: nobody would lead").fix(
            "start another one on the same store, or give --force where something starts this one \
             again",
        )
        .into());
    }
    let question = format!(
        "This ends the leader at {} (term {}) as kill -9 does; {} would take over. Go on?",
        leads.leader.mesos,
        leads.term,
        if alive.is_empty() { "nobody".to_owned() } else { alive.join(" or ") }
    );
    if !asked.yes && !confirm(&question)? {
        return Err(Fault::new("the leader was left alone")
            .fix("say y, or give --yes where nobody can be asked")
            .code(USAGE_OR_PLACEMENT)
            .into());
    }
    let outcome = fail_over(client, &leads, &asked).await?;
    match format {
        Format::Json | Format::Jsonl => output::print_json(format, &outcome)?,
        Format::Table => {
            output::print_table(&table(&outcome))?;
            output::print(&format!(
                "\n{:.3} s without a leader, until the next write was accepted\n",
                outcome.seconds_without_leader
            ))?;
        }
    }
    Ok(DONE)
}

/// The addresses of standbys that answer: one that is stopped keeps its connection to the leader.
async fn alive(client: &Client, standbys: &[Candidate]) -> Vec<String> {
    let asked = standbys.iter().map(|standby| async move {
        let url = format!("http://{}/health", standby.mesos);
        let answer = client.http().get(url).timeout(TRY).send().await.ok()?;
        answer.status().is_success().then(|| standby.mesos.clone())
    });
    let asked: FuturesUnordered<_> = asked.collect();
    asked.filter_map(std::future::ready).collect().await
}

async fn fail_over(client: &Client, leads: &Leads, asked: &Failover) -> anyhow::Result<Outcome> {
    let ended = end_leader(client, leads, asked.force).await?;
    // The former one too: its supervisor may start it again.
    let bases: BTreeSet<String> = leads
        .standbys
        .iter()
        .chain([&leads.leader])
        .map(|candidate| format!("http://{}", candidate.mesos))
        .collect();
    // Nobody is sent on: a redirect could lead to the one that is gone.
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let tries: FuturesUnordered<_> =
        bases.iter().map(|base| until_written(&http, base, leads.term)).collect();
    let mut tries = Box::pin(tries);
    let (base, term) =
        tokio::time::timeout(asked.timeout, tries.next()).await.ok().flatten().ok_or_else(
            || {
                let limit = span::show(asked.timeout);
                Fault::new(format!("no control plane accepted a write within {limit}"))
                    .fix("look at the control planes' logs, and whether the store answers")
            },
        )?;
    let took = ended.elapsed();
    let leader: Option<Leads> = async {
        let url = format!("{base}{LEADERSHIP}");
        http.get(url).timeout(TRY).send().await.ok()?.json().await.ok()
    }
    .await;
    Ok(Outcome {
        killed: leads.leader.clone(),
        killed_term: leads.term,
        leader: leader.map(|leads| leads.leader),
        leader_term: term,
        standbys: leads.standbys.len(),
        seconds_without_leader: took.as_secs_f64(),
    })
}

/// Ends the leader, and says when it was gone: when its answer broke off.
async fn end_leader(client: &Client, leads: &Leads, force: bool) -> anyhow::Result<Instant> {
    let path = format!("/tepui/v1/drill/failover?term={}&force={force}", leads.term);
    // Straight to it: somebody else in between would live on.
    let url = format!("http://{}{path}", leads.leader.mesos);
    let sent = client.http().post(&url).timeout(END).send().await;
    let answer = sent.with_context(|| {
        Fault::new(format!("failed to reach the leader at {}", leads.leader.mesos))
            .fix("the drill talks to the leader itself: its port must be open to this host")
    })?;
    let status = answer.status();
    if !status.is_success() {
        let text = answer.text().await.unwrap_or_default();
        return Err(refused(&Method::POST, &url, status, &text).into());
    }
    let mut body = answer.bytes_stream();
    loop {
        match body.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) if error.is_timeout() => {
                return Err(Fault::new("the leader said that it ends, and did not").into());
            }
            Some(Err(_)) | None => return Ok(Instant::now()),
        }
    }
}

/// Tries until this control plane takes a write in a term after `former`.
async fn until_written(http: &reqwest::Client, base: &str, former: u64) -> (String, u64) {
    loop {
        let tried = async {
            let answer = http.post(format!("{base}{WRITE}")).timeout(TRY).send().await.ok()?;
            let answer = answer.error_for_status().ok()?;
            answer.json::<Written>().await.ok()
        };
        match tried.await {
            Some(written) if written.term > former => return (base.to_owned(), written.term),
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn table(outcome: &Outcome) -> Table {
    let mut table = Table::new(&["", "TERM", "CONTROL PLANE", "HOST"]);
    let mut row = |what: &str, tone, term: u64, candidate: Option<&Candidate>| {
        let mesos = candidate.map_or("-", |candidate| candidate.mesos.as_str());
        let host = candidate.map_or("-", |candidate| candidate.hostname.as_str());
        table.row([Cell::toned(what, tone), term.to_string().into(), mesos.into(), host.into()]);
    };
    row("killed", Tone::Bad, outcome.killed_term, Some(&outcome.killed));
    row("leads", Tone::Good, outcome.leader_term, outcome.leader.as_ref());
    table
}

#[cfg(test)]
mod tests;
