//! Commands and environments as processes get them (`spec/mesos-http.md` 2.5).

use tepui_link::Leftover;
use tepui_types::{ContainerId, Ranges, Resources, Span, TaskId};
use tepui_wire::v1::{self, environment::variable, secret};

use crate::book::parent_of;
use crate::machine::Agent;
use crate::state::{Executor, Framework, Task};
use crate::volumes::secret_files;
use crate::{Command, RunSpec, SANDBOX_MARK};

impl Agent {
    /// The command that a run executes: an executor's own, or its task's.
    pub(crate) fn command_of<'a>(
        &self,
        framework: &'a Framework,
        executor: &'a Executor,
        run: &ContainerId,
    ) -> Option<&'a v1::CommandInfo> {
        match (&executor.info, self.task_of(framework, executor, run)) {
            (_, Some(task)) => task.info.command.as_ref(),
            (info, None) => info.as_ref()?.command.as_ref(),
        }
    }

    /// The task whose process a run is: a command task, or one of a pod.
    pub(crate) fn task_of<'a>(
        &self,
        framework: &'a Framework,
        executor: &'a Executor,
        run: &ContainerId,
    ) -> Option<&'a Task> {
        let entry = self.book.runs.get(run);
        if entry.is_some_and(|run| run.asked.is_some()) {
            return None;
        }
        let own = entry.and_then(|run| run.task.as_ref());
        let command = || executor.tasks.first().filter(|_| executor.is_command());
        framework.tasks.get(own.or_else(command)?)
    }

    /// The system user of a command; `None` is the daemon's own.
    pub(crate) fn user_of(
        &self,
        framework: &Framework,
        command: Option<&v1::CommandInfo>,
    ) -> Option<String> {
        let named = command.and_then(|command| command.user.clone());
        let user =
            named.filter(|user| !user.is_empty()).unwrap_or_else(|| framework.info.user.clone());
        (self.config.switch_user && !user.is_empty()).then_some(user)
    }

    /// Everything that the launcher needs for a run; `None` when nobody owns it, or its command says
    /// nothing to execute.
    pub(crate) fn spec_of(&self, run: &ContainerId) -> Option<RunSpec> {
        if self.book.runs.get(run)?.asked.is_some() {
            return self.asked_spec(run);
        }
        let (framework, executor) = self.book.owner(run)?;
        self.run_spec(framework, executor, run)
    }

    fn run_spec(
        &self,
        framework: &Framework,
        executor: &Executor,
        run: &ContainerId,
    ) -> Option<RunSpec> {
        let command = self.command_of(framework, executor, run)?;
        let task = self.task_of(framework, executor, run);
        let info = match task {
            Some(task) => task.info.container.as_deref(),
            None => executor.info.as_ref().and_then(|info| info.container.as_deref()),
        };
        let container = self.container_of(framework, executor, run);
        // An image may say alone what is executed.
        let has_image = container.as_ref().is_some_and(|one| one.image.is_some());
        let to_run = command_to_run(command);
        let to_run = to_run.or_else(|| has_image.then(|| Command::Shell(String::new())))?;
        // Each task of a pod is held to what is its own; the ports are the pod's, as its network is.
        let resources = match task.filter(|_| executor.is_pod()) {
            Some(task) => sum(&task.info.resources),
            None => resources_of(framework, executor),
        };
        let is_own = container.as_ref().is_some_and(|one| one.network.is_own());
        Some(RunSpec {
            run: run.clone(),
            title: task
                .map_or_else(|| executor.id.to_string(), |one| one.info.task_id.value.clone()),
            sandbox: self.book.runs.get(run)?.sandbox.clone(),
            role: executor.role.clone(),
            command: to_run,
            environment: self.environment_of(framework, executor, task, Some(command)),
            secret_variables: command.environment.iter().flat_map(secret_variables).collect(),
            secret_files: info
                .map(secret_files)
                .unwrap_or_default()
                .into_iter()
                .map(|secret| secret.name)
                .collect(),
            user: self.user_of(framework, Some(command)),
            rlimits: info.and_then(|info| info.rlimit_info.clone()),
            ports: ports_of(framework, executor),
            resources,
            network: parent_of(run).filter(|_| !is_own).and_then(|above| self.network_of(&above)),
            container: container.map(Box::new),
            limits: Box::new(self.limits_of(framework, executor, run)),
        })
    }

    /// The complete environment of a process in the sandbox of an executor or of its task.
    pub(crate) fn environment_of(
        &self,
        framework: &Framework,
        executor: &Executor,
        task: Option<&Task>,
        command: Option<&v1::CommandInfo>,
    ) -> Vec<(String, String)> {
        let container = self.container_in(framework, executor, task, command);
        let has_image = container.as_ref().is_some_and(|one| one.image.is_some());
        // The host's PATH and language are not the image's.
        let mut list = if has_image { Vec::new() } else { self.config.environment.clone() };
        let mut set = |name: &str, value: &str| list.push((name.to_owned(), value.to_owned()));
        let flag = |on: bool| if on { "1" } else { "0" };
        set("MESOS_FRAMEWORK_ID", framework.id.as_str());
        set("MESOS_EXECUTOR_ID", executor.id.as_str());
        set("MESOS_SLAVE_ID", &self.agent_text());
        set("MESOS_DIRECTORY", SANDBOX_MARK);
        set("MESOS_SANDBOX", SANDBOX_MARK);
        set("MESOS_SLAVE_PID", &format!("slave(1)@{}", self.config.endpoint));
        set("MESOS_AGENT_ENDPOINT", &self.config.endpoint);
        set("MESOS_CHECKPOINT", flag(framework.info.checkpoint()));
        set("MESOS_HTTP_COMMAND_EXECUTOR", "0");
        set("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", &duration_text(self.shutdown_grace(executor)));
        if framework.info.checkpoint() {
            let backoff = self.config.executor_reregistration_timeout;
            set("MESOS_RECOVERY_TIMEOUT", &duration_text(self.config.recovery_timeout));
            set("MESOS_SUBSCRIPTION_BACKOFF_MAX", &duration_text(backoff));
        }
        set("LIBPROCESS_PORT", "0");
        set("LIBPROCESS_IP", &self.config.ip);
        if let Some(role) = &executor.role {
            set("MESOS_ALLOCATION_ROLE", role.as_str());
        }
        if let Some(task) = task.filter(|_| executor.is_pod()) {
            set("MESOS_TASK_ID", &task.info.task_id.value);
            let own = task.run.as_ref().and_then(|run| self.addresses_of(run)?.first());
            let address = own.map_or_else(|| self.config.ip.clone(), ToString::to_string);
            set("MESOS_CONTAINER_IP", &address);
        }
        if let Some(container) = &container {
            list.extend(Self::container_environment(executor, container));
        }
        list.extend(
            command.and_then(|one| one.environment.as_ref()).into_iter().flat_map(variables),
        );
        list
    }

    /// How long an executor has from SHUTDOWN to its end.
    pub(crate) fn shutdown_grace(&self, executor: &Executor) -> Span {
        let own = executor.info.as_ref().and_then(|info| info.shutdown_grace_period);
        own.map_or(self.config.executor_shutdown_grace, |own| span_of(&own))
    }
}

/// What an executor's run was given: its own resources and its tasks'. Amounts that cannot be read
/// count as none; the control plane has checked them.
pub(crate) fn resources_of(framework: &Framework, executor: &Executor) -> Resources {
    sum_of(framework, executor, |_| true)
}

/// The same without tasks that are over.
pub(crate) fn held_by(framework: &Framework, executor: &Executor) -> Resources {
    sum_of(framework, executor, |task| !task.is_terminal())
}

fn sum_of(framework: &Framework, executor: &Executor, counts: impl Fn(&Task) -> bool) -> Resources {
    let own = executor.info.iter().flat_map(|info| &info.resources);
    let tasks = executor.tasks.iter().filter_map(|task: &TaskId| framework.tasks.get(task));
    let tasks = tasks.filter(|task| counts(task));
    sum(own.chain(tasks.flat_map(|task| &task.info.resources)))
}

pub(crate) fn sum<'a>(wire: impl IntoIterator<Item = &'a v1::Resource>) -> Resources {
    let mut sum = Resources::new();
    for one in wire {
        if let Ok(decoded) = tepui_wire::resources::decode(std::slice::from_ref(one)) {
            sum.add_all(&decoded.resources);
        }
    }
    sum
}

/// What an executor and its live tasks hold, as it was told.
pub(crate) fn leftover_of(framework: &Framework, executor: &Executor) -> Leftover {
    let own = executor.info.iter().flat_map(|info| &info.resources);
    let tasks = executor.tasks.iter().filter_map(|task| framework.tasks.get(task));
    let tasks = tasks.filter(|task| !task.is_terminal()).flat_map(|task| &task.info.resources);
    Leftover { framework: framework.id.clone(), resources: own.chain(tasks).cloned().collect() }
}

/// The ports that an executor and its tasks may use now: those of a task that is terminal may be
/// another's already.
pub(crate) fn live_ports_of(framework: &Framework, executor: &Executor) -> Ranges {
    let held = leftover_of(framework, executor).resources;
    let decoded = held.iter().filter_map(|one| {
        tepui_wire::resources::decode(std::slice::from_ref(one)).ok().map(|one| one.resources)
    });
    let mut sum = Resources::new();
    decoded.for_each(|one| sum.add_all(&one));
    sum.ports()
}

/// The ports of an executor and its tasks.
pub(crate) fn ports_of(framework: &Framework, executor: &Executor) -> Ranges {
    resources_of(framework, executor).ports()
}

/// A wire duration; negative ones are none.
pub(crate) fn span_of(duration: &v1::DurationInfo) -> Span {
    Span::from_nanos(u64::try_from(duration.nanoseconds).unwrap_or(0))
}

/// What a `CommandInfo` executes; `None` when it says nothing.
pub(crate) fn command_to_run(command: &v1::CommandInfo) -> Option<Command> {
    let value = command.value.clone().unwrap_or_default();
    if command.shell() {
        return (!value.is_empty()).then_some(Command::Shell(value));
    }
    let program = Some(value).filter(|value| !value.is_empty());
    let program = program.or_else(|| command.arguments.first().cloned())?;
    let arguments = if command.arguments.is_empty() {
        vec![program.clone()]
    } else {
        command.arguments.clone()
    };
    Some(Command::Exec { program, arguments })
}

pub(crate) fn variables(environment: &v1::Environment) -> impl Iterator<Item = (String, String)> {
    environment.variables.iter().filter_map(|variable| {
        let secret = || {
            let data = &variable.secret.as_ref()?.value.as_ref()?.data;
            String::from_utf8(data.clone()).ok()
        };
        let value = match variable.r#type() {
            variable::Type::Secret => secret()?,
            _ => variable.value.clone().unwrap_or_default(),
        };
        Some((variable.name.clone(), value))
    })
}

/// Names of variables whose values are secrets.
pub(crate) fn secret_variables(environment: &v1::Environment) -> impl Iterator<Item = String> {
    let secret = |one: &&v1::environment::Variable| one.r#type() == variable::Type::Secret;
    environment.variables.iter().filter(secret).map(|variable| variable.name.clone())
}

/// The first variable whose value only a secret resolver would know.
pub(crate) fn unresolved_secret(environment: &v1::Environment) -> Option<&str> {
    let unresolved = |secret: &v1::Secret| secret.r#type() != secret::Type::Value;
    environment
        .variables
        .iter()
        .filter(|one| one.r#type() == variable::Type::Secret)
        .find(|one| one.secret.as_ref().is_none_or(unresolved))
        .map(|one| one.name.as_str())
}

/// A duration as Mesos writes it: a number and one of ns, us, ms, secs, mins, hrs, days, weeks.
fn duration_text(span: Span) -> String {
    const UNITS: [(u64, &str); 8] = [
        (604_800_000_000_000, "weeks"),
        (86_400_000_000_000, "days"),
        (3_600_000_000_000, "hrs"),
        (60_000_000_000, "mins"),
        (1_000_000_000, "secs"),
        (1_000_000, "ms"),
        (1_000, "us"),
        (1, "ns"),
    ];
    let nanos = span.as_nanos();
    let exact = UNITS.iter().find(|(unit, _)| nanos >= *unit && nanos.is_multiple_of(*unit));
    exact.map_or_else(|| "0ns".to_owned(), |(unit, name)| format!("{}{name}", nanos / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_mesos_reads_them() {
        assert_eq!(duration_text(Span::from_secs(5)), "5secs");
        assert_eq!(duration_text(Span::from_secs(900)), "15mins");
        assert_eq!(duration_text(Span::from_millis(1500)), "1500ms");
        assert_eq!(duration_text(Span::from_secs(604_800)), "1weeks");
        assert_eq!(duration_text(Span::ZERO), "0ns");
    }

    #[test]
    fn a_command_without_a_shell_gets_its_arguments_as_argv() {
        let command = v1::CommandInfo {
            shell: Some(false),
            value: Some("/bin/echo".into()),
            arguments: vec!["echo".into(), "a".into()],
            ..v1::CommandInfo::default()
        };
        let expected = Command::Exec {
            program: "/bin/echo".into(),
            arguments: vec!["echo".into(), "a".into()],
        };
        assert_eq!(command_to_run(&command), Some(expected));
        let bare = v1::CommandInfo { arguments: Vec::new(), ..command };
        let expected =
            Command::Exec { program: "/bin/echo".into(), arguments: vec!["/bin/echo".into()] };
        assert_eq!(command_to_run(&bare), Some(expected));
    }
}
