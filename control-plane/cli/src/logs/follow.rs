//! Following: each stream is read by a loop of its own, and a roster says which there are. Agents
//! and control planes that do not answer are asked again, for as long as somebody looks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::client::Client;
use crate::fault::{DONE, INTERRUPTED};
use crate::interrupt::Interrupts;

use super::feed::{Begin, Feed, Line, Place};
use super::find::{self, Instance, label};
use super::show::{Origin, Show};

/// Between two looks at a file that has nothing new.
const POLL: Duration = Duration::from_millis(300);
/// Between two looks at which instances there are.
const ROSTER: Duration = Duration::from_secs(2);
/// Looks after which an instance that nobody knows any more is taken for ended: a control plane
/// that has just begun knows it when its agent has registered.
const MISSED: u32 = 15;
/// Lines that are taken at a time.
const BATCH: usize = 1_000;
/// Lines and news that wait for the screen.
const WAITING: usize = 4_096;
/// Looks at the files of an ended instance whose agent does not answer.
const LAST_LOOKS: u32 = 20;

/// Whose output is followed.
#[derive(Clone, Debug)]
pub(super) enum Whom {
    /// All instances that the app has and will have.
    App(String),
    /// A task, to its end.
    Task,
}

/// What the loops tell the screen.
#[derive(Debug)]
enum Said {
    Line(Arc<Origin>, Line),
    /// Something about an instance, for people.
    News(String),
    /// The instances that there are now, and those that ended, with their last state.
    Roster(Vec<Instance>, Vec<(String, String)>),
    /// The app was deleted.
    Gone,
    /// A stream is at its end.
    Over(Arc<Origin>, Option<Box<Feed>>),
}

/// What a stream's loop is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Order {
    agent: Option<String>,
    ended: bool,
}

/// Follows from where `feeds` are, and whatever comes, until the end or Ctrl-C.
pub(super) async fn follow(
    client: &Client,
    whom: Whom,
    files: Vec<String>,
    feeds: Vec<(Instance, Origin, Option<Feed>, Begin)>,
    mut show: Show,
) -> anyhow::Result<u8> {
    let (sender, mut said) = mpsc::channel(WAITING);
    let (known, knowing) = watch::channel(Vec::new());
    tokio::spawn(keep_roster(client.clone(), whom.clone(), knowing, sender.clone()));
    let mut screen = Screen { client, files, sender, known, loops: BTreeMap::new() };
    for (instance, origin, feed, begin) in feeds {
        screen.start(&instance, origin, feed.map(Box::new), begin);
    }
    let mut interrupts = Interrupts::take()?;
    loop {
        let next = tokio::select! {
            next = said.recv() => next,
            () = interrupts.next() => return Ok(INTERRUPTED),
        };
        let Some(next) = next else { return Ok(DONE) };
        let over = screen.take(next, &mut show)?;
        if said.is_empty() {
            show.flush()?;
        }
        if over || (matches!(whom, Whom::Task) && screen.is_quiet()) {
            show.flush()?;
            return Ok(DONE);
        }
    }
}

/// The streams that are read.
struct Screen<'a> {
    client: &'a Client,
    files: Vec<String>,
    sender: mpsc::Sender<Said>,
    /// Tells the roster's loop whom to ask for.
    known: watch::Sender<Vec<String>>,
    loops: BTreeMap<(String, String), Stream>,
}

enum Stream {
    Read(watch::Sender<Order>),
    /// At its end; its place is kept for when the instance turns out to be there.
    Over(Option<Box<Feed>>),
}

impl Screen<'_> {
    fn is_quiet(&self) -> bool {
        self.loops.values().all(|stream| matches!(stream, Stream::Over(_)))
    }

    /// Whether everything is over.
    fn take(&mut self, said: Said, show: &mut Show) -> anyhow::Result<bool> {
        match said {
            Said::Line(origin, line) => show.line(&origin, &line)?,
            Said::News(news) => {
                show.flush()?;
                eprintln!("{news}");
            }
            Said::Roster(there, ended) => {
                show.flush()?;
                self.change(&there, &ended);
            }
            Said::Gone => {
                for stream in self.loops.values() {
                    if let Stream::Read(order) = stream {
                        order.send_modify(|order| order.ended = true);
                    }
                }
                return Ok(self.is_quiet());
            }
            Said::Over(origin, feed) => {
                let key = (origin.task.clone(), origin.file.clone());
                self.loops.insert(key, Stream::Over(feed));
                let reads = |stream: &Stream| matches!(stream, Stream::Read(_));
                if !self.loops.iter().any(|((task, _), one)| *task == origin.task && reads(one)) {
                    self.known.send_modify(|known| known.retain(|task| *task != origin.task));
                }
            }
        }
        Ok(false)
    }

    fn change(&mut self, there: &[Instance], ended: &[(String, String)]) {
        for (task, state) in ended {
            let mut was_read = false;
            for ((of, _), stream) in &self.loops {
                if let Stream::Read(order) = stream
                    && of == task
                {
                    was_read |=
                        order.send_if_modified(|order| !std::mem::replace(&mut order.ended, true));
                }
            }
            if was_read {
                let state = state.trim_start_matches("TASK_").to_lowercase();
                eprintln!("{}: ended ({state})", label(task));
            }
        }
        for instance in there {
            let mut is_new = true;
            for file in self.files.clone() {
                let key = (instance.task.clone(), file.clone());
                let order = Order { agent: instance.agent.clone(), ended: false };
                let feed = match self.loops.get_mut(&key) {
                    Some(Stream::Read(orders)) => {
                        is_new = false;
                        orders
                            .send_if_modified(|now| std::mem::replace(now, order.clone()) != order);
                        continue;
                    }
                    Some(Stream::Over(feed)) => {
                        is_new = false;
                        feed.take()
                    }
                    None => None,
                };
                let origin = Origin { task: instance.task.clone(), file };
                let begin = Begin { since: None, tail: None, grep: None };
                self.start(instance, origin, feed, begin);
            }
            if is_new {
                let place = instance.agent.as_deref().unwrap_or("an agent that is not registered");
                eprintln!("{}: started ({} at {place})", label(&instance.task), instance.task);
            }
        }
    }

    fn start(
        &mut self,
        instance: &Instance,
        origin: Origin,
        feed: Option<Box<Feed>>,
        begin: Begin,
    ) {
        let (orders, order) = watch::channel(Order { agent: instance.agent.clone(), ended: false });
        self.loops.insert((origin.task.clone(), origin.file.clone()), Stream::Read(orders));
        self.known.send_if_modified(|known| {
            let is_new = !known.contains(&origin.task);
            if is_new {
                known.push(origin.task.clone());
            }
            is_new
        });
        let reader = Reader {
            client: self.client.clone(),
            talks: self.files.first() == Some(&origin.file),
            origin: Arc::new(origin),
            order,
            feed,
            begin,
            said: self.sender.clone(),
        };
        tokio::spawn(reader.run());
    }
}

/// Reads one stream.
struct Reader {
    client: Client,
    origin: Arc<Origin>,
    order: watch::Receiver<Order>,
    feed: Option<Box<Feed>>,
    begin: Begin,
    said: mpsc::Sender<Said>,
    /// Whether it is the one of its instance that tells of trouble.
    talks: bool,
}

impl Reader {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let order = self.order.borrow_and_update().clone();
            let lines = match self.step(&order).await {
                Ok(lines) => {
                    if failures > 0 {
                        self.tell("its agent answers again").await;
                    }
                    failures = 0;
                    lines
                }
                Err(error) => {
                    if failures == 0 {
                        self.tell(&format!("{error:#}; trying again")).await;
                    }
                    failures += 1;
                    Vec::new()
                }
            };
            let nothing = lines.is_empty();
            for line in lines {
                if self.said.send(Said::Line(Arc::clone(&self.origin), line)).await.is_err() {
                    return;
                }
            }
            if nothing && order.ended && (failures == 0 || failures > LAST_LOOKS) {
                if let Some(line) = self.feed.as_mut().and_then(|feed| feed.rest()) {
                    let _ = self.said.send(Said::Line(Arc::clone(&self.origin), line)).await;
                }
                let _ = self.said.send(Said::Over(self.origin, self.feed)).await;
                return;
            }
            if nothing {
                // Lets go when nobody gives orders any more.
                tokio::select! {
                    () = tokio::time::sleep(POLL) => {}
                    changed = self.order.changed() => if changed.is_err() { return },
                }
            }
        }
    }

    async fn tell(&self, news: &str) {
        if self.talks {
            let news = format!("{}: {news}", label(&self.origin.task));
            let _ = self.said.send(Said::News(news)).await;
        }
    }

    async fn step(&mut self, order: &Order) -> anyhow::Result<Vec<Line>> {
        let Some(agent) = &order.agent else { return Ok(Vec::new()) };
        let feed = match &mut self.feed {
            Some(feed) => feed,
            None => {
                let folder = find::sandbox(&self.client, agent, &self.origin.task).await?;
                let Some(folder) = folder else { return Ok(Vec::new()) };
                let name = self.origin.file.clone();
                let place = Place { agent: agent.clone(), folder, name };
                let feed = Feed::open(&self.client, place, &self.begin).await?;
                self.feed.insert(Box::new(feed))
            }
        };
        feed.place.agent.clone_from(agent);
        let mut lines = Vec::new();
        while let Some(line) = feed.next_old().await? {
            lines.push(line);
            if lines.len() == BATCH {
                return Ok(lines);
            }
        }
        lines.extend(feed.next_new().await?);
        Ok(lines)
    }
}

/// Says which instances there are, again and again.
async fn keep_roster(
    client: Client,
    whom: Whom,
    known: watch::Receiver<Vec<String>>,
    said: mpsc::Sender<Said>,
) {
    let mut missed: BTreeMap<String, u32> = BTreeMap::new();
    let mut failing = false;
    loop {
        tokio::time::sleep(ROSTER).await;
        let asked = known.borrow().clone();
        let news = match look(&client, &whom, &asked, &mut missed).await {
            Ok(news) => {
                if std::mem::take(&mut failing) {
                    let back = "the control plane answers again".to_owned();
                    let _ = said.send(Said::News(back)).await;
                }
                news
            }
            Err(error) if !failing => {
                failing = true;
                Said::News(format!("{error:#}; what agents have is shown, new instances are not"))
            }
            Err(_) => continue,
        };
        if said.send(news).await.is_err() {
            return;
        }
    }
}

async fn look(
    client: &Client,
    whom: &Whom,
    known: &[String],
    missed: &mut BTreeMap<String, u32>,
) -> anyhow::Result<Said> {
    let agents = client.agents().await?;
    let mut there = Vec::new();
    if let Whom::App(id) = whom {
        if !client.apps("").await?.iter().any(|app| app.id == *id) {
            return Ok(Said::Gone);
        }
        there = find::current(&client.app(id).await?, None, &agents)?;
    }
    let mut ended = Vec::new();
    for task in known {
        if there.iter().any(|one| one.task == *task) {
            missed.remove(task);
            continue;
        }
        match find::look_up(client, task).await? {
            Some(found) if found.has_ended() => ended.push((task.clone(), found.state)),
            Some(found) => {
                missed.remove(task);
                if matches!(whom, Whom::Task) {
                    there.push(found.instance(&agents));
                }
            }
            None => {
                let count = missed.entry(task.clone()).or_default();
                *count += 1;
                if *count > MISSED {
                    ended.push((task.clone(), "not known any more".to_owned()));
                }
            }
        }
    }
    Ok(Said::Roster(there, ended))
}
