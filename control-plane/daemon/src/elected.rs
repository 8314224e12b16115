//! From a term to a leader at work: the driver's thread, the allocator's, and what they serve.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use tepui_api::Timings;
use tepui_cluster::RemovalRate;
use tepui_election::Candidate;
use tepui_leader::{Event, Leader};
use tepui_plugin_host::{Board, Live};
use tepui_process::{Clock, Watchdog};
use tepui_standby::Standbys;
use tepui_store::{Embedded, Store, records};
use tepui_types::{Entropy, Role, Span, Term};
use tepui_wire::v1;
use tokio::sync::{broadcast, oneshot, watch};
use tracing::info;

use crate::allocation::Allocation;
use crate::config::Config;
use crate::driver::Driver;
use crate::follow::Followers;
use crate::links::Links;
use crate::plane::MesosPlane;
use crate::probes::Probes;
use crate::reached::Reached;
use crate::recorder::Recorder;
use crate::rest::MarathonApps;
use crate::shadow::{Candidate as Shadow, Watched, opening};
use crate::streams::{Streams, Watchers};
use crate::turn::{Ended, Turn};

/// Events that may wait for a slow reader of `/v2/events` before it is cut
/// (`spec/marathon-behaviour.md` 17).
const EVENT_STREAM_BUFFER: usize = 1024;
/// Shortest pause between two revivals of the apps. Marathon waits 5 s because each one makes
/// Mesos look at every agent; here the allocator looks at what changed, so apps need not wait.
const MIN_REVIVE_INTERVAL: Span = Span::from_millis(200);

/// When the apps ask about their tasks after an election. Marathon waits 15 s; agents are back
/// within one here, and until then no task counts as healthy.
const FIRST_RECONCILIATION: Span = Span::from_secs(1);

/// So many silent agents are given up whatever their share: in a small cluster they are soon half
/// of it.
const FEW_AGENTS: usize = 10;

/// A store that this process leads on, and everything that was durable.
pub struct Opened {
    pub store: Box<dyn Store>,
    pub term: Term,
    pub elected: Event,
}

/// What every leader is made with.
pub struct Maker {
    pub config: Config,
    pub me: Candidate,
    pub reached: Reached,
    pub clock: Clock,
    pub timings: Arc<Timings>,
    pub board: Arc<Board>,
}

/// A leader at work.
pub struct Elected {
    /// Its allocator.
    pub allocation: Allocation,
    /// Its loop.
    pub driver: Driver,
    /// The Mesos endpoints.
    pub mesos: Router,
    /// Marathon's endpoints.
    pub marathon: Router,
    /// Raised when a client wants it to give up leadership.
    pub abdicated: watch::Receiver<bool>,
    /// Why its loop ended.
    pub over: oneshot::Receiver<Ended>,
}

impl Maker {
    /// Starts leading with what was durable.
    ///
    /// # Errors
    /// When a thread cannot be made.
    pub fn lead(&self, opened: Opened, mut entropy: Entropy) -> anyhow::Result<Elected> {
        let Self { config, clock, timings, .. } = self;
        let (clock, timings) = (*clock, timings.clone());
        let Opened { store, term, elected } = opened;
        let (sender, inbox) = channel();
        let (app_events, _) = broadcast::channel(EVENT_STREAM_BUFFER);
        let driver = Driver::new(clock, sender, app_events.clone());
        let for_plans = driver.clone();
        let seed = entropy.next_u64();
        let (followers, shadow) = follow(config, seed, &self.board)?;
        let live = Live::new(Entropy::seeded(seed), self.board.clone());
        let allocation = Allocation::start(
            clock,
            Duration::from_millis(config.allocation_delay_ms),
            live,
            timings.clone(),
            followers,
            move |plan| for_plans.event(tepui_cluster::Event::Planned(plan)),
        )
        .context("failed to start the allocator's thread")?;
        let apps = apps_config(config, &self.me)?;
        let options = crate::rest::options(config, &self.me, &apps);
        let cluster = cluster_config(config, self.reached.mesos(config));
        let leader = Leader::new(cluster, apps, entropy);
        let probes = Probes::new(tokio::runtime::Handle::current(), driver.clone());
        let turn = Turn {
            clock,
            watchdog: Watchdog::of_service_manager(),
            heard: clock.now(),
            leader,
            store,
            term,
            inbox,
            driver: driver.clone(),
            allocation: allocation.clone(),
            timings: timings.clone(),
            probes,
            app_events,
            links: Links::default(),
            streams: Streams::default(),
            watchers: Watchers::default(),
            waiting: HashMap::new(),
            marks: Vec::new(),
            held_back: 0,
            term_above: 0,
            committed: Instant::now(),
        };
        let (ended, over) = oneshot::channel();
        thread::Builder::new()
            .name("driver".into())
            .spawn(move || {
                let outcome = turn.run(elected);
                // The receiver waits until the end of the process.
                let _ = ended.send(outcome);
            })
            .context("failed to start the driver's thread")?;
        let standbys = Standbys::default();
        let plane = MesosPlane {
            driver: driver.clone(),
            allocation: allocation.clone(),
            timings,
            board: self.board.clone(),
            store: store_folder(config),
            shadow,
            standbys: standbys.clone(),
        };
        let drilled = Drilled(driver.clone());
        let mesos = tepui_api::router(plane, facts(config, clock))
            .merge(tepui_standby::leading(&self.me, term, standbys, drilled));
        let (abdicate, abdicated) = watch::channel(false);
        let apps = MarathonApps { driver: driver.clone(), clock, abdicate };
        let marathon = tepui_rest::router(apps, options);
        Ok(Elected { allocation, driver, mesos, marathon, abdicated, over })
    }
}

/// The leader as drills have it.
#[derive(Clone, Debug)]
struct Drilled(Driver);

impl tepui_standby::Leader for Drilled {
    async fn write(&self) -> Result<Term, String> {
        self.0.mark().await.map_err(|error| error.to_string())
    }

    fn die(&self) {
        tepui_process::kill_self();
    }
}

/// Why a leader does not begin that is to record its allocator.
pub fn not_recorded(path: &Path) -> String {
    format!("failed to record the allocator in {}", path.display())
}

/// Those who follow the allocator: who records, and a candidate that decides beside it.
fn follow(
    config: &Config,
    seed: u64,
    board: &Arc<Board>,
) -> anyhow::Result<(Followers, Option<Watched>)> {
    let mut followers = Followers::default();
    if let Some(path) = &config.allocator_record {
        let limit = config.allocator_record_limit_mb << 20;
        let recorder = Recorder::create(path, limit).with_context(|| not_recorded(path))?;
        info!(path = %path.display(), "recording what the allocator is told and decides");
        followers.add("recorder", recorder).context("failed to start the recorder's thread")?;
    }
    let Some(name) = &config.shadow_allocator else { return Ok((followers, None)) };
    let (shadow, watched) = Shadow::new(name, opening(config.shelf.clone(), name, seed, board));
    followers.add("shadow", shadow).context("failed to start the shadow's thread")?;
    Ok((followers, Some(watched)))
}

fn store_folder(config: &Config) -> PathBuf {
    config.state_dir.join("store")
}

/// Opens the store of this host and leads on it.
///
/// # Errors
/// When it cannot be opened or read.
pub fn open_own(
    config: &Config,
    entropy: &mut Entropy,
    timings: &Timings,
) -> anyhow::Result<Opened> {
    let path = store_folder(config);
    std::fs::create_dir_all(&config.state_dir)
        .with_context(|| format!("failed to create {}", config.state_dir.display()))?;
    let store = Embedded::open(&path, entropy.uuid()).context("failed to open the store")?;
    let mut store = store.above(config.term_above);
    let term = store.acquire().context("failed to raise the term")?;
    let begin = Instant::now();
    let (cluster, apps) = records::load_all(&store).context("failed to load the state")?;
    timings.loaded(begin.elapsed());
    info!(term = term.0, agents_and_frameworks = cluster.len(), apps = apps.len(), "state loaded");
    Ok(Opened { store: Box::new(store), term, elected: Event::Elected { term, cluster, apps } })
}

/// What clients are told of this process, which they reach at this address.
fn leader_info(config: &Config, reached: SocketAddr) -> v1::MasterInfo {
    v1::MasterInfo {
        port: u32::from(reached.port()),
        hostname: Some(config.hostname.clone()),
        ip: match reached.ip() {
            IpAddr::V4(ip) => u32::from_ne_bytes(ip.octets()),
            IpAddr::V6(_) => 0,
        },
        pid: Some(format!("master@{reached}")),
        version: Some(tepui_wire::version::MESOS_VERSION.into()),
        address: Some(v1::Address {
            hostname: Some(config.hostname.clone()),
            ip: Some(reached.ip().to_string()),
            port: i32::from(reached.port()),
        }),
        ..v1::MasterInfo::default()
    }
}

fn cluster_config(config: &Config, reached: SocketAddr) -> tepui_cluster::Config {
    tepui_cluster::Config {
        leader: leader_info(config, reached),
        patience: Span::from_secs(config.agent_patience_seconds),
        agent_removal_rate: Some(RemovalRate {
            agents: config.agent_removals_per_minute,
            per: Span::from_secs(60),
        }),
        recovery_agent_removal_limit_percent: config.agent_removal_limit_percent,
        silent_agents_limit_percent: config.agent_removal_limit_percent,
        agent_removal_limit_floor: FEW_AGENTS,
        offer_timeout: config.offer_timeout_seconds.map(Span::from_secs),
        ..tepui_cluster::Config::default()
    }
}

fn apps_config(config: &Config, me: &Candidate) -> anyhow::Result<tepui_apps::Config> {
    let defaults = tepui_apps::Config::default();
    let default_role = Role::parse(&config.marathon_role).context("marathon_role is no role")?;
    Ok(tepui_apps::Config {
        settings: tepui_marathon::Settings { default_role, ..defaults.settings },
        hostname: config.hostname.clone(),
        webui_url: Some(format!("http://{}", me.marathon)),
        min_revive_interval: MIN_REVIVE_INTERVAL,
        reconciliation_delay: FIRST_RECONCILIATION,
        user: config.marathon_user.clone().unwrap_or_default(),
        ..defaults
    })
}

pub(crate) fn facts(config: &Config, clock: Clock) -> tepui_api::Facts {
    let mut flags = vec![
        ("allocator".to_owned(), config.allocator.clone()),
        ("allocation_delay_ms".to_owned(), config.allocation_delay_ms.to_string()),
        ("agent_patience_seconds".to_owned(), config.agent_patience_seconds.to_string()),
        ("port".to_owned(), config.listen.port().to_string()),
        ("state_dir".to_owned(), config.state_dir.display().to_string()),
    ];
    if let Some(seconds) = config.offer_timeout_seconds {
        flags.push(("offer_timeout".to_owned(), format!("{seconds}secs")));
    }
    tepui_api::Facts {
        hostname: config.hostname.clone(),
        port: config.listen.port(),
        cluster: config.cluster.clone(),
        started: clock.now(),
        flags,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    #[test]
    fn clients_are_told_where_they_reach_the_leader_and_not_where_it_listens() {
        let settings = Settings {
            listen: Some("0.0.0.0:5050".parse().unwrap()),
            hostname: Some("one".into()),
            allow_unauthenticated: true,
            ..Settings::default()
        };
        let config = settings.resolve().unwrap();
        let info = leader_info(&config, "10.1.2.3:5050".parse().unwrap());
        let address = info.address.unwrap();
        assert_eq!((address.ip.as_deref(), address.port), (Some("10.1.2.3"), 5050));
        assert_eq!(address.hostname.as_deref(), Some("one"));
        assert_eq!(info.pid.as_deref(), Some("master@10.1.2.3:5050"));
        assert_eq!(info.ip.to_ne_bytes(), [10, 1, 2, 3]);
    }
}
