//! Launch orders: what can be started is written down and prepared; what cannot gets its state.

use std::collections::BTreeSet;
use std::sync::Arc;

use tepui_link::LaunchOrder;
use tepui_types::{ContainerId, ExecutorId, FrameworkId, Ranges, Role, TaskId, TaskState};
use tepui_wire::v1::{self, task_status::Reason};

use crate::book::{MAX_IDLE_FRAMEWORKS, framework_id, task_id};
use crate::containers::has_image;
use crate::environment::{live_ports_of, sum};
use crate::machine::{Agent, Turn};
use crate::network::network_of_pod;
use crate::state::is_pod;
use crate::status::Saying;
use crate::updates::never_here;
use crate::{Effect, Record};

/// One task of a launch order on its way.
struct Candidate {
    id: TaskId,
    role: Role,
    info: Box<v1::TaskInfo>,
    partition_aware: bool,
}

impl Agent {
    pub(crate) fn launch(&mut self, order: LaunchOrder, turn: &mut Turn<'_>) {
        let Some(framework) = framework_id(&order.framework) else { return };
        self.know_framework(&framework, order.framework, turn);
        let partition_aware =
            self.book.framework(&framework).is_some_and(|one| one.is_partition_aware());
        let role = order.role;
        let mut named = BTreeSet::new();
        let candidates: Vec<_> = order
            .tasks
            .into_iter()
            .filter_map(|info| {
                let (id, role) = (task_id(&info)?, role.clone());
                Some(Candidate { id, role, info: Box::new(info), partition_aware })
            })
            .filter(|one| self.book.task(&framework, &one.id).is_none())
            .filter(|one| named.insert(one.id.clone()))
            .collect();
        if let Some(executor) = order.group_executor {
            self.launch_group(&framework, executor, candidates, turn);
        } else {
            for candidate in candidates {
                self.launch_one(&framework, candidate, turn);
            }
        }
        self.forget_idle_frameworks(turn);
    }

    fn know_framework(&mut self, id: &FrameworkId, info: v1::FrameworkInfo, turn: &mut Turn<'_>) {
        if self.book.framework(id).is_none_or(|known| *known.info != info) {
            self.commit(Record::Framework(Box::new(info)), turn);
        }
    }

    pub(crate) fn update_framework(&mut self, info: Box<v1::FrameworkInfo>, turn: &mut Turn<'_>) {
        let Some(id) = framework_id(&info) else { return };
        if self.book.framework(&id).is_some_and(|known| known.info != info) {
            self.commit(Record::Framework(info), turn);
        }
    }

    /// Only so many frameworks without anything here are remembered.
    pub(crate) fn forget_idle_frameworks(&mut self, turn: &mut Turn<'_>) {
        while self.book.idle.len() > MAX_IDLE_FRAMEWORKS
            && let Some(oldest) = self.book.idle.front().cloned()
        {
            self.commit(Record::FrameworkGone(oldest), turn);
        }
    }

    fn refuse_candidate(
        &mut self,
        framework: &FrameworkId,
        candidate: Candidate,
        saying: Saying,
        turn: &mut Turn<'_>,
    ) {
        self.refuse(framework, candidate.role, candidate.info, saying, turn);
    }

    fn launch_one(&mut self, framework: &FrameworkId, candidate: Candidate, turn: &mut Turn<'_>) {
        let given = self.ports_given(framework, std::slice::from_ref(&candidate));
        if let Some(saying) = self.objection(framework, &candidate, &given) {
            return self.refuse_candidate(framework, candidate, saying, turn);
        }
        match candidate.info.executor.clone() {
            None => self.launch_command(framework, candidate, turn),
            Some(info) => self.launch_custom(framework, &info, vec![candidate], false, turn),
        }
    }

    fn launch_group(
        &mut self,
        framework: &FrameworkId,
        executor: v1::ExecutorInfo,
        mut candidates: Vec<Candidate>,
        turn: &mut Turn<'_>,
    ) {
        for candidate in &mut candidates {
            candidate.info.executor = Some(Box::new(executor.clone()));
        }
        let given = self.ports_given(framework, &candidates);
        let objection = candidates.iter().find_map(|one| self.objection(framework, one, &given));
        if let Some(saying) = objection {
            for candidate in candidates {
                self.refuse_candidate(framework, candidate, saying.clone(), turn);
            }
        } else if !candidates.is_empty() {
            self.launch_custom(framework, &executor, candidates, true, turn);
        }
    }

    /// The ports that came with tasks and their executor, and those that it holds already.
    fn ports_given(&self, framework: &FrameworkId, candidates: &[Candidate]) -> Ranges {
        let executor = candidates.first().and_then(|one| one.info.executor.as_ref());
        let own = executor.into_iter().flat_map(|one| &one.resources);
        let tasks = candidates.iter().flat_map(|one| &one.info.resources);
        let mut given = sum(own.chain(tasks)).ports();
        if let Some(framework) = self.book.framework(framework)
            && let Some(id) = executor.map(|one| one.executor_id.value.as_str())
            && let Ok(id) = ExecutorId::parse(id)
            && let Some(executor) = framework.executors.get(&id)
        {
            given = given.union(&live_ports_of(framework, executor));
        }
        given
    }

    /// Why a task cannot start here, as the status that says so.
    fn objection(
        &self,
        framework: &FrameworkId,
        candidate: &Candidate,
        given: &Ranges,
    ) -> Option<Saying> {
        let Candidate { id, info, partition_aware, .. } = candidate;
        if self.book.ended.contains(framework, id) {
            let message = format!(
                "Task '{id}' was launched on this agent before; a task id is never started twice"
            );
            let state = never_here(*partition_aware);
            return Some(Saying::agent(state, Reason::TaskInvalid, message));
        }
        let failed = |message: String| {
            Some(Saying::agent(TaskState::Failed, Reason::ContainerLaunchFailed, message))
        };
        let executor = info.executor.as_deref();
        if executor.is_some_and(is_pod) && info.command.as_ref().is_none() {
            return failed("A task of a DEFAULT executor needs a command".into());
        }
        if let Some(reason) = self.container_objection(framework, info, given) {
            return failed(reason);
        }
        if let Some(why) = self.limits_objection(info) {
            return failed(why);
        }
        let commands = [info.command.as_ref(), executor.and_then(|one| one.command.as_ref())];
        let unresolved = commands.into_iter().flatten().find_map(|command| {
            crate::environment::unresolved_secret(command.environment.as_ref()?)
        });
        if let Some(name) = unresolved {
            return failed(format!(
                "Environment variable '{name}' refers to a secret, and this agent has no secret \
                 resolver; only secrets given by value work"
            ));
        }
        None
    }

    fn launch_command(&mut self, framework: &FrameworkId, one: Candidate, turn: &mut Turn<'_>) {
        let Ok(executor) = ExecutorId::parse(one.id.as_str()) else { return };
        if self.live_run(framework, &executor).is_some() {
            let message = format!("Executor '{executor}' is in use: a task cannot have its id");
            let saying =
                Saying::agent(never_here(one.partition_aware), Reason::TaskInvalid, message);
            return self.refuse_candidate(framework, one, saying, turn);
        }
        let run = self.make_executor(framework, &executor, None, turn);
        let needs_fetch = one.info.command.as_ref().is_some_and(|c| !c.uris.is_empty())
            || one.info.container.as_deref().is_some_and(has_image);
        self.commit_task(framework, &executor, one, false, turn);
        if !needs_fetch {
            // Nothing can fail before the start: saying so now saves a write on the way.
            self.commit_start(&run, turn);
        }
        self.prepare(&run, turn);
    }

    fn commit_task(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        one: Candidate,
        grouped: bool,
        turn: &mut Turn<'_>,
    ) {
        let record = Record::Task {
            framework: framework.clone(),
            executor: executor.clone(),
            role: one.role,
            task: one.info,
            grouped,
        };
        self.commit(record, turn);
    }

    /// From here on the run is never started again. A command task says so itself.
    pub(crate) fn commit_start(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        self.commit(Record::Starting { run: run.clone() }, turn);
        if let Some((framework, task)) = self.command_task(run) {
            self.say(&framework, &task, Saying::executor(TaskState::Starting), turn);
        }
    }

    fn launch_custom(
        &mut self,
        framework: &FrameworkId,
        info: &v1::ExecutorInfo,
        tasks: Vec<Candidate>,
        grouped: bool,
        turn: &mut Turn<'_>,
    ) {
        let Ok(executor) = ExecutorId::parse(&info.executor_id.value) else {
            let message = format!("Executor id '{}' is invalid", info.executor_id.value);
            let saying = Saying::agent(TaskState::Error, Reason::TaskInvalid, message);
            for one in tasks {
                self.refuse_candidate(framework, one, saying.clone(), turn);
            }
            return;
        };
        if let Some((reason, message)) = self.executor_objection(framework, &executor, info) {
            for one in tasks {
                let saying = Saying::agent(never_here(one.partition_aware), reason, &message);
                self.refuse_candidate(framework, one, saying, turn);
            }
            return;
        }
        let goes_alone = !grouped && is_pod(info);
        if goes_alone {
            let message = "A DEFAULT executor takes task groups only (LAUNCH_GROUP)";
            let saying = Saying::agent(TaskState::Error, Reason::TaskInvalid, message);
            for one in tasks {
                self.refuse_candidate(framework, one, saying.clone(), turn);
            }
            return;
        }
        let present = self.live_run(framework, &executor);
        let is_new = present.is_none();
        let run = present.unwrap_or_else(|| {
            self.make_executor(framework, &executor, Some(Box::new(info.clone())), turn)
        });
        let ids: Vec<_> = tasks.iter().map(|one| one.id.clone()).collect();
        for one in tasks {
            self.commit_task(framework, &executor, one, grouped, turn);
        }
        if grouped {
            let (framework, executor, tasks) = (framework.clone(), executor.clone(), ids.clone());
            self.commit(Record::Group { framework, executor, tasks }, turn);
        }
        if is_pod(info) {
            self.add_to_pod(framework, &executor, &ids, turn);
        }
        if is_new {
            self.prepare(&run, turn);
        } else {
            self.renew_ports(framework, &executor, turn);
            self.limit_anew(framework, &executor, turn);
        }
        if !is_new && !is_pod(info) {
            self.deliver(framework, &executor, turn);
        }
    }

    /// Why an executor that is here cannot take further tasks.
    fn executor_objection(
        &self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        info: &v1::ExecutorInfo,
    ) -> Option<(Reason, String)> {
        let run = self.live_run(framework, executor)?;
        let known = self.book.executor(framework, executor)?;
        let Some(known) = &known.info else {
            let message = format!("Executor id '{executor}' is in use by a command task");
            return Some((Reason::TaskInvalid, message));
        };
        // The framework's id may or may not be filled in.
        let bare =
            |info: &v1::ExecutorInfo| v1::ExecutorInfo { framework_id: None, ..info.clone() };
        if bare(known) != bare(info) {
            let message = format!("Executor '{executor}' runs here with another description");
            return Some((Reason::TaskInvalid, message));
        }
        let run = self.book.runs.get(&run)?;
        run.is_ending()
            .then(|| (Reason::ExecutorTerminated, format!("Executor '{executor}' is terminating")))
    }

    /// The run of an executor that is not over.
    pub(crate) fn live_run(
        &self,
        framework: &FrameworkId,
        executor: &ExecutorId,
    ) -> Option<ContainerId> {
        let run = &self.book.executor(framework, executor)?.run;
        self.book.runs.get(run).is_some_and(|run| run.exit.is_none()).then(|| run.clone())
    }

    /// The run whose process is the task's, while it is not over.
    pub(crate) fn live_task_run(
        &self,
        framework: &FrameworkId,
        task: &TaskId,
    ) -> Option<ContainerId> {
        let run = self.book.run_of(framework, task)?;
        self.book.runs.get(run).is_some_and(|run| run.exit.is_none()).then(|| run.clone())
    }

    fn make_executor(
        &mut self,
        framework: &FrameworkId,
        executor: &ExecutorId,
        info: Option<Box<v1::ExecutorInfo>>,
        turn: &mut Turn<'_>,
    ) -> ContainerId {
        let name = self.entropy.uuid().to_string();
        let run = ContainerId::parse(&name).expect("a UUID's text is a legal id");
        let agent = self.agent_text();
        let sandbox: Arc<str> =
            format!("slaves/{agent}/frameworks/{framework}/executors/{executor}/runs/{run}").into();
        let record = Record::Executor {
            framework: framework.clone(),
            executor: executor.clone(),
            info,
            run: run.clone(),
            sandbox,
            created: turn.now.wall,
        };
        self.commit(record, turn);
        run
    }

    /// Has the run's sandbox made and filled.
    pub(crate) fn prepare(&mut self, run: &ContainerId, turn: &mut Turn<'_>) {
        let Some((framework, executor)) = self.book.owner(run) else { return };
        let Some(entry) = self.book.runs.get(run) else { return };
        let command = self.command_of(framework, executor, run);
        let container = self.container_of(framework, executor, run);
        let images = container.iter().flat_map(|one| one.images().cloned()).collect();
        // In an image other users live than on the host: the runtime gives them their sandbox.
        let has_image = container.is_some_and(|one| one.image.is_some());
        turn.push(Effect::Fetch {
            run: run.clone(),
            sandbox: entry.sandbox.clone(),
            uris: command.map(|command| command.uris.clone()).unwrap_or_default(),
            user: self.user_of(framework, command).filter(|_| !has_image),
            setting: Box::new(self.setting_of(framework, executor, run)),
            images,
            network: if entry.is_pod { network_of_pod(executor) } else { None },
        });
        if let Some(entry) = self.run_mut(run) {
            entry.ordered = Some(turn.now.mono);
        }
    }
}
