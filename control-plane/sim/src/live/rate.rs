//! A framework that launches as fast as it can, over the real scheduler API in protobuf, and
//! measures. Calls are pipelined on a few connections, as a busy scheduler's would be.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tepui_wire::v1;
use tepui_wire::v1::scheduler::{Call, call, event};

use super::framework::{Calls, Stream, acknowledge, decline, launch, plain};

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

fn described() -> v1::FrameworkInfo {
    v1::FrameworkInfo {
        user: "root".into(),
        name: "launch-rate".into(),
        ..v1::FrameworkInfo::default()
    }
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
    let mut stream = Stream::subscribe(&options.mesos, described()).await?;
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

/// Launches `count` tasks from an offer, or declines it for good.
fn answer(
    framework: &Option<v1::FrameworkId>,
    offer: &v1::Offer,
    count: usize,
    launched: &mut HashMap<String, Instant>,
) -> Call {
    if count == 0 {
        return decline(framework, offer);
    }
    let now = Instant::now();
    let first = launched.len();
    let names = (first..first + count).map(|number| format!("task-{number}"));
    launched.extend(names.clone().map(|name| (name, now)));
    launch(framework, offer, names.map(|name| (name, "endless")))
}
