//! What the kernel refuses and counts for runs, by the programs of `tepui-accounting`.
//!
//! A run's group is registered with its ports before its command begins ([`Admission`]), follows its
//! tasks, and is forgotten when it is over. The programs outlive this process: the next one finds
//! them at work, with what they know of every group, and puts its own in their places.

mod book;
mod counting;
mod deaths;
mod devices;
mod measure;
mod place;
mod settings;
mod start;
mod tidy;
mod watch;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tepui_accounting::{CostStatistics, Driver, GroupId, Mode, PortSet};
use tepui_agent::PortDenial;
use tepui_cgroup::Leaf;
use tepui_launch::Admission;
use tepui_types::{ContainerId, Ranges};
use tracing::warn;

use crate::runs::chain;
use book::{Book, Ports};
use counting::Counting;
use deaths::Deaths;
use devices::Devices;
pub use devices::probe_devices;
pub use measure::usage;
pub use place::place;
pub use settings::{PortEnforcement, Wishes};
pub use start::{Found, Hierarchy, UnitsClaim, tag};
pub use tidy::{group, is_name_of_groups, pins};
pub use watch::watch;

/// Attribute that says whether the kernel holds tasks to their ports: `kernel` or `none`.
pub const PORT_ENFORCEMENT: &str = "port_enforcement";

/// The kernel's side of runs. Cheap to clone.
#[derive(Clone)]
pub struct Kernel {
    shared: Arc<Shared>,
}

struct Shared {
    wishes: Wishes,
    pins: PathBuf,
    work_dir: PathBuf,
    /// Folder of runs: each has a note there of what its group may use.
    runs: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    driver: Option<Driver>,
    book: Book,
    devices: Devices,
    enforcement: Enforcement,
    counting: Counting,
    /// Keeps the kernel measuring the programs.
    cost: Option<CostStatistics>,
    /// Which source tells what, for people.
    sources: Vec<(&'static str, String)>,
}

/// Whether tasks are held to their ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// Nobody asked yet.
    #[default]
    Unknown,
    /// The kernel does, and has proved it.
    Kernel(Mode),
    /// Nobody does, for this reason.
    None(String),
}

impl Enforcement {
    /// The value of the attribute.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Kernel(_) => "kernel",
            Self::Unknown | Self::None(_) => "none",
        }
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("pins", &self.shared.pins).finish_non_exhaustive()
    }
}

impl Kernel {
    /// Nothing is loaded yet. `pins` is a folder of this agent alone in the BPF file system.
    pub fn new(wishes: Wishes, pins: PathBuf, work_dir: PathBuf, runs: PathBuf) -> Self {
        let state = Mutex::new(State::default());
        Self { shared: Arc::new(Shared { wishes, pins, work_dir, runs, state }) }
    }

    /// Whether tasks are held to their ports.
    pub fn enforcement(&self) -> Enforcement {
        self.shared.state.lock().enforcement.clone()
    }

    /// A run is about to be started with these ports.
    pub fn expect(&self, run: &ContainerId, ports: &Ranges) {
        self.shared.state.lock().book.expect(run, Ports::of(ports));
    }

    /// A run is about to be started with a network of its own, where every port is its own.
    pub fn expect_own_network(&self, run: &ContainerId) {
        self.shared.state.lock().book.expect(run, Ports::Every);
    }

    /// A run goes on, and this is the first process of its command.
    pub fn begun(&self, run: &ContainerId, main: u32) {
        self.shared.state.lock().book.begin(run, main);
    }

    /// From now on the run may use exactly these ports.
    pub fn set_ports(&self, run: &ContainerId, ports: &Ranges) {
        let mut state = self.shared.state.lock();
        state.book.expect(run, Ports::of(ports));
        if let Err(reason) = self.register(&mut state, run) {
            warn!(%run, reason, "ports of a run not renewed, its former ones stay");
        }
    }

    /// What the kernel knows of a run after its end: its group is forgotten here.
    pub fn finish(&self, run: &ContainerId) -> Remains {
        let mut state = self.shared.state.lock();
        self.take_denials(&mut state);
        self.take_exits(&mut state);
        let remains = state.remains(run);
        drop(state);
        self.forget(run);
        remains
    }

    /// Nothing of this run runs any more, or ever will.
    pub fn forget(&self, run: &ContainerId) {
        let mut state = self.shared.state.lock();
        state.devices.forget(run);
        let Some(group) = state.book.remove(run) else { return };
        state.unregister(group);
    }

    /// Gives the run's group what the run may use, and writes it down for the next agent.
    fn register(&self, state: &mut State, run: &ContainerId) -> Result<(), String> {
        let State { driver: Some(driver), book, .. } = state else { return Ok(()) };
        let Some((group, ports)) = book.group_of(run) else { return Ok(()) };
        let set = port_set(&ports)?;
        driver.register_task(group, &set, None).map_err(|error| chain(&error))?;
        let note = self.shared.runs.join(run.as_str()).join(book::NOTE);
        // Lost, it only costs the next agent the names of refused ports.
        if let Err(error) = std::fs::write(&note, book::note(group, &ports)) {
            warn!(%run, %error, path = %note.display(), "ports of a run not noted, going on");
        }
        Ok(())
    }
}

impl Admission for Kernel {
    fn admit(&self, run: &ContainerId, group: &Leaf) -> Result<(), String> {
        self.hold_to_devices(run, group)?;
        let mut state = self.shared.state.lock();
        let failed = |error| format!("failed to prepare the run's ports: {}", chain(&error));
        if let Some(driver) = &mut state.driver {
            driver.reach().map_err(failed)?;
        } else if !state.counting.is_needed() {
            return Ok(());
        }
        let id = GroupId::of(group.path()).map_err(failed)?;
        if let Some(former) = state.book.place(run, id, group.clone()) {
            state.unregister(former);
        }
        state.counting.register(id);
        self.register(&mut state, run)
    }

    fn admit_without_group(&self, run: &ContainerId) -> Result<(), String> {
        match self.shared.state.lock().devices.of(run) {
            Some(_) => Err("it cannot be held to its devices without a control group".to_owned()),
            None => Ok(()),
        }
    }
}

/// What the kernel knows of a run that is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Ports that it was refused.
    pub denials: Vec<PortDenial>,
    /// How its processes ended by signals.
    pub deaths: Deaths,
}

impl State {
    fn remains(&mut self, run: &ContainerId) -> Remains {
        self.complete(run);
        Remains { denials: self.book.denials(run), deaths: self.book.deaths(run) }
    }

    fn unregister(&mut self, group: GroupId) {
        self.counting.forget(group);
        let Some(driver) = &mut self.driver else { return };
        if let Err(error) = driver.unregister_task(group) {
            warn!(%group, error = &error as &dyn std::error::Error, "group not forgotten");
        }
    }

    /// Brings the counts of a run's denials up to what the kernel has counted.
    fn complete(&mut self, run: &ContainerId) {
        let Some((group, _)) = self.book.group_of(run) else { return };
        let counted = self.driver.as_ref().and_then(|driver| driver.denials(group).ok().flatten());
        if let Some(counted) = counted {
            self.book.complete(run, &counted);
        }
    }
}

fn port_set(ports: &Ports) -> Result<PortSet, String> {
    match ports {
        Ports::Every => Ok(PortSet::every_port()),
        Ports::These(ranges) => {
            let ranges = ranges.iter().map(|(first, last)| *first..=*last);
            PortSet::from_ranges(ranges).map_err(|error| error.to_string())
        }
    }
}
