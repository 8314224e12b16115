//! From a configuration to a serving process, and back down.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use axum::Router;
use sd_notify::NotifyState;
use tepui_api::Timings;
use tepui_leader::{Event, Leader};
use tepui_process::{Clock, Patience, notify, seed, serve_http, stop_requested};
use tepui_store::{Embedded, Store, records};
use tepui_types::{Entropy, Role, Span, Term};
use tepui_wire::v1;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, oneshot, watch};
use tracing::{error, info};

use crate::allocation::Allocation;
use crate::config::Config;
use crate::driver::Driver;
use crate::grpc;
use crate::links::Links;
use crate::plane::MesosPlane;
use crate::probes::Probes;
use crate::rest::MarathonApps;
use crate::streams::{Streams, Watchers};
use crate::turn::{Ended, Turn};

/// Events that may wait for a slow reader of `/v2/events` before it is cut
/// (`spec/marathon-behaviour.md` 17).
const EVENT_STREAM_BUFFER: usize = 1024;
/// How long open requests may take to end once the process stops.
const DRAIN: Duration = Duration::from_secs(2);
/// From a client's request to give up leadership to doing so (`spec/marathon-api.md` 8).
const ABDICATION_DELAY: Duration = Duration::from_millis(500);

/// Shortest pause between two revivals of the apps. Marathon waits 5 s because each one makes
/// Mesos look at every agent; here the allocator looks at what changed, so apps need not wait.
const MIN_REVIVE_INTERVAL: Span = Span::from_millis(200);

/// When the apps ask about their tasks after an election. Marathon waits 15 s; agents are back
/// within one here, and until then no task counts as healthy.
const FIRST_RECONCILIATION: Span = Span::from_secs(1);

/// Serves until asked to stop or unable to go on.
///
/// # Errors
/// When it cannot start: an address is taken, the state cannot be read.
pub fn serve(config: Config) -> anyhow::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let ended = runtime.block_on(run(config));
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

struct Listeners {
    mesos: TcpListener,
    marathon: TcpListener,
    agents: TcpListener,
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("failed to listen on {key} = {address}"))
}

async fn run(config: Config) -> anyhow::Result<Ended> {
    let clock = Clock::start();
    let mut entropy = Entropy::seeded(seed().context("failed to read /dev/urandom")?);
    let listeners = Listeners {
        mesos: bind("listen", config.listen).await?,
        marathon: bind("marathon_listen", config.marathon_listen).await?,
        agents: bind("agent_listen", config.agent_listen).await?,
    };
    let timings = Arc::new(Timings::new().context("failed to make the metrics")?);
    let (store, term, elected) = open_store(&config, &mut entropy, &timings)?;
    let (sender, inbox) = channel();
    let (app_events, _) = broadcast::channel(EVENT_STREAM_BUFFER);
    let driver = Driver::new(sender, app_events.clone());
    let for_plans = driver.clone();
    let allocation = Allocation::start(
        clock,
        Duration::from_millis(config.allocation_delay_ms),
        entropy.next_u64(),
        timings.clone(),
        move |plan| for_plans.event(tepui_cluster::Event::Planned(plan)),
    )
    .context("failed to start the allocator's thread")?;
    let apps = apps_config(&config)?;
    let options = crate::rest::options(&config, &apps);
    let leader = Leader::new(cluster_config(&config), apps, entropy);
    let probes = Probes::new(tokio::runtime::Handle::current(), driver.clone());
    let turn = Turn {
        clock,
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
    let plane =
        MesosPlane { driver: driver.clone(), allocation, timings, store: store_folder(&config) };
    let mesos = tepui_api::router(plane, facts(&config, clock));
    let (abdicate, abdicated) = watch::channel(false);
    let apps = MarathonApps { driver: driver.clone(), clock, abdicate };
    let marathon = tepui_rest::router(apps, options);
    let servers = Servers { mesos, marathon, listeners };
    serve_until(&config, driver, servers, abdicated, over).await
}

struct Servers {
    mesos: Router,
    marathon: Router,
    listeners: Listeners,
}

type Opened = (Box<dyn Store>, Term, Event);

fn store_folder(config: &Config) -> PathBuf {
    config.state_dir.join("store")
}

fn open_store(config: &Config, entropy: &mut Entropy, timings: &Timings) -> anyhow::Result<Opened> {
    let path = store_folder(config);
    std::fs::create_dir_all(&config.state_dir)
        .with_context(|| format!("failed to create {}", config.state_dir.display()))?;
    let mut store = Embedded::open(&path, entropy.uuid()).context("failed to open the store")?;
    let term = store.acquire().context("failed to raise the term")?;
    let begin = Instant::now();
    let (cluster, apps) = records::load_all(&store).context("failed to load the state")?;
    timings.loaded(begin.elapsed());
    info!(term = term.0, agents_and_frameworks = cluster.len(), apps = apps.len(), "state loaded");
    Ok((Box::new(store), term, Event::Elected { term, cluster, apps }))
}

fn cluster_config(config: &Config) -> tepui_cluster::Config {
    let port = u32::from(config.listen.port());
    tepui_cluster::Config {
        leader: v1::MasterInfo {
            port,
            hostname: Some(config.hostname.clone()),
            ip: match config.listen.ip() {
                std::net::IpAddr::V4(ip) => u32::from_ne_bytes(ip.octets()),
                std::net::IpAddr::V6(_) => 0,
            },
            pid: Some(format!("master@{}", config.listen)),
            version: Some(tepui_api::MESOS_VERSION.into()),
            address: Some(v1::Address {
                hostname: Some(config.hostname.clone()),
                ip: Some(config.listen.ip().to_string()),
                port: i32::from(config.listen.port()),
            }),
            ..v1::MasterInfo::default()
        },
        patience: Span::from_secs(config.agent_patience_seconds),
        offer_timeout: config.offer_timeout_seconds.map(Span::from_secs),
        ..tepui_cluster::Config::default()
    }
}

fn apps_config(config: &Config) -> anyhow::Result<tepui_apps::Config> {
    let defaults = tepui_apps::Config::default();
    let default_role = Role::parse(&config.marathon_role).context("marathon_role is no role")?;
    Ok(tepui_apps::Config {
        settings: tepui_marathon::Settings { default_role, ..defaults.settings },
        hostname: config.hostname.clone(),
        webui_url: Some(format!("http://{}", config.marathon_listen)),
        min_revive_interval: MIN_REVIVE_INTERVAL,
        reconciliation_delay: FIRST_RECONCILIATION,
        user: config.marathon_user.clone().unwrap_or_default(),
        ..defaults
    })
}

async fn serve_until(
    config: &Config,
    driver: Driver,
    servers: Servers,
    mut abdicated: watch::Receiver<bool>,
    mut over: oneshot::Receiver<Ended>,
) -> anyhow::Result<Ended> {
    let (stop, stopped) = watch::channel(false);
    let mut agents_stop = stopped.clone();
    let until = async move {
        // The sender outlives every server.
        let _ = agents_stop.wait_for(|stop| *stop).await;
    };
    let Servers { mesos, marathon, listeners } = servers;
    let patience = Patience::default();
    let mesos = serve_http(listeners.mesos, mesos, patience, stopped.clone());
    let marathon = serve_http(listeners.marathon, marathon, patience, stopped);
    let agents = grpc::serve(driver.clone(), listeners.agents, until);
    let servers = [
        tokio::spawn(mesos),
        tokio::spawn(marathon),
        tokio::spawn(async move {
            if let Err(problem) = agents.await {
                error!(error = &problem as &dyn std::error::Error, "agents are not served");
            }
        }),
    ];
    info!(
        mesos = %config.listen, marathon = %config.marathon_listen, agents = %config.agent_listen,
        "control plane serves"
    );
    notify(NotifyState::Ready);
    let ended = tokio::select! {
        signal = stop_requested() => {
            info!(signal = signal.context("failed to wait for signals")?, "stopping");
            notify(NotifyState::Stopping);
            driver.stop().await;
            Ended::Stopped
        }
        _ = abdicated.wait_for(|wanted| *wanted) => {
            info!("leadership given up on a client's request, stopping");
            tokio::time::sleep(ABDICATION_DELAY).await;
            driver.stop().await;
            Ended::Abdicated
        }
        ended = &mut over => ended.map_err(|_| anyhow!("the driver's thread is gone"))?,
    };
    if let Ended::Store(problem) = &ended {
        error!(error = problem as &dyn std::error::Error, "store failed, the process ends");
    }
    if let Ended::Halted(halt) = &ended {
        error!(%halt, "the apps cannot go on, the process ends");
    }
    stop.send_replace(true);
    let drained = async {
        for server in servers {
            // Whatever a server says now, the process ends.
            let _ = server.await;
        }
    };
    let _ = tokio::time::timeout(DRAIN, drained).await;
    Ok(ended)
}

fn facts(config: &Config, clock: Clock) -> tepui_api::Facts {
    let mut flags = vec![
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
