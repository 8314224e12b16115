//! Frameworks that launch tasks, keep them, and come back to whoever leads next. What happens is
//! said in lines of JSON with the time of the wall clock, so that a script can bring it together
//! with what others saw.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use tepui_wire::v1::scheduler::{Call, Event, call, event};
use tepui_wire::v1::{self, TaskState};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::framework::{Calls, Stream, acknowledge, decline, launch, plain, tasks_in};
use super::story::Story;

/// Between two tries to find the leader.
const PAUSE: Duration = Duration::from_millis(20);
/// Connections for the calls of one framework.
const WAYS: usize = 4;
/// Tasks of all frameworks that are launched and not heard of yet: each brings several events, and
/// agents tell again what is not acknowledged in ten seconds.
const UNDER_WAY: usize = 4000;
/// Longer than any failover.
const FAILOVER_SECONDS: f64 = 3600.0;

/// What is held, and where.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The Mesos addresses of all control planes
    #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:5050")]
    mesos: Vec<String>,
    /// How many frameworks share the tasks evenly
    #[arg(long, default_value_t = 1)]
    frameworks: usize,
    /// How many tasks run and go on
    #[arg(long, default_value_t = 0)]
    running: usize,
    /// How many tasks end before
    #[arg(long, default_value_t = 0)]
    completed: usize,
    /// How many tasks at most from one offer
    #[arg(long, default_value_t = 5)]
    per_offer: usize,
    /// How many agents there are: all of them have to be offered after a change of leader
    #[arg(long)]
    agents: usize,
    /// Give up after so many seconds without all tasks
    #[arg(long, default_value_t = 300)]
    seconds: u64,
}

/// Holds the tasks until the process is told to stop.
///
/// # Errors
/// When the tasks do not come to be in time, or a control plane does not answer as a Mesos would.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let shared = Arc::new(Shared { story: Story::default(), progress: Mutex::default(), options });
    let mut frameworks = JoinSet::new();
    for number in 0..shared.options.frameworks {
        let shared = shared.clone();
        frameworks.spawn(async move { Holder::new(number, shared).run().await });
    }
    let deadline = tokio::time::sleep(Duration::from_secs(shared.options.seconds));
    let mut deadline = std::pin::pin!(deadline);
    let mut stopped = std::pin::pin!(tepui_process::stop_requested());
    let mut is_late = false;
    loop {
        tokio::select! {
            Some(ended) = frameworks.join_next() => ended.context("a framework panicked")??,
            () = &mut deadline, if !is_late => {
                is_late = true;
                if !shared.is_ready() {
                    bail!("not all tasks came to be in time");
                }
            }
            signal = &mut stopped => {
                signal.context("failed to wait for signals")?;
                return Ok(());
            }
        }
    }
}

/// What all frameworks did together.
struct Shared {
    options: Options,
    story: Story,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    ready: usize,
    returned: usize,
    /// Agents that were offered since the last change of leader.
    offered: BTreeSet<String>,
}

impl Shared {
    fn change<T>(&self, by: impl FnOnce(&mut Progress) -> T) -> T {
        // Nothing can be left half done.
        by(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_ready(&self) -> bool {
        self.change(|progress| progress.ready == self.options.frameworks)
    }

    /// One more framework has its tasks.
    fn ready(&self) {
        self.change(|progress| progress.ready += 1);
        if self.is_ready() {
            self.story.tell("ready", self.options.running);
        }
    }

    /// One more framework is back.
    fn returned(&self) {
        let all = self.change(|progress| {
            progress.returned += 1;
            progress.returned.is_multiple_of(self.options.frameworks)
        });
        if all {
            self.story.tell("frameworks back", self.options.frameworks);
        }
    }

    /// These agents were offered after a change of leader.
    fn offered(&self, agents: impl Iterator<Item = String>) {
        let (before, after) = self.change(|progress| {
            let before = progress.offered.len();
            progress.offered.extend(agents);
            let after = progress.offered.len();
            if after >= self.options.agents {
                progress.offered.clear();
            }
            (before, after)
        });
        if before == 0 && after > 0 {
            self.story.tell("first offers", after);
        }
        if after >= self.options.agents {
            self.story.tell("all offered", after);
        }
    }
}

/// Connections for calls. Each answers in turn, so calls that take long go different ways.
struct Ways {
    all: Vec<Calls>,
    next: usize,
}

impl Ways {
    async fn connect(host: &str, stream: &str) -> anyhow::Result<Self> {
        let mut all = Vec::new();
        for _ in 0..WAYS {
            all.push(Calls::connect(host, stream).await?);
        }
        Ok(Self { all, next: 0 })
    }

    fn push(&mut self, call: &Call) {
        self.next = (self.next + 1) % WAYS;
        if let Some(way) = self.all.get_mut(self.next) {
            way.push(call);
        }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        for way in &mut self.all {
            way.flush().await?;
        }
        Ok(())
    }
}

/// One framework.
struct Holder {
    number: usize,
    shared: Arc<Shared>,
    id: Option<v1::FrameworkId>,
    /// Tasks that end, and tasks that stay: to launch yet.
    wanted: [usize; 2],
    launched: usize,
    /// Of these, how many came to where they should.
    settled: usize,
    /// Offers that are not answered yet.
    offers: VecDeque<v1::Offer>,
    /// Tasks that have not come yet to where they should.
    missing: usize,
    is_ready: bool,
}

impl Holder {
    fn new(number: usize, shared: Arc<Shared>) -> Self {
        let Options { frameworks, running, completed, .. } = shared.options;
        let share = |all: usize| all / frameworks + usize::from(number < all % frameworks);
        let wanted = [share(completed), share(running)];
        let missing = wanted.iter().sum();
        Self {
            number,
            wanted,
            shared,
            id: None,
            launched: 0,
            settled: 0,
            offers: VecDeque::new(),
            missing,
            is_ready: false,
        }
    }

    fn describe(&self) -> v1::FrameworkInfo {
        v1::FrameworkInfo {
            user: "root".into(),
            name: format!("holder-{}", self.number),
            id: self.id.clone(),
            checkpoint: Some(true),
            failover_timeout: Some(FAILOVER_SECONDS),
            ..v1::FrameworkInfo::default()
        }
    }

    async fn run(mut self) -> anyhow::Result<()> {
        loop {
            let (host, stream) = self.subscribe().await;
            let Ok(calls) = Ways::connect(&host, &stream.id).await else { continue };
            if self.is_ready {
                self.shared.returned();
            }
            // Its end is the end of the leader.
            let returned = self.is_ready;
            if let Err(error) = self.converse(stream, calls, returned).await
                && !self.is_ready
            {
                return Err(error).context("the control plane left before all tasks were there");
            }
        }
    }

    /// Asks one control plane after the other until one leads.
    async fn subscribe(&self) -> (String, Stream) {
        loop {
            for host in &self.shared.options.mesos {
                if let Ok(stream) = Stream::subscribe(host, self.describe()).await {
                    return (host.clone(), stream);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn converse(
        &mut self,
        mut stream: Stream,
        mut calls: Ways,
        returned: bool,
    ) -> anyhow::Result<()> {
        // Events are read whatever the calls do: who does not keep up loses the stream.
        let (sender, mut events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(events) = stream.next().await {
                if sender.send(events).is_err() {
                    return;
                }
            }
        });
        while let Some(batch) = events.recv().await {
            for event in batch {
                self.take(event, &mut calls, returned)?;
            }
            let most = UNDER_WAY.div_ceil(self.shared.options.frameworks.max(1));
            while self.launched.saturating_sub(self.settled) < most
                && let Some(offer) = self.offers.pop_front()
            {
                let call = self.answer(&offer);
                calls.push(&call);
            }
            if self.missing == 0 && !self.is_ready {
                self.is_ready = true;
                calls.push(&plain(&self.id, call::Type::Suppress));
                self.shared.ready();
            }
            calls.flush().await?;
        }
        bail!("the stream ended");
    }

    fn take(&mut self, event: Event, calls: &mut Ways, returned: bool) -> anyhow::Result<()> {
        match event.r#type() {
            event::Type::Subscribed => {
                self.id = event.subscribed.map(|subscribed| subscribed.framework_id);
            }
            event::Type::Offers => {
                let offers = event.offers.map(|offers| offers.offers).unwrap_or_default();
                if returned {
                    // They are kept: who offered them knows of every task there is.
                    self.shared.offered(offers.into_iter().map(|offer| offer.agent_id.value));
                    return Ok(());
                }
                self.offers.extend(offers);
            }
            event::Type::Update => {
                let Some(status) = event.update.map(|update| update.status) else { return Ok(()) };
                self.note(&status)?;
                calls.push(&acknowledge(&self.id, status));
            }
            event::Type::Error => bail!("the control plane says: {:?}", event.error),
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, status: &v1::TaskStatus) -> anyhow::Result<()> {
        let ends = status.task_id.value.starts_with("done-");
        match (status.state(), ends) {
            (TaskState::TaskRunning, false) | (TaskState::TaskFinished, true) => {
                self.missing = self.missing.saturating_sub(1);
                self.settled += 1;
            }
            (TaskState::TaskRunning | TaskState::TaskStarting, _) => {}
            (state, _) => {
                bail!("{} is {}: {}", status.task_id.value, state.as_str_name(), status.message())
            }
        }
        Ok(())
    }

    /// Launches what is still wanted from an offer, those that end first.
    fn answer(&mut self, offer: &v1::Offer) -> Call {
        let mut tasks = Vec::new();
        let kinds = [("done", "true"), ("held", "endless")];
        let most = self.shared.options.per_offer.min(tasks_in(offer));
        for (left, (name, command)) in self.wanted.iter_mut().zip(kinds) {
            while *left > 0 && tasks.len() < most {
                *left -= 1;
                tasks.push((format!("{name}-{}-{}", self.number, self.launched), command));
                self.launched += 1;
            }
        }
        match tasks.is_empty() {
            true => decline(&self.id, offer),
            false => launch(&self.id, offer, tasks.into_iter()),
        }
    }
}
