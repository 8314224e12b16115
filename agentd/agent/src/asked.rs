//! Containers that somebody asks the agent's API for: LAUNCH_CONTAINER and its older name
//! LAUNCH_NESTED_CONTAINER (`spec/mesos-http.md` 3.3). Below a run, or alone.
//!
//! Such a container is a run like any other: with a sandbox, limits and a shim of its own, kept over a
//! restart. It is described by the call alone, and ends with the run that it is below. Its record
//! stays until it is removed, or its sandbox is.

use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_types::{ContainerId, RequestId, Resources, TaskState};
use tepui_wire::resources::decode;
use tepui_wire::v1::{self, container_info, task_status::Reason};

use crate::book::{is_below, parent_of};
use crate::containers::{has_image, ports_objection, wish};
use crate::effect::Setting;
use crate::environment::{
    command_to_run, live_ports_of, secret_variables, sum, unresolved_secret, variables,
};
use crate::limits::above::Ceiling;
use crate::limits::container::{bind, disarm};
use crate::machine::{Agent, Turn};
use crate::sessions::bad;
use crate::state::{Fate, Phase};
use crate::status::Saying;
use crate::volumes::{links_of, secret_files};
use crate::{Command, Container, Effect, Exit, Record, Response, RunSpec, SANDBOX_MARK};

/// Asked containers at a time, those that are over and not removed among them.
const MAX_ASKED: usize = 1000;
const KILLED_EARLY: &str = "The container was killed while it was being launched";

/// A container that somebody wants.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerLaunch {
    /// Its id: that of the container that it is below, a dot, and its own name; or its name alone.
    pub container: ContainerId,
    /// What it executes.
    pub command: v1::CommandInfo,
    /// How it is isolated.
    pub info: Option<v1::ContainerInfo>,
    /// What it was given. Without any, one below another is held to what that one may use.
    pub resources: Vec<v1::Resource>,
    /// What it may not exceed, where that is not what it was given.
    pub limits: BTreeMap<String, v1::value::Scalar>,
}

/// Why a container ended, where that is more than how.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The state that its task would have.
    pub state: TaskState,
    /// Why.
    pub reason: Reason,
    /// The same in words.
    pub message: String,
    /// The limit that it exceeded.
    pub limitation: Option<v1::TaskResourceLimitation>,
}

impl Verdict {
    pub(crate) fn of(saying: &Saying) -> Option<Self> {
        Some(Self {
            state: saying.state,
            reason: saying.reason?,
            message: saying.message.clone().unwrap_or_default(),
            limitation: saying.limitation.clone(),
        })
    }
}

impl ContainerLaunch {
    /// What the rules for tasks are asked about.
    pub(crate) fn as_task(&self) -> v1::TaskInfo {
        v1::TaskInfo {
            name: self.container.to_string(),
            command: Some(self.command.clone()),
            container: self.info.clone().map(Box::new),
            resources: self.resources.clone(),
            limits: self.limits.clone(),
            ..v1::TaskInfo::default()
        }
    }
}

impl Agent {
    /// Takes a container on; whoever asked is answered once it runs, or cannot.
    pub(crate) fn launch_container(
        &mut self,
        request: RequestId,
        launch: ContainerLaunch,
        turn: &mut Turn<'_>,
    ) -> Result<(), Response> {
        let run = launch.container.clone();
        if self.book.runs.contains_key(&run) || self.sessions.knows(&run) {
            // Also when it is over: only its removal makes the id free.
            return Err(Response::Accepted);
        }
        if self.quitting.is_some() {
            let message = "The agent is leaving the cluster".to_owned();
            return Err(Response::Refused { status: 503, message });
        }
        if let Some(message) = self.launch_objection(&launch) {
            return Err(bad(&message));
        }
        self.make_room(turn)?;
        let above = parent_of(&run).and_then(|above| self.book.runs.get(&above));
        let name = run.as_str().rsplit('.').next().unwrap_or_default();
        let sandbox: Arc<str> = match above {
            Some(above) => format!("{}/containers/{name}", above.sandbox).into(),
            None => format!("containers/{name}").into(),
        };
        self.commit(Record::Asked { launch: Box::new(launch), sandbox }, turn);
        if let Some(entry) = self.run_mut(&run) {
            entry.opener = Some(request);
        }
        self.prepare_asked(&run, turn);
        Ok(())
    }

    /// The oldest that is over makes room for a new one.
    fn make_room(&mut self, turn: &mut Turn<'_>) -> Result<(), Response> {
        let is_asked =
            |run: &ContainerId| self.book.runs.get(run).is_some_and(|entry| entry.asked.is_some());
        if self.book.runs.values().filter(|run| run.asked.is_some()).count() < MAX_ASKED {
            return Ok(());
        }
        let oldest =
            self.book.garbage.iter().map(|(_, run)| run).find(|run| is_asked(run)).cloned();
        let Some(oldest) = oldest else {
            let message = format!(
                "{MAX_ASKED} containers run here that calls have launched, which \
                                   is the agent's limit"
            );
            return Err(Response::Refused { status: 503, message });
        };
        self.remove_run(&oldest, turn);
        Ok(())
    }

    /// Why a container cannot be launched here.
    fn launch_objection(&self, launch: &ContainerLaunch) -> Option<String> {
        let above = parent_of(&launch.container);
        if let Some(above) = &above {
            let up = |phase| matches!(phase, Phase::Registering | Phase::Running);
            match self.book.runs.get(above) {
                None => return Some(format!("Container {above} cannot be found")),
                Some(run) if !up(run.phase) || run.is_ending() => {
                    return Some(format!("Container {above} does not run"));
                }
                Some(_) => {}
            }
        }
        let unresolved = launch.command.environment.as_ref().and_then(unresolved_secret);
        if let Some(name) = unresolved {
            return Some(format!("Environment variable '{name}' refers to a secret"));
        }
        if let Err(reason) = self.described(launch) {
            return Some(reason);
        }
        if command_to_run(&launch.command).is_none() && !launch.info.as_ref().is_some_and(has_image)
        {
            return Some("The command has nothing to execute".to_owned());
        }
        resources_objection(launch, above.is_some())
            .or_else(|| self.limits_objection(&launch.as_task()))
    }

    /// The container that it is to run in, if the host can make one.
    fn described(&self, launch: &ContainerLaunch) -> Result<Option<Container>, String> {
        let Some(mut container) = self.wished(launch)? else { return Ok(None) };
        self.bind_asked(&launch.container, &mut container)?;
        let given = sum(&launch.resources).ports();
        let objection = self.host_objection(&container);
        match objection.or_else(|| ports_objection(&container.network, &given)) {
            Some(reason) => Err(reason),
            None => Ok(Some(container)),
        }
    }

    fn wished(&self, launch: &ContainerLaunch) -> Result<Option<Container>, String> {
        let above = parent_of(&launch.container);
        let is_in_container =
            above.as_ref().is_some_and(|above| self.container_at(above).is_some());
        let mut info = match &launch.info {
            Some(info) => info.clone(),
            // What holds the processes of a container holds those of another only.
            None if is_in_container => v1::ContainerInfo {
                r#type: container_info::Type::Mesos.into(),
                ..v1::ContainerInfo::default()
            },
            None => return Ok(None),
        };
        if info.r#type() != container_info::Type::Mesos {
            return Err(
                "The provided ContainerInfo is not supported: its type has to be MESOS".to_owned()
            );
        }
        if is_in_container {
            info.linux_info.get_or_insert_default();
        }
        let user = self.asked_user(launch);
        let named = launch.command.user.as_ref().is_some_and(|user| !user.is_empty());
        let named = named && self.config.switch_user;
        wish(&info, &launch.command, user.as_deref(), named, above.is_some())
    }

    /// Binds what a call asks for to what the operator says, what the labels above say, and what the
    /// run above may do.
    fn bind_asked(&self, run: &ContainerId, container: &mut Container) -> Result<(), String> {
        let wished = container.clone();
        bind(container, self.labels_above(run), &self.config.limits)?;
        let Some(above) = parent_of(run) else { return Ok(()) };
        let ceiling = match self.container_at(&above) {
            Some(above) => Ceiling::of_container(&above),
            None => {
                let limits = self.limits_of_run(&above).unwrap_or_default();
                Ceiling::of_process(&limits.rights)
            }
        };
        ceiling.bind(container, &wished)
    }

    /// The container that any run is in.
    fn container_at(&self, run: &ContainerId) -> Option<Container> {
        if self.book.runs.get(run)?.asked.is_some() {
            return self.asked_container(run);
        }
        let (framework, executor) = self.book.owner(run)?;
        self.container_of(framework, executor, run)
    }

    /// The container that an asked run is in; what cannot be described was refused before.
    pub(crate) fn asked_container(&self, run: &ContainerId) -> Option<Container> {
        let launch = self.book.runs.get(run)?.asked.as_deref()?;
        let mut container = self.wished(launch).ok().flatten()?;
        // Accepted by an agent of other settings, it gets nothing that is in question.
        if self.bind_asked(run, &mut container).is_err() {
            disarm(&mut container, &self.config.limits);
        }
        Some(container)
    }

    /// The labels of the task or executor that a run is below: they hold for it too.
    fn labels_above(&self, run: &ContainerId) -> Option<&v1::Labels> {
        let above = parent_of(run)?;
        if self.book.runs.get(&above)?.asked.is_some() {
            return self.labels_above(&above);
        }
        let (framework, executor) = self.book.owner(&above)?;
        match self.task_of(framework, executor, &above) {
            Some(task) => task.info.labels.as_ref(),
            None => executor.info.as_ref()?.labels.as_ref(),
        }
    }

    /// Whom it runs as: whom it names, else whom the run above runs as.
    fn asked_user(&self, launch: &ContainerLaunch) -> Option<String> {
        let named = launch.command.user.clone().filter(|user| !user.is_empty());
        if named.is_some() {
            return named.filter(|_| self.config.switch_user);
        }
        self.user_of_run(&parent_of(&launch.container)?)
    }

    fn user_of_run(&self, run: &ContainerId) -> Option<String> {
        if let Some(launch) = self.book.runs.get(run)?.asked.as_deref() {
            return self.asked_user(launch);
        }
        let (framework, executor) = self.book.owner(run)?;
        self.user_of(framework, self.command_of(framework, executor, run))
    }

    /// Has the sandbox of an asked run made and filled.
    pub(crate) fn prepare_asked(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        let Some(entry) = self.book.runs.get(run) else { return };
        let Some(launch) = entry.asked.as_deref() else { return };
        let container = self.asked_container(run);
        let has_image = container.as_ref().is_some_and(|one| one.image.is_some());
        let above = parent_of(run).and_then(|above| self.book.runs.get(&above));
        let links = match (&container, &launch.info) {
            (None, Some(info)) => links_of(info, above.is_some()).unwrap_or_default(),
            _ => Vec::new(),
        };
        turn.push(Effect::Fetch {
            run: run.clone(),
            sandbox: entry.sandbox.clone(),
            uris: launch.command.uris.clone(),
            user: self.asked_user(launch).filter(|_| !has_image),
            setting: Box::new(Setting {
                is_pod: false,
                is_alone: above.is_none(),
                below: above.map(|above| (above.sandbox.clone(), None)),
                links,
                disk: self.asked_limits(run).and_then(|limits| limits.disk),
                secrets: launch.info.as_ref().map(secret_files).unwrap_or_default(),
            }),
            images: container.iter().flat_map(|one| one.images().cloned()).collect(),
            network: None,
        });
    }

    /// Everything that the launcher needs for an asked run.
    pub(crate) fn asked_spec(&self, run: &ContainerId) -> Option<RunSpec> {
        let entry = self.book.runs.get(run)?;
        let launch = entry.asked.as_deref()?;
        let container = self.asked_container(run);
        let has_image = container.as_ref().is_some_and(|one| one.image.is_some());
        let command = command_to_run(&launch.command);
        let command = command.or_else(|| has_image.then(|| Command::Shell(String::new())))?;
        let owner = self.book.owner(run);
        let given = sum(&launch.resources);
        let ports = owner.map(|(framework, executor)| live_ports_of(framework, executor));
        let is_own = container.as_ref().is_some_and(|one| one.network.is_own());
        Some(RunSpec {
            run: run.clone(),
            title: run.to_string(),
            sandbox: entry.sandbox.clone(),
            role: owner.and_then(|(_, executor)| executor.role.clone()),
            command,
            environment: self.asked_environment(launch, container.as_ref()),
            secret_variables: launch
                .command
                .environment
                .iter()
                .flat_map(secret_variables)
                .collect(),
            secret_files: launch
                .info
                .iter()
                .flat_map(secret_files)
                .map(|secret| secret.name)
                .collect(),
            user: self.asked_user(launch),
            rlimits: launch.info.as_ref().and_then(|info| info.rlimit_info.clone()),
            ports: ports.unwrap_or_default().union(&given.ports()),
            resources: given,
            network: parent_of(run).filter(|_| !is_own).and_then(|above| self.network_of(&above)),
            container: container.map(Box::new),
            limits: Box::new(self.asked_limits(run)?),
        })
    }

    fn asked_environment(
        &self,
        launch: &ContainerLaunch,
        container: Option<&Container>,
    ) -> Vec<(String, String)> {
        let has_image = container.is_some_and(|one| one.image.is_some());
        let mut list = if has_image { Vec::new() } else { self.config.environment.clone() };
        let sandbox = if has_image { tepui_container::SANDBOX } else { SANDBOX_MARK };
        let address = self.addresses_of(&launch.container).and_then(|own| own.first());
        let address = address.map_or_else(|| self.config.ip.clone(), ToString::to_string);
        for (name, value) in [
            ("MESOS_SANDBOX", sandbox),
            ("MESOS_DIRECTORY", SANDBOX_MARK),
            ("MESOS_AGENT_ENDPOINT", &self.config.endpoint),
            ("MESOS_CONTAINER_IP", &address),
        ] {
            list.push((name.to_owned(), value.to_owned()));
        }
        list.extend(launch.command.environment.as_ref().into_iter().flat_map(variables));
        list
    }

    /// An asked run is up; whoever asked for it hears so.
    pub(crate) fn asked_is_up(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        let Some(entry) = self.run_mut(run) else { return };
        let asked_to_end = entry.ending.is_some() || entry.phase == Phase::Terminating;
        entry.phase = Phase::Running;
        if let Some(request) = entry.opener.take() {
            turn.push(Effect::Respond { request, response: Response::Done });
        }
        if asked_to_end {
            self.carry_out_kill(run, turn);
        }
    }

    /// An asked run did not come to life: whoever asked hears why, and nothing of it stays.
    pub(crate) fn asked_failed(&mut self, run: &ContainerId, message: &str, turn: &mut Turn<'_>) {
        let Some(entry) = self.run_mut(run).filter(|entry| entry.exit.is_none()) else { return };
        let killed = matches!(entry.fate, Some(Fate::Killed | Fate::Shutdown));
        let message = if killed { KILLED_EARLY } else { message };
        if let Some(request) = entry.opener.take() {
            turn.push(Effect::Respond { request, response: bad(message) });
        }
        self.run_over(run, Exit::Unknown(message.into()), turn);
        self.remove_run(run, turn);
    }

    /// Ends an asked run at once, whatever it is doing.
    pub(crate) fn end_asked(&mut self, run: &ContainerId, fate: Fate, turn: &mut Turn<'_>) {
        let Some(entry) = self.run_mut(run) else { return };
        match entry.phase {
            Phase::Over => {}
            Phase::Preparing => self.asked_failed(run, KILLED_EARLY, turn),
            Phase::Launching => {
                entry.fate.get_or_insert(fate);
                self.set_deadline(run, tepui_types::Span::ZERO, turn);
            }
            Phase::Registering | Phase::Running | Phase::Terminating => {
                self.destroy(run, fate, turn);
            }
        }
    }

    /// A run is over, and with it what was asked for below it.
    pub(crate) fn end_below(&mut self, above: &ContainerId, turn: &mut Turn<'_>) {
        if self.recovering {
            return;
        }
        for run in self.live_asked(|run| is_below(run, above)) {
            self.end_asked(&run, Fate::Shutdown, turn);
        }
    }

    /// The agent leaves: what is below nobody ends too.
    pub(crate) fn end_standalone(&mut self, turn: &mut Turn<'_>) {
        for run in self.live_asked(|run| parent_of(run).is_none()) {
            self.end_asked(&run, Fate::Shutdown, turn);
        }
    }

    /// Every run was looked at: what is below one that is over follows it, at any depth, as it would
    /// have at once if the agent had been there.
    pub(crate) fn settle_asked(&mut self, turn: &mut Turn<'_>) {
        let live = |run: &ContainerId| self.book.runs.get(run).is_some_and(|r| r.exit.is_none());
        let above = |run: &ContainerId| std::iter::successors(parent_of(run), parent_of);
        let orphans = self.live_asked(|run| above(run).any(|one| !live(&one)));
        for run in orphans {
            self.end_asked(&run, Fate::Shutdown, turn);
        }
    }

    fn live_asked(&self, wanted: impl Fn(&ContainerId) -> bool) -> Vec<ContainerId> {
        let runs = self.book.runs.iter();
        let live = runs.filter(|(_, entry)| entry.asked.is_some() && entry.exit.is_none());
        live.map(|(run, _)| run).filter(|run| wanted(run)).cloned().collect()
    }

    /// Why a container ended, where more is known than how.
    pub(crate) fn verdict_of(&self, run: &ContainerId) -> Option<Box<Verdict>> {
        let entry = self.book.runs.get(run)?;
        if entry.asked.is_some() {
            return entry.verdict.clone();
        }
        let (framework, executor) = self.book.owner(run)?;
        let status = self.task_of(framework, executor, run)?.newest()?;
        let limited = matches!(
            status.reason(),
            Reason::ContainerLimitation
                | Reason::ContainerLimitationMemory
                | Reason::ContainerLimitationDisk
        );
        let state = tepui_link::codec::task_state(status.state)?;
        limited.then(|| {
            Box::new(Verdict {
                state,
                reason: status.reason(),
                message: status.message().to_owned(),
                limitation: status.limitation.clone(),
            })
        })
    }

    /// Removes what is left of a container: its sandbox, and what is known of it and of those below.
    pub(crate) fn remove(&mut self, container: &ContainerId, turn: &mut Turn<'_>) -> Response {
        let runs = |run: &ContainerId| self.book.runs.get(run).is_some_and(|r| r.exit.is_none());
        let below = self.book.live_below(container).next().is_some();
        if runs(container) || below || self.sessions.is_live(container) {
            let message = format!("Nested container has not terminated yet: {container}");
            return Response::Refused { status: 500, message };
        }
        self.sessions.forget(container);
        // An executor's own sandbox stays for its time; already gone is what was wanted.
        let removable = |entry: &crate::Run| entry.asked.is_some() || entry.task.is_some();
        if self.book.runs.get(container).is_some_and(removable) {
            self.remove_run(container, turn);
        }
        Response::Done
    }

    /// Forgets runs that are over: this one and those in its sandbox.
    fn remove_run(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        let Some(entry) = self.book.runs.get(run) else { return };
        let sandbox = entry.sandbox.clone();
        let within = |one: &ContainerId| one == run || is_below(one, run);
        let over = self.book.runs.iter().filter(|(one, entry)| within(one) && entry.exit.is_some());
        let over: Vec<_> = over.map(|(one, _)| one.clone()).collect();
        for run in over {
            self.commit(Record::SandboxRemoved { run }, turn);
        }
        self.counters.path_removals += 1;
        turn.push(Effect::RemoveSandbox { sandbox });
    }
}

/// Amounts that nobody can be held to, or that are not the caller's to give.
fn resources_objection(launch: &ContainerLaunch, is_below: bool) -> Option<String> {
    for one in &launch.resources {
        if let Err(error) = decode(std::slice::from_ref(one)) {
            return Some(error.to_string());
        }
        let name = one.name.as_str();
        if !one.reservations.is_empty() {
            return Some(format!("Resource '{name}' is reserved, which a container cannot use"));
        }
        if one.disk.is_some() {
            return Some(format!(
                "Resource '{name}' is a persistent volume, which a container cannot use"
            ));
        }
        if one.revocable.is_some() {
            return Some(format!("Resource '{name}' is revocable, which a container cannot use"));
        }
    }
    let given = sum(&launch.resources);
    for (name, limit) in &launch.limits {
        let least = match name.as_str() {
            "cpus" => Resources::cpus(&given),
            "mem" => Resources::mem(&given),
            other => {
                return Some(format!("The limit of '{other}' is not supported: only cpus, mem"));
            }
        };
        let value = limit.value;
        if !(value.is_infinite() && value > 0.0) {
            match tepui_types::Scalar::parse(value) {
                Ok(limit) if limit >= least => {}
                Ok(_) => return Some(format!("The limit of '{name}' is below what is requested")),
                Err(error) => return Some(format!("The limit of '{name}' is invalid: {error}")),
            }
        }
    }
    let linux = launch.info.as_ref().and_then(|info| info.linux_info.as_ref());
    let shares = linux.and_then(|linux| linux.share_cgroups);
    let is_deep = launch.container.as_str().matches('.').count() > 1;
    match shares {
        Some(true) if !is_below => {
            Some("'share_cgroups' cannot be true for a container that is below none".to_owned())
        }
        Some(true) if !launch.resources.is_empty() || !launch.limits.is_empty() => {
            Some("Resources and limits need 'share_cgroups' to be false".to_owned())
        }
        Some(false) if is_deep => {
            Some("'share_cgroups' cannot be false below a nested container".to_owned())
        }
        _ => None,
    }
}
