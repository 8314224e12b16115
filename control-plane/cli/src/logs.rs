//! Output of tasks, read from the sandboxes at their agents: of all instances of an app, of one, or
//! of a task of any framework; what was written, and what comes.

mod feed;
mod find;
mod follow;
mod marks;
mod show;
mod when;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::Value;

use crate::args::{AppLogs, Logs};
use crate::client::Client;
use crate::command::task;
use crate::fault::{DONE, Fault};
use crate::output::Format;

use feed::{Begin, Feed, Line, Place};
use find::Instance;
use follow::Whom;
use show::{Origin, Show};

pub(crate) use find::executor_containers;
pub(crate) use when::Instant;

/// Lines to begin with, where nothing else is said.
const TAIL: usize = 20;

/// `tepui logs APP[/N]`.
pub(crate) async fn of_app(client: &Client, format: Format, asked: &AppLogs) -> anyhow::Result<u8> {
    let (app, number) = task::instance(client, &asked.app).await?;
    let agents = client.agents().await?;
    if asked.previous {
        let (instance, ended) = find::previous(client, &app, number, &agents).await?;
        let state = ended.state.trim_start_matches("TASK_").to_lowercase();
        eprintln!("{} ended ({state})", ended.id);
        return show_all(client, format, &[instance], &asked.logs).await;
    }
    let instances = find::current(&app, number, &agents)?;
    if asked.logs.follow {
        let whom = match (number, instances.as_slice()) {
            (Some(_), [_]) => Whom::Task,
            _ => Whom::App(app.id.clone()),
        };
        if instances.is_empty() {
            eprintln!("{} has no instance yet: {}", app.id, find::why_none(client, &app).await);
        }
        return follow_all(client, format, whom, instances, &asked.logs).await;
    }
    if instances.is_empty() {
        return Err(find::none(client, &app).await.into());
    }
    show_all(client, format, &instances, &asked.logs).await
}

/// `tepui task logs TASK`.
pub(crate) async fn of_task(
    client: &Client,
    format: Format,
    given: &str,
    logs: &Logs,
) -> anyhow::Result<u8> {
    let agents = client.agents().await?;
    let instance = find::task(client, given, &agents).await?;
    if logs.follow {
        return follow_all(client, format, Whom::Task, vec![instance], logs).await;
    }
    show_all(client, format, &[instance], logs).await
}

fn begin(logs: &Logs) -> Begin {
    let tail = logs.tail.or_else(|| logs.since.is_none().then_some(TAIL));
    Begin { since: logs.since, tail, grep: logs.grep.clone() }
}

/// Prints what there is.
async fn show_all(
    client: &Client,
    format: Format,
    instances: &[Instance],
    logs: &Logs,
) -> anyhow::Result<u8> {
    let mut opened = Vec::new();
    let mut last_error = None;
    for stream in open_all(client, instances, logs).await {
        match stream.feed {
            Ok(feed) => opened.push((stream.origin, feed)),
            Err(error) => {
                if let Some(former) = last_error.replace((stream.origin.task, error)) {
                    tell_left_out(&former);
                }
            }
        }
    }
    if let Some(error) = last_error {
        if opened.is_empty() {
            return Err(error.1);
        }
        tell_left_out(&error);
    }
    tell_inexact(&opened, logs);
    let mut show = Show::new(format, instances.len() > 1, logs.times, logs.grep.clone());
    merge(&mut opened, &mut show).await?;
    for (origin, feed) in &mut opened {
        if let Some(line) = feed.rest() {
            show.line(origin, &line)?;
        }
    }
    show.flush()?;
    Ok(DONE)
}

async fn follow_all(
    client: &Client,
    format: Format,
    whom: Whom,
    instances: Vec<Instance>,
    logs: &Logs,
) -> anyhow::Result<u8> {
    let labels = matches!(whom, Whom::App(_));
    let mut show = Show::new(format, labels, logs.times, logs.grep.clone());
    let (mut opened, mut waiting) = (Vec::new(), Vec::new());
    for stream in open_all(client, &instances, logs).await {
        match stream.feed {
            Ok(feed) => opened.push((stream.origin, feed)),
            // The one who reads it says why, and goes on trying.
            Err(_) => waiting.push(stream.origin),
        }
    }
    tell_inexact(&opened, logs);
    merge(&mut opened, &mut show).await?;
    show.flush()?;
    let all = opened.into_iter().map(|(origin, feed)| (origin, Some(feed)));
    let all = all.chain(waiting.into_iter().map(|origin| (origin, None)));
    let feeds = all.filter_map(|(origin, feed)| {
        let instance = instances.iter().find(|one| one.task == origin.task)?.clone();
        Some((instance, origin, feed, begin(logs)))
    });
    let files = logs.files().iter().map(|file| (*file).to_owned()).collect();
    follow::follow(client, whom, files, feeds.collect(), show).await
}

fn tell_left_out((task, error): &(String, anyhow::Error)) {
    eprintln!("{}: left out: {error:#}", find::label(task));
}

/// Says where --since could not be answered by recorded times.
fn tell_inexact(opened: &[(Origin, Feed)], logs: &Logs) {
    for (origin, feed) in opened {
        if logs.since.is_some() && feed.lacks_times() {
            eprintln!(
                "{}: no times are recorded for {}; it is shown whole if it was written to since",
                find::label(&origin.task),
                origin.file
            );
        }
    }
}

/// A stream, open at its beginning or not.
struct Opened {
    origin: Origin,
    feed: anyhow::Result<Feed>,
}

/// Opens every stream; agents are asked once each, all at the same time.
async fn open_all(client: &Client, instances: &[Instance], logs: &Logs) -> Vec<Opened> {
    let mut urls: Vec<&str> = instances.iter().filter_map(|one| one.agent.as_deref()).collect();
    urls.sort_unstable();
    urls.dedup();
    let states = urls.into_iter().map(async |url| {
        let state: anyhow::Result<Value> = client.get_from_agent(url, "/state", &[]).await;
        // Told for each instance that is there.
        (url, state.map_err(std::sync::Arc::new))
    });
    let states: BTreeMap<&str, _> = join_all(states).await.into_iter().collect();
    let folder = |instance: &Instance| -> anyhow::Result<(String, String)> {
        let Some(agent) = &instance.agent else {
            return Err(Fault::new(format!("the agent of '{}' is not registered", instance.task))
                .fix("`tepui agent list` shows those that are; it may come back")
                .into());
        };
        let state = match states.get(agent.as_str()) {
            Some(Ok(state)) => state,
            Some(Err(error)) => return Err(again(error)),
            None => return Err(Fault::new(format!("the agent at {agent} was not asked")).into()),
        };
        let folder = find::sandbox_in(state, &instance.task).ok_or_else(|| {
            let what = format!("the agent at {agent} has no sandbox of '{}'", instance.task);
            Fault::new(what).fix(
                "a task that is being started has none yet, and those of ended tasks are removed \
                 after a while",
            )
        })?;
        Ok((agent.clone(), folder))
    };
    let begin = begin(logs);
    let streams = instances
        .iter()
        .flat_map(|instance| logs.files().into_iter().map(move |file| (instance, file.to_owned())));
    let opening = streams.map(async |(instance, name)| {
        let origin = Origin { task: instance.task.clone(), file: name.clone() };
        let feed = match folder(instance) {
            Ok((agent, folder)) => Feed::open(client, Place { agent, folder, name }, &begin).await,
            Err(error) => Err(error),
        };
        Opened { origin, feed }
    });
    join_all(opening).await
}

/// The same error once more.
fn again(error: &anyhow::Error) -> anyhow::Error {
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    let fault = Fault::new(error.to_string())
        .fix("logs are read from the agent itself: its port must be open to this host");
    match causes.is_empty() {
        true => fault.into(),
        false => anyhow::Error::msg(causes.join(": ")).context(fault),
    }
}

/// Shows the whole lines that are there, in the order of their times as far as they are known.
async fn merge(feeds: &mut [(Origin, Feed)], show: &mut Show) -> anyhow::Result<()> {
    let mut heads: Vec<Option<Line>> = Vec::new();
    for (origin, feed) in feeds.iter_mut() {
        heads.push(next(origin, feed).await);
    }
    loop {
        let first =
            heads.iter().enumerate().filter_map(|(at, head)| Some((head.as_ref()?.time, at)));
        let Some((_, at)) = first.min() else { return Ok(()) };
        let (origin, feed) = &mut feeds[at];
        let line = std::mem::replace(&mut heads[at], next(origin, feed).await);
        if let Some(line) = line {
            show.line(origin, &line)?;
        }
    }
}

/// The next line of the history; what cannot be read has ended.
async fn next(origin: &Origin, feed: &mut Feed) -> Option<Line> {
    match feed.next_old().await {
        Ok(line) => line,
        Err(error) => {
            eprintln!(
                "{}: {} is not shown further: {error:#}",
                find::label(&origin.task),
                origin.file
            );
            None
        }
    }
}
