//! The conversation with systemd, over one connection that is made anew when it breaks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit, mpsc, oneshot};
use zbus::Connection;
use zbus::zvariant::OwnedObjectPath;

use crate::error::SystemdError;
use crate::name::{SliceName, UnitName};
use crate::property::{bytes, ceiling, number, properties, text};
use crate::proxy::{PropertiesProxy, SystemdProxy};
use crate::spec::{Ceiling, UnitSpec};

const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// Pause before the bus is tried again.
const RECONNECT: Duration = Duration::from_millis(250);

/// How long a start may take before it counts as refused, besides the time in which a unit says
/// that it is ready; systemd itself gives up after less.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Calls that wait for their answers at a time. The bus allows a connection 128 (dbus-daemon's
/// `max_replies_per_connection`) and refuses the next.
const CALLS: usize = 64;

/// What is heard of our units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The unit was unloaded: it has ended and its last command has run.
    Removed(UnitName),
    /// The bus, or systemd itself, was away: anything may have happened meanwhile.
    Missed,
}

/// News of units, until the manager is dropped.
pub type Watch = mpsc::UnboundedReceiver<News>;

/// A unit as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitStatus {
    /// `active`, `inactive`, `failed`, `activating` or `deactivating`.
    pub active: String,
    /// Its main process; `None` when there is none (any more).
    pub main_pid: Option<i32>,
    /// Path of its control group, from the root of the hierarchy; empty when there is none.
    pub control_group: String,
    /// Tells this run of the unit from others of the same name, 32 hexadecimal digits.
    pub invocation: String,
}

/// systemd, for as long as this lives. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Manager {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Who waits for which job. Jobs end in the order in which systemd says so, possibly before it
    /// has answered the call that made them, so results that nobody waits for yet are kept.
    jobs: Mutex<Jobs>,
    systemd: Mutex<SystemdProxy<'static>>,
    calls: Semaphore,
}

/// systemd, for one call or several after each other.
struct Turn<'a> {
    systemd: SystemdProxy<'static>,
    _permit: Option<SemaphorePermit<'a>>,
}

impl std::ops::Deref for Turn<'_> {
    type Target = SystemdProxy<'static>;

    fn deref(&self) -> &Self::Target {
        &self.systemd
    }
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: HashMap<OwnedObjectPath, oneshot::Sender<String>>,
    starting: usize,
    early: HashMap<OwnedObjectPath, String>,
}

impl Manager {
    /// Connects to the system bus and listens for the ends of units.
    ///
    /// # Errors
    ///
    /// [`SystemdError::Unreachable`].
    pub async fn connect() -> Result<(Self, Watch), SystemdError> {
        let (systemd, signals) =
            open().await.map_err(|error| SystemdError::Unreachable(Box::new(error)))?;
        let calls = Semaphore::new(CALLS);
        let shared =
            Arc::new(Shared { jobs: Mutex::default(), systemd: Mutex::new(systemd), calls });
        let (news, watch) = mpsc::unbounded_channel();
        tokio::spawn(listen(Arc::downgrade(&shared), signals, news));
        Ok((Self { shared }, watch))
    }

    /// Waits for its turn.
    async fn systemd(&self) -> Turn<'_> {
        // Closed by nobody: there is always a permit in the end.
        let permit = self.shared.calls.acquire().await.ok();
        Turn { systemd: self.shared.systemd.lock().await.clone(), _permit: permit }
    }

    /// systemd's version, as it says itself.
    ///
    /// # Errors
    ///
    /// [`SystemdError::Bus`].
    pub async fn version(&self) -> Result<String, SystemdError> {
        let answer = self.systemd().await.version().await;
        answer.map_err(|error| SystemdError::answered("ask for the version of", "systemd", error))
    }

    /// Starts a unit, and waits until its main process was executed.
    ///
    /// # Errors
    ///
    /// [`SystemdError`]: refused at once, or failed in its job.
    pub async fn start(&self, spec: &UnitSpec) -> Result<UnitStatus, SystemdError> {
        let name = spec.name.as_str();
        let systemd = self.systemd().await;
        self.shared.jobs.lock().await.starting += 1;
        let started = systemd.start_transient_unit(name, "fail", &properties(spec), &[]).await;
        drop(systemd);
        let job = self.shared.wait_for(started.as_ref().ok()).await;
        started.map_err(|error| SystemdError::answered("start", name, error))?;
        let patience = spec.pace.notifies_within.unwrap_or_default() + START_LIMIT;
        let result = match tokio::time::timeout(patience, job).await {
            Ok(Ok(result)) => result,
            // The bus went away: the unit itself tells.
            Ok(Err(_)) | Err(_) => "lost".to_owned(),
        };
        if result != "done" && result != "lost" {
            return Err(SystemdError::NotStarted { unit: name.to_owned(), result });
        }
        self.status(&spec.name).await
    }

    /// Stops a unit as it says itself: SIGTERM, and SIGKILL after its time.
    ///
    /// # Errors
    ///
    /// [`SystemdError`].
    pub async fn stop(&self, unit: &UnitName) -> Result<(), SystemdError> {
        let answer = self.systemd().await.stop_unit(unit.as_str(), "replace").await;
        answer.map(drop).map_err(|error| SystemdError::answered("stop", unit.as_str(), error))
    }

    /// Changes what a unit may use while it runs, until it ends.
    ///
    /// # Errors
    ///
    /// [`SystemdError`].
    pub async fn limit(&self, unit: &UnitName, limits: &Ceiling) -> Result<(), SystemdError> {
        let systemd = self.systemd().await;
        let answer = systemd.set_unit_properties(unit.as_str(), true, &ceiling(limits)).await;
        answer.map_err(|error| SystemdError::answered("limit", unit.as_str(), error))
    }

    /// Holds all tasks of the host together to these limits, from now on.
    ///
    /// # Errors
    ///
    /// [`SystemdError`].
    pub async fn limit_all_tasks(&self, limits: &Ceiling) -> Result<(), SystemdError> {
        let systemd = self.systemd().await;
        let answer = systemd.set_unit_properties(SliceName::TASKS, true, &ceiling(limits)).await;
        answer.map_err(|error| SystemdError::answered("limit", SliceName::TASKS, error))
    }

    /// Sends a signal to the unit's main process, or to all its processes.
    ///
    /// # Errors
    ///
    /// [`SystemdError`].
    pub async fn kill(
        &self,
        unit: &UnitName,
        signal: i32,
        main_only: bool,
    ) -> Result<(), SystemdError> {
        let whom = if main_only { "main" } else { "all" };
        let answer = self.systemd().await.kill_unit(unit.as_str(), whom, signal).await;
        answer.map_err(|error| SystemdError::answered("signal", unit.as_str(), error))
    }

    /// What a unit is like now.
    ///
    /// # Errors
    ///
    /// [`SystemdError::NoSuchUnit`] when it is not loaded.
    pub async fn status(&self, unit: &UnitName) -> Result<UnitStatus, SystemdError> {
        let systemd = self.systemd().await;
        let failed = |error| SystemdError::answered("look at", unit.as_str(), error);
        let path = systemd.get_unit(unit.as_str()).await.map_err(failed)?;
        let properties = PropertiesProxy::builder(systemd.inner().connection())
            .path(path)
            .map_err(failed)?
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
            .map_err(failed)?;
        let get = |interface, name| {
            let properties = &properties;
            async move { properties.get(interface, name).await.map_err(failed) }
        };
        let pid = number(&get(SERVICE, "MainPID").await?).unwrap_or(0);
        let invocation = bytes(&get(UNIT, "InvocationID").await?).unwrap_or_default();
        Ok(UnitStatus {
            active: text(&get(UNIT, "ActiveState").await?).unwrap_or_default(),
            main_pid: i32::try_from(pid).ok().filter(|pid| *pid > 0),
            control_group: text(&get(SERVICE, "ControlGroup").await?).unwrap_or_default(),
            invocation: invocation.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }

    /// Our units that are loaded.
    ///
    /// # Errors
    ///
    /// [`SystemdError`].
    pub async fn units(&self) -> Result<Vec<UnitName>, SystemdError> {
        let pattern = format!("{}*", UnitName::PREFIX);
        let listed = self.systemd().await.list_units_by_patterns(&[], &[&pattern]).await;
        let listed = listed.map_err(|error| SystemdError::answered("list", &pattern, error))?;
        Ok(listed.into_iter().filter_map(|unit| UnitName::parse(&unit.0)).collect())
    }

    /// Lets systemd forget a unit that failed.
    ///
    /// # Errors
    ///
    /// [`SystemdError`]; a unit that is gone already is none.
    pub async fn reset_failed(&self, unit: &UnitName) -> Result<(), SystemdError> {
        let answer = self.systemd().await.reset_failed_unit(unit.as_str()).await;
        match answer.map_err(|error| SystemdError::answered("reset", unit.as_str(), error)) {
            Err(SystemdError::NoSuchUnit(_)) => Ok(()),
            other => other,
        }
    }
}

impl Shared {
    /// The end of a job that a start has made, or of none.
    async fn wait_for(&self, job: Option<&OwnedObjectPath>) -> oneshot::Receiver<String> {
        let (sender, receiver) = oneshot::channel();
        let mut jobs = self.jobs.lock().await;
        jobs.starting -= 1;
        if let Some(job) = job {
            match jobs.early.remove(job) {
                // The receiver is ours and alive.
                Some(result) => drop(sender.send(result)),
                None => drop(jobs.waiting.insert(job.clone(), sender)),
            }
        }
        if jobs.starting == 0 {
            jobs.early.clear();
        }
        receiver
    }

    async fn job_ended(&self, job: OwnedObjectPath, result: String) {
        let mut jobs = self.jobs.lock().await;
        match jobs.waiting.remove(&job) {
            // Whoever gave up needs no result.
            Some(waiting) => drop(waiting.send(result)),
            None if jobs.starting > 0 => drop(jobs.early.insert(job, result)),
            None => {}
        }
    }
}

/// What systemd says by itself.
#[derive(Debug)]
enum Signal {
    JobRemoved { job: OwnedObjectPath, result: String },
    UnitRemoved { unit: String },
    OwnerChanged,
}

type Signals = futures_util::stream::BoxStream<'static, Signal>;

async fn open() -> zbus::Result<(SystemdProxy<'static>, Signals)> {
    let connection = Connection::system().await?;
    let systemd = SystemdProxy::builder(&connection)
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await?;
    // In this order: a job that ends before somebody listens is never heard of.
    let jobs = systemd.receive_job_removed().await?.filter_map(|signal| async move {
        let args = signal.args().ok()?;
        Some(Signal::JobRemoved { job: args.job.clone(), result: args.result.clone() })
    });
    let units = systemd.receive_unit_removed().await?.filter_map(|signal| async move {
        Some(Signal::UnitRemoved { unit: signal.args().ok()?.id.clone() })
    });
    let owners = systemd.inner().receive_owner_changed().await?;
    let owners = owners.map(|_| Signal::OwnerChanged);
    systemd.subscribe().await?;
    let signals = futures_util::stream::select(jobs.boxed(), units.boxed());
    Ok((systemd, futures_util::stream::select(signals, owners.boxed()).boxed()))
}

/// Passes signals on until the manager or the watcher is gone.
async fn listen(
    shared: std::sync::Weak<Shared>,
    mut signals: Signals,
    news: mpsc::UnboundedSender<News>,
) {
    loop {
        let signal = signals.next().await;
        let Some(shared) = shared.upgrade() else { return };
        let told = match signal {
            Some(Signal::JobRemoved { job, result }) => {
                shared.job_ended(job, result).await;
                continue;
            }
            Some(Signal::UnitRemoved { unit }) => match UnitName::parse(&unit) {
                Some(unit) => News::Removed(unit),
                None => continue,
            },
            Some(Signal::OwnerChanged) => {
                let systemd = shared.systemd.lock().await.clone();
                // It forgets who listens when it is executed anew.
                if let Err(error) = systemd.subscribe().await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "no subscription");
                }
                News::Missed
            }
            None => {
                let Some(again) = reconnect(&shared, &news).await else { return };
                signals = again;
                News::Missed
            }
        };
        if news.send(told).is_err() {
            return;
        }
    }
}

async fn reconnect(shared: &Arc<Shared>, news: &mpsc::UnboundedSender<News>) -> Option<Signals> {
    tracing::warn!("the system bus is gone, connecting again");
    shared.jobs.lock().await.waiting.clear();
    while !news.is_closed() {
        match open().await {
            Ok((systemd, signals)) => {
                *shared.systemd.lock().await = systemd;
                tracing::info!("the system bus is back");
                return Some(signals);
            }
            Err(_) => tokio::time::sleep(RECONNECT).await,
        }
    }
    None
}
