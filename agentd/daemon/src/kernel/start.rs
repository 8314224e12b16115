//! From what the host has to programs at work, without a moment in which former ones are not.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use tepui_accounting::{
    AccountingError, CostStatistics, Driver, Feature, GroupId, Mode, Place, Plan, Policy, PortSet,
    Proof, plan, probe, prove_port_enforcement,
};
use tepui_cgroup::{Leaf, Mount};
use tepui_types::ContainerId;
use tracing::{info, warn};

use super::book::{NOTE, Ports, read_note};
use super::{Enforcement, Kernel, Remains, State, chain};

/// Levels below the highest root group on which programs look for a task's group.
const DEPTH: u32 = 6;
/// Where the root group of processes is one above that of units, which is two below the host's, the
/// deepest unit must still be seen: its root, the slices of its role, and itself.
const _: () = assert!(1 + tepui_launch::MOST_SLICES < DEPTH as usize);
/// Where systemd has the units of all tasks.
const UNITS: &str = "tepui.slice/tepui-tasks.slice";

/// Where groups of tasks may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchy {
    /// The group below which processes get theirs; or why they get none.
    pub processes: Option<PathBuf>,
    /// Why there is none.
    pub reason: String,
    /// Tasks may also be units of systemd.
    pub units: bool,
}

/// A run of an earlier process.
#[derive(Clone, Debug)]
pub struct Found {
    /// The run.
    pub run: ContainerId,
    /// Its group, while it goes on.
    pub group: Option<Leaf>,
    /// The first process of its command, while it goes on.
    pub main: Option<u32>,
}

/// This agent alone runs units on this host: the slice of all tasks is one for the host, and another
/// agent's programs would refuse its tasks every port.
#[derive(Debug)]
pub struct UnitsClaim {
    _root: File,
}

impl UnitsClaim {
    /// `None` when another agent has it. It ends with the process.
    ///
    /// # Errors
    /// When the hierarchy cannot be opened.
    pub fn take() -> anyhow::Result<Option<Self>> {
        let mount = Mount::probe().context("failed to find the control groups of units")?;
        let root = File::open(mount.root()).context("failed to open the root control group")?;
        match flock(&root, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _root: root })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error).context("failed to claim the units of this host"),
        }
    }
}

impl Kernel {
    /// Loads the programs, tells them what runs, puts them to work and proves that they refuse.
    /// What is known of runs of an earlier process is returned. Blocks for some tenths of a second.
    ///
    /// # Errors
    /// When the operator insists on what this host cannot do.
    pub fn start(
        &self,
        hierarchy: &Hierarchy,
        found: &[Found],
    ) -> anyhow::Result<BTreeMap<ContainerId, Remains>> {
        let mut state = self.shared.state.lock();
        let outcome = self.load(hierarchy);
        let (enforcement, remains) = match outcome {
            Ok((driver, plan)) => {
                state.driver = Some(driver);
                let remains = self.adopt(&mut state, found);
                (self.put_to_work(&mut state, &plan)?, remains)
            }
            Err(reason) => {
                self.give_up_former(&reason)?;
                for Found { run, group, .. } in found {
                    let Some(leaf) = group else { continue };
                    state.book.expect(run, Ports::Every);
                    if let Ok(id) = GroupId::of(leaf.path()) {
                        state.book.place(run, id, leaf.clone());
                    }
                }
                (Enforcement::None(reason), BTreeMap::new())
            }
        };
        match &enforcement {
            Enforcement::Kernel(mode) => {
                info!(?mode, "ports are enforced by the kernel: a trial bind was refused");
            }
            Enforcement::None(reason) if self.shared.wishes.mode().is_none() => {
                info!(reason, "ports are not enforced");
            }
            Enforcement::None(reason) if self.shared.wishes.ports.is_none() => {
                warn!(reason, "ports are not enforced on this host, foreign ones are noticed");
            }
            Enforcement::None(reason) if self.shared.wishes.mode() == Some(Mode::Observe) => {
                info!(reason, "ports are not enforced");
            }
            Enforcement::None(reason) => {
                bail!("port_enforcement is asked for, which this host cannot do: {reason}");
            }
            Enforcement::Unknown => {}
        }
        state.enforcement = enforcement;
        Ok(remains)
    }

    /// Nothing can be loaded. Programs of an earlier agent would refuse every new task its ports, for
    /// nobody registers it: they go, unless the operator insists on them.
    fn give_up_former(&self, reason: &str) -> anyhow::Result<()> {
        let pins = &self.shared.pins;
        let is_link =
            |entry: fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b"link-");
        if !fs::read_dir(pins).is_ok_and(|mut pins| pins.any(|entry| entry.is_ok_and(is_link))) {
            return Ok(());
        }
        if self.shared.wishes.ports.is_some_and(|ports| ports.mode().is_some()) {
            bail!("port_enforcement is asked for, which this host cannot do: {reason}");
        }
        warn!(reason, "programs of an earlier agent are removed, none take their places");
        super::tidy::remove(pins).context("failed to remove programs of an earlier agent")
    }

    /// The loaded programs; or why there are none.
    fn load(&self, hierarchy: &Hierarchy) -> Result<(Driver, Plan), String> {
        let pins = &self.shared.pins;
        let features = self.shared.wishes.features();
        if features.is_empty() && !pins.exists() {
            return Err("the configuration wishes nothing of the kernel".to_owned());
        }
        let Some(root) = hierarchy.processes.clone() else { return Err(hierarchy.reason.clone()) };
        let units = if hierarchy.units {
            let mount = Mount::probe().map_err(|error| chain(&error))?;
            Some(mount.root().join(UNITS))
        } else {
            None
        };
        super::tidy::sweep(pins, &root);
        let others = units.into_iter().collect();
        let place = Place { root, others, depth: DEPTH, pins: pins.clone() };
        let plan = plan(&probe(pins), &features);
        if plan.programs.is_empty() && !features.is_empty() {
            let why = plan.left_out.iter().find(|left| features.contains(&left.feature));
            return Err(why.map(|left| left.reason.to_string()).unwrap_or_default());
        }
        let policy =
            Policy { mode: self.shared.wishes.mode().unwrap_or_default(), ..Policy::default() };
        self.mark();
        let driver = Driver::load(place, &plan, policy).map_err(|error| chain(&error))?;
        for (object, error) in driver.failures() {
            let error = error as &dyn std::error::Error;
            warn!(?object, error, "programs refused by the kernel, their figures come from files");
        }
        Ok((driver, plan))
    }

    /// Takes over what earlier agents left: groups of what runs stay as they are known, all others
    /// are forgotten, and what the kernel knows of those is returned.
    fn adopt(&self, state: &mut State, found: &[Found]) -> BTreeMap<ContainerId, Remains> {
        let State { driver: Some(driver), book, .. } = state else { return BTreeMap::new() };
        let known = driver.registered().unwrap_or_default();
        let mut over = Vec::new();
        for Found { run, group, main } in found {
            let note = fs::read_to_string(self.shared.runs.join(run.as_str()).join(NOTE));
            let note = note.ok().and_then(|text| read_note(&text));
            if let Some((_, ports)) = &note {
                book.expect(run, ports.clone());
            }
            let id = match group {
                Some(leaf) => GroupId::of(leaf.path()).ok(),
                None => note.as_ref().map(|(id, _)| *id),
            };
            let Some(id) = id else { continue };
            let leaf = group.clone().unwrap_or_else(|| Leaf::at(PathBuf::new()));
            book.place(run, id, leaf);
            if let Some(main) = main {
                book.begin(run, *main);
            }
            if group.is_none() {
                over.push(run);
            } else if !known.contains(&id) {
                let ports = note.as_ref().and_then(|(_, ports)| super::port_set(ports).ok());
                // Its ports are told in a moment; refusing it some until then would be wrong.
                let ports = ports.unwrap_or_else(PortSet::every_port);
                if let Err(error) = driver.register_task(id, &ports, None) {
                    let error = &error as &dyn std::error::Error;
                    warn!(%run, error, "group of a running task not registered: it has no ports");
                }
            }
        }
        self.take_denials(state);
        self.take_exits(state);
        let mut told = BTreeMap::new();
        for Found { run, .. } in found {
            told.insert(run.clone(), state.remains(run));
        }
        for run in over {
            if let Some(group) = state.book.remove(run) {
                state.unregister(group);
            }
        }
        let live: Vec<_> = state.book.groups().collect();
        for group in known.into_iter().filter(|group| !live.contains(group)) {
            state.unregister(group);
        }
        told
    }

    fn put_to_work(&self, state: &mut State, plan: &Plan) -> anyhow::Result<Enforcement> {
        let State { driver: Some(driver), .. } = &mut *state else {
            return Ok(Enforcement::Unknown);
        };
        let wishes = &self.shared.wishes;
        let worked = driver.attach().and_then(|adopted| {
            driver.retire_others()?;
            if wishes.mode().is_none() {
                driver.end_enforcement()?;
            }
            Ok(adopted)
        });
        match worked {
            Ok(adopted) => info!(
                replaced = adopted.replaced.len(),
                kept = adopted.kept.len(),
                fresh = adopted.fresh.len(),
                "programs are at work in the kernel"
            ),
            // Whatever is attached by now judges by our maps: half of the rules is worse than none.
            Err(error) if wishes.ports.is_none() => {
                let reason = chain(&error);
                if let Some(Err(error)) = state.driver.take().map(Driver::remove) {
                    return Err(error).context("failed to remove programs that are of no use");
                }
                return Ok(Enforcement::None(reason));
            }
            Err(error) => {
                return Err(error).context(
                    "failed to put the programs for ports and accounting to work in the kernel; \
                     without port_enforcement the agent would do without them",
                );
            }
        }
        let enforcement = enforcement(driver, plan, wishes.mode());
        if wishes.cost {
            state.cost = CostStatistics::start()
                .map_err(|error| info!(reason = chain(&error), "cost of programs not measured"))
                .ok();
        }
        Ok(enforcement)
    }
}

/// Proves enforcement; or says why there is none.
fn enforcement(driver: &mut Driver, plan: &Plan, mode: Option<Mode>) -> Enforcement {
    let Some(mode) = mode else {
        return Enforcement::None("port_enforcement = \"off\"".to_owned());
    };
    if !plan.has(Feature::Ports) {
        let why = plan.left_out.iter().find(|left| left.feature == Feature::Ports);
        let why = why.map(|left| left.reason.to_string()).unwrap_or_default();
        return Enforcement::None(why);
    }
    if mode == Mode::Observe {
        return Enforcement::None("port_enforcement = \"observe\"".to_owned());
    }
    let proof = prove_port_enforcement(driver);
    let reason = match proof {
        Ok(Proof::Enforced) => return Enforcement::Kernel(mode),
        Ok(Proof::Open) => "a trial bind of a foreign port was not refused".to_owned(),
        Ok(Proof::Shut) => "a trial bind of an own port was refused".to_owned(),
        Err(error) => chain(&error),
    };
    give_up(driver);
    Enforcement::None(reason)
}

fn give_up(driver: &mut Driver) {
    if let Err(error) = driver.end_enforcement() {
        let error: &AccountingError = &error;
        warn!(error = error as &dyn std::error::Error, "programs that do not enforce ports stay");
    }
}

/// Names that two agents on one host do not share, from the folder that they cannot share.
pub fn tag(work_dir: &Path) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    let bytes = work_dir.as_os_str().as_encoded_bytes();
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_agents_of_a_host_share_no_names() {
        assert_eq!(tag(Path::new("/a")), tag(Path::new("/a")));
        assert_ne!(tag(Path::new("/a")), tag(Path::new("/b")));
    }

    #[test]
    fn only_one_agent_of_a_host_runs_units() {
        let Ok(Some(first)) = UnitsClaim::take() else {
            eprintln!("skipped: no control groups here, or an agent runs units");
            return;
        };
        assert!(UnitsClaim::take().unwrap().is_none());
        drop(first);
        assert!(UnitsClaim::take().unwrap().is_some());
    }
}
