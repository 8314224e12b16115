//! The launcher of a host: systemd's where it has one, else the plain one. Runs that either of them
//! started before are found again by whoever started them.

use std::collections::{BTreeSet, HashMap};
use std::io;

use rustix::process::Signal;
use tepui_cgroup::{Controller, Leaf};
use tepui_types::ContainerId;

use crate::confinement::Ceiling;
use crate::launcher::{
    BoxFuture, KnownRun, LaunchError, Launcher, LimitError, Recovered, RunOutcome, SignalError,
    Started, Usage, UsageError,
};
use crate::plain::PlainLauncher;
use crate::protocol::CheckReply;
use crate::record::StartMark;
use crate::session::{Session, SessionSpec};
use crate::spec::{CheckSpec, LaunchSpec, SignalScope};
use crate::unit::UnitLauncher;
use crate::verdict;

/// Both launchers behind the one trait.
#[derive(Clone, Debug)]
pub struct HostLauncher {
    plain: PlainLauncher,
    units: Option<UnitLauncher>,
    starts_units: bool,
}

/// Whether any of these runs may still go on as a unit: then nothing may be said of them without
/// systemd.
#[must_use]
pub fn needs_systemd(runs: &[KnownRun]) -> bool {
    runs.iter().any(verdict::may_be_unit)
}

impl HostLauncher {
    /// A launcher that starts units when it has `units` and `starts_units` says so. Units that were
    /// started before are followed in any case.
    #[must_use]
    pub fn new(plain: PlainLauncher, units: Option<UnitLauncher>, starts_units: bool) -> Self {
        Self { plain, units, starts_units }
    }

    /// Whether runs may be units, by whoever started them.
    #[must_use]
    pub fn has_units(&self) -> bool {
        self.units.is_some()
    }

    /// Whether new runs are units.
    #[must_use]
    pub fn starts_units(&self) -> bool {
        self.starts_units && self.units.is_some()
    }

    /// What the groups of new processes can be limited in.
    #[must_use]
    pub fn process_controllers(&self) -> &[Controller] {
        self.plain.controllers()
    }

    fn of(&self, run: &ContainerId) -> &dyn Launcher {
        match &self.units {
            Some(units) if units.knows(run) => units,
            _ => &self.plain,
        }
    }
}

impl Launcher for HostLauncher {
    fn start(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Started, LaunchError>> {
        match &self.units {
            Some(units) if self.starts_units => units.start(spec),
            _ => self.plain.start(spec),
        }
    }

    fn recover(&self, runs: Vec<KnownRun>) -> BoxFuture<'_, Vec<Recovered>> {
        Box::pin(async move {
            let is_unit = |run: &KnownRun| {
                matches!(StartMark::load(&run.run_dir), Ok(Some(StartMark::Unit(_))))
            };
            let (units, plain): (Vec<_>, Vec<_>) = runs.into_iter().partition(is_unit);
            let mut all = self.plain.recover(plain).await;
            match &self.units {
                Some(launcher) => all.extend(launcher.recover(units).await),
                // Without systemd there are no units: the plain launcher reads what they left.
                None => all.extend(self.plain.recover(units).await),
            }
            all
        })
    }

    fn await_ready<'a>(&'a self, run: &'a ContainerId) -> BoxFuture<'a, Result<(), RunOutcome>> {
        self.of(run).await_ready(run)
    }

    fn signal(
        &self,
        run: &ContainerId,
        signal: Signal,
        scope: SignalScope,
    ) -> Result<(), SignalError> {
        self.of(run).signal(run, signal, scope)
    }

    fn kill_tree(&self, run: &ContainerId) -> Result<(), SignalError> {
        self.of(run).kill_tree(run)
    }

    fn group(&self, run: &ContainerId) -> Option<Leaf> {
        self.of(run).group(run)
    }

    fn limit<'a>(
        &'a self,
        run: &'a ContainerId,
        ceiling: &'a Ceiling,
    ) -> BoxFuture<'a, Result<(), LimitError>> {
        self.of(run).limit(run, ceiling)
    }

    fn usage(&self, run: &ContainerId) -> Result<Usage, UsageError> {
        self.of(run).usage(run)
    }

    fn listening_ports(&self, runs: &[ContainerId]) -> HashMap<ContainerId, BTreeSet<u16>> {
        let mut all = self.plain.listening_ports(runs);
        if let Some(units) = &self.units {
            all.extend(units.listening_ports(runs));
        }
        all
    }

    fn exec_check(&self, spec: CheckSpec) -> BoxFuture<'_, Result<CheckReply, LaunchError>> {
        match spec.beside.clone() {
            Some(run) => self.of(&run).exec_check(spec),
            None => self.plain.exec_check(spec),
        }
    }

    fn open_session(&self, spec: SessionSpec) -> BoxFuture<'_, Result<Session, LaunchError>> {
        self.of(&spec.beside).open_session(spec)
    }

    fn forget(&self, run: &KnownRun) -> io::Result<()> {
        self.of(&run.run_id).forget(run)
    }
}
