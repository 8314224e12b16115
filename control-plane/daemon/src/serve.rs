//! From a configuration to a serving process, and back down.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router;
use sd_notify::NotifyState;
use tepui_api::Timings;
use tepui_election::{Candidate, Leadership};
use tepui_plugin_host::Board;
use tepui_process::{
    Clock, Hangups, OwnNames, Patience, notify, seed, serve_http, stop_requested, terminated,
    watch_certificates,
};
use tepui_standby::{Front, Standby};
use tepui_store::StoreError;
use tepui_types::{Entropy, Uuid};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::Configured;
use crate::config::Config;
use crate::driver::Driver;
use crate::elected::{Elected, Maker, Opened, facts, not_recorded, open_own};
use crate::grpc::{self, Gate};
use crate::plugins::Plugins;
use crate::reached::Reached;
use crate::recorder::Recorder;
use crate::standing::Standing;
use crate::told;
use crate::turn::Ended;

/// How long open requests may take to end once the process stops.
const DRAIN: Duration = Duration::from_secs(2);
/// How long the store may take for what is under way. A process that waits for room would not end
/// before its service manager kills it.
const LAST_WRITES: Duration = Duration::from_secs(10);
/// From a client's request to give up leadership to doing so (`spec/marathon-api.md` 8).
const ABDICATION_DELAY: Duration = Duration::from_millis(500);

/// Serves until asked to stop or unable to go on.
///
/// # Errors
/// When it cannot start: an address is taken, the state cannot be read.
pub fn serve(config: Config, source: Configured) -> anyhow::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .enable_all()
        .build()
        .context("failed to start the runtime")?;
    let ended = runtime.block_on(run(config, source));
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

/// This process as others reach it.
fn candidate(config: &Config, id: Uuid) -> Candidate {
    let at = |host: &str, port: u16| match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let host = |address: SocketAddr| told::host(&config.hostname, config.listen, address);
    Candidate {
        id: id.to_string(),
        hostname: config.hostname.clone(),
        mesos: at(&host(config.listen), config.listen.port()),
        marathon: at(&host(config.marathon_listen), config.marathon_listen.port()),
        agents: at(&host(config.agent_listen), config.agent_listen.port()),
    }
}

/// What answers on each address, as a standby until it leads.
struct Doors {
    mesos: Front,
    marathon: Front,
    /// Calls that wait for a leader are answered by it.
    lead: watch::Sender<Option<Router>>,
    agents: Gate,
}

impl Doors {
    fn lead(&self, elected: &Elected) {
        self.agents.open(elected.driver.clone());
        self.marathon.replace(elected.marathon.clone());
        self.lead.send_replace(Some(elected.marathon.clone()));
        self.mesos.replace(elected.mesos.clone());
    }
}

/// Everything that serves.
struct Servers {
    doors: Doors,
    running: [JoinHandle<()>; 3],
    stop: watch::Sender<bool>,
}

impl Servers {
    /// `leads` is who serves from the first connection on, if there is no need to stand by.
    fn start(
        config: &Config,
        listeners: Listeners,
        standby: &Standby,
        own: Router,
        leads: Option<&Elected>,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mesos = Front::new(tepui_standby::mesos(standby.clone(), own));
        let (lead, leading) = watch::channel(None);
        let marathon = Front::new(tepui_standby::marathon(standby.clone(), leading));
        let doors = Doors { mesos, marathon, lead, agents: Gate::new(standby.heard.clone()) };
        if let Some(elected) = leads {
            doors.lead(elected);
        }
        let patience = Patience::default();
        let mut agents_stop = stopped.clone();
        let until = async move {
            // The sender outlives every server.
            let _ = agents_stop.wait_for(|stop| *stop).await;
        };
        let served = grpc::serve(doors.agents.clone(), listeners.agents, until);
        let guarded = |listen: SocketAddr, router: Router| {
            let names = config.host_names.iter().chain([&config.hostname]).map(String::as_str);
            OwnNames::new(listen, names).guard(router)
        };
        let of_mesos = guarded(config.listen, doors.mesos.router());
        let of_marathon = guarded(config.marathon_listen, doors.marathon.router());
        let running = [
            tokio::spawn(serve_http(listeners.mesos, of_mesos, patience, stopped.clone())),
            tokio::spawn(serve_http(listeners.marathon, of_marathon, patience, stopped)),
            tokio::spawn(async move {
                if let Err(problem) = served.await {
                    error!(error = &problem as &dyn std::error::Error, "agents are not served");
                }
            }),
        ];
        Self { doors, running, stop }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        let drained = async {
            for server in self.running {
                // Whatever a server says now, the process ends.
                let _ = server.await;
            }
        };
        let _ = tokio::time::timeout(DRAIN, drained).await;
    }
}

async fn run(config: Config, source: Configured) -> anyhow::Result<Ended> {
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let clock = Clock::start();
    let mut entropy = Entropy::seeded(seed().context("failed to read /dev/urandom")?);
    let listeners = Listeners {
        mesos: bind("listen", config.listen).await?,
        marathon: bind("marathon_listen", config.marathon_listen).await?,
        agents: bind("agent_listen", config.agent_listen).await?,
    };
    watch_certificates(config.certificates.clone()).context("failed to make the metrics")?;
    let timings = Arc::new(Timings::new().context("failed to make the metrics")?);
    let me = candidate(&config, entropy.uuid());
    let (hear, heard) = watch::channel(None);
    let of = heard.clone();
    let term = move || of.borrow().as_ref().map_or(0, |heard: &Leadership| heard.term.0);
    let own = tepui_api::own(facts(&config, clock), timings.clone(), term);
    let standby = Standby { me: Arc::new(me.clone()), heard };
    let board = Arc::new(Board::new().context("failed to make the metrics of plugins")?);
    let maker = Maker { config, me, reached: Reached::default(), clock, timings, board };
    let Maker { config, timings, .. } = &maker;
    // Where a file is the configuration, SIGHUP has it read anew.
    let has_file = source.file.is_some();
    let reloads = has_file.then(Hangups::new).transpose();
    let reloads = reloads.context("failed to wait for signals")?;
    let stop = async move || match has_file {
        true => terminated().await,
        false => stop_requested().await,
    };
    let mut signal = pin!(stop());
    let (servers, elected) = match &config.store {
        // Nobody else could lead: requests are taken when they can be answered.
        None => {
            maker.reached.find(config).await;
            let opened = open_own(config, &mut entropy, timings)?;
            timings.leadership.changed();
            let elected = maker.lead(opened, entropy)?;
            let servers = Servers::start(config, listeners, &standby, own, Some(&elected));
            (servers, elected)
        }
        Some(address) => {
            let servers = Servers::start(config, listeners, &standby, own, None);
            said(config, "control plane stands by");
            let mut standing = Standing::new(address.clone(), &maker, hear);
            let opened = tokio::select! {
                opened = stand_by(&mut standing, &maker, entropy.uuid()) => opened?,
                signal = &mut signal => {
                    let signal = signal.context("failed to wait for signals")?;
                    info!(signal, "stopping before any election");
                    servers.stop().await;
                    return Ok(Ended::Stopped);
                }
            };
            let elected = maker.lead(opened, entropy)?;
            servers.doors.lead(&elected);
            standing.leads(&elected.driver);
            (servers, elected)
        }
    };
    said(config, "control plane serves");
    let Elected { allocation, driver, mut abdicated, mut over, .. } = elected;
    let plugins = Plugins { allocation, board: maker.board.clone() };
    let reloading = tokio::spawn(plugins.follow(config.clone(), source, reloads));
    let ended = tokio::select! {
        signal = signal => {
            info!(signal = signal.context("failed to wait for signals")?, "stopping");
            notify(NotifyState::Stopping);
            end_loop(&driver).await;
            Ended::Stopped
        }
        _ = abdicated.wait_for(|wanted| *wanted) => {
            info!("leadership given up on a client's request, stopping");
            tokio::time::sleep(ABDICATION_DELAY).await;
            end_loop(&driver).await;
            Ended::Abdicated
        }
        ended = &mut over => ended.map_err(|_| anyhow!("the driver's thread is gone"))?,
    };
    match &ended {
        Ended::Store(problem @ StoreError::Fenced { .. }) => {
            warn!(%problem, "another control plane leads, the process ends");
        }
        Ended::Store(problem) => {
            error!(error = problem as &dyn std::error::Error, "store failed, the process ends");
        }
        Ended::Halted(halt) => error!(%halt, "the apps cannot go on, the process ends"),
        Ended::Stopped | Ended::Abdicated => {}
    }
    reloading.abort();
    servers.stop().await;
    Ok(ended)
}

/// Ends the loop; what the store does not take in time nobody was told.
async fn end_loop(driver: &Driver) {
    if !driver.stop(LAST_WRITES).await {
        warn!("the store takes nothing, stopping with changes that nobody was told are made");
    }
}

/// Stands by until this process leads. What could keep it from leading is found before; and where clients
/// of Mesos reach it, for when the store answers, names of hosts are known too.
async fn stand_by(standing: &mut Standing, maker: &Maker, fresh: Uuid) -> anyhow::Result<Opened> {
    let Maker { config, reached, .. } = maker;
    if let Some(path) = &config.allocator_record {
        Recorder::check(path).with_context(|| not_recorded(path))?;
    }
    standing.connect().await?;
    if !reached.find(config).await {
        warn!(
            told = %reached.mesos(config), hostname = config.hostname,
            "clients that find the leader in ZooKeeper are told an address that other hosts do not \
             reach: listen on one of this host's addresses, or let hostname stand for one"
        );
    }
    standing.until_elected(fresh).await
}

fn said(config: &Config, what: &'static str) {
    info!(
        mesos = %config.listen, marathon = %config.marathon_listen, agents = %config.agent_listen,
        "{what}"
    );
    notify(NotifyState::Ready);
}
