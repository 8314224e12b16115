//! Checks and health checks of command tasks: asked by the driver, judged here.

use tepui_types::{FrameworkId, Mono, Span, TaskId, TaskState};
use tepui_wire::v1::network_info::Protocol;
use tepui_wire::v1::{self, check_info, check_status_info, health_check, task_status::Reason};

use crate::environment::command_to_run;
use crate::kill::grace_of;
use crate::machine::{Agent, Turn};
use crate::state::{Fate, Task};
use crate::status::Saying;
use crate::timers::{Timer, TimerKey};
use crate::{Effect, Probe, ProbeId, ProbeOutcome};

/// Which of a task's two checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Check,
    Health,
}

/// One check of one task.
#[derive(Clone, Debug)]
pub(crate) struct Checker {
    target: Target,
    interval: Span,
    timeout: Span,
    timer: Option<TimerKey>,
    probe: Option<ProbeId>,
    /// Health: until when failures do not count, as long as none succeeded.
    grace_until: Mono,
    /// Health: how many failures in a row end the task.
    limit: u32,
    failures: u32,
    succeeded: bool,
    healthy: Option<bool>,
    /// Check: what was reported last.
    reported: Option<v1::CheckStatusInfo>,
}

#[derive(Clone, Debug)]
enum Target {
    Http { tls: bool, ipv6: bool, port: u16, path: String },
    Tcp { ipv6: bool, port: u16 },
    Command(Box<v1::CommandInfo>),
}

impl Checker {
    fn new(target: Target, interval: f64, timeout: f64) -> Self {
        Self {
            target,
            interval: Span::from_secs_f64(interval).unwrap_or(Span::from_secs(10)),
            timeout: Span::from_secs_f64(timeout).unwrap_or(Span::from_secs(20)),
            timer: None,
            probe: None,
            grace_until: Mono::default(),
            limit: 0,
            failures: 0,
            succeeded: false,
            healthy: None,
            reported: None,
        }
    }
}

impl Task {
    fn checker(&mut self, which: Which) -> &mut Option<Box<Checker>> {
        match which {
            Which::Check => &mut self.check,
            Which::Health => &mut self.health,
        }
    }
}

impl Agent {
    /// Begins to check a task that runs.
    pub(crate) fn start_checks(
        &mut self,
        framework: &FrameworkId,
        name: &TaskId,
        turn: &mut Turn<'_>,
    ) {
        let now = turn.now;
        let Some(task) = self.book.task_mut(framework, name) else { return };
        let ran = task.running_since.map_or(Span::ZERO, |since| now.wall.since(since));
        let newest = task.statuses.last();
        let mut due = Vec::new();
        if let Some(info) = &task.info.check
            && let Some(target) = check_target(info)
        {
            let mut checker = Checker::new(target, info.interval_seconds(), info.timeout_seconds());
            checker.reported = newest.and_then(|status| status.check_status);
            let delay = Span::from_secs_f64(info.delay_seconds()).unwrap_or(Span::from_secs(15));
            task.check = Some(Box::new(checker));
            due.push((Which::Check, delay));
        }
        if let Some(info) = &task.info.health_check
            && let Some(target) = health_target(info)
        {
            let mut checker = Checker::new(target, info.interval_seconds(), info.timeout_seconds());
            let grace = Span::from_secs_f64(info.grace_period_seconds());
            checker.grace_until =
                now.mono + grace.unwrap_or(Span::from_secs(10)).saturating_sub(ran);
            checker.limit = info.consecutive_failures();
            checker.healthy = newest.and_then(|status| status.healthy);
            checker.succeeded = checker.healthy == Some(true);
            let delay = Span::from_secs_f64(info.delay_seconds()).unwrap_or(Span::from_secs(15));
            task.health = Some(Box::new(checker));
            due.push((Which::Health, delay));
        }
        for (which, delay) in due {
            self.schedule(framework, name, which, now.mono + delay.saturating_sub(ran));
        }
    }

    fn schedule(&mut self, framework: &FrameworkId, name: &TaskId, which: Which, at: Mono) {
        let Self { book, timers, .. } = self;
        let Some(task) = book.task_mut(framework, name) else { return };
        if let Some(checker) = task.checker(which) {
            let timer = timers.set(at, Timer::Check(framework.clone(), name.clone(), which));
            checker.timer = Some(timer);
        }
    }

    /// Asks the task once.
    pub(crate) fn ask(
        &mut self,
        framework: &FrameworkId,
        name: &TaskId,
        which: Which,
        turn: &mut Turn<'_>,
    ) {
        let Some(task) = self.book.task_mut(framework, name) else { return };
        let Some(checker) = task.checker(which) else { return };
        checker.timer = None;
        // Zero means to wait for the answer however long it takes.
        let timeout = if checker.timeout == Span::ZERO { Span::MAX } else { checker.timeout };
        let target = checker.target.clone();
        let Some(run) = self.live_task_run(framework, name) else { return };
        let what = match target {
            Target::Http { tls, ipv6, port, path } => Probe::Http { tls, ipv6, port, path },
            Target::Tcp { ipv6, port } => Probe::Tcp { ipv6, port },
            Target::Command(command) => {
                let Some(what) = self.command_probe(framework, name, &command) else { return };
                what
            }
        };
        self.probes_made += 1;
        let probe = ProbeId(self.probes_made);
        self.probes.insert(probe, (framework.clone(), name.clone(), which));
        if let Some(checker) =
            self.book.task_mut(framework, name).and_then(|task| task.checker(which).as_mut())
        {
            checker.probe = Some(probe);
        }
        turn.push(Effect::Probe { probe, run, what, timeout });
    }

    /// A command check runs with the task's environment and what it adds to it.
    fn command_probe(
        &self,
        framework: &FrameworkId,
        name: &TaskId,
        command: &v1::CommandInfo,
    ) -> Option<Probe> {
        let framework = self.book.framework(framework)?;
        let task = framework.tasks.get(name)?;
        let executor = framework.executors.get(&task.executor)?;
        let own = task.info.command.as_ref();
        let mut environment = self.environment_of(framework, executor, Some(task), own);
        if let Some(added) = &command.environment {
            environment.extend(crate::environment::variables(added));
        }
        Some(Probe::Command {
            command: command_to_run(command)?,
            environment,
            user: self.user_of(framework, command.user.as_ref().map(|_| command).or(own)),
        })
    }

    pub(crate) fn probed(&mut self, probe: ProbeId, outcome: ProbeOutcome, turn: &mut Turn<'_>) {
        let Some((framework, name, which)) = self.probes.remove(&probe) else { return };
        let Some(task) = self.book.task_mut(&framework, &name) else { return };
        let Some(checker) = task.checker(which) else { return };
        if checker.probe != Some(probe) {
            return;
        }
        checker.probe = None;
        let at = turn.now.mono + checker.interval;
        match which {
            Which::Check => self.checked(&framework, &name, &outcome, turn),
            Which::Health => self.health_checked(&framework, &name, &outcome, turn),
        }
        self.schedule(&framework, &name, which, at);
    }

    /// A check's result is told when it differs from the one told before.
    fn checked(
        &mut self,
        framework: &FrameworkId,
        name: &TaskId,
        outcome: &ProbeOutcome,
        turn: &mut Turn<'_>,
    ) {
        let Some(task) = self.book.task_mut(framework, name) else { return };
        let Some(info) = &task.info.check else { return };
        let result = check_result(info, outcome);
        let Some(checker) = &mut task.check else { return };
        if checker.reported.replace(result) == Some(result) {
            return;
        }
        let healthy = task.health.as_ref().and_then(|health| health.healthy);
        let saying = Saying::executor(TaskState::Running).because(Reason::TaskCheckStatusUpdated);
        let saying = Saying { check_status: Some(result), healthy, ..saying };
        self.say(framework, name, saying, turn);
    }

    /// The first success, the first one after failures, and every failure that counts are told;
    /// too many failures in a row end the task.
    fn health_checked(
        &mut self,
        framework: &FrameworkId,
        name: &TaskId,
        outcome: &ProbeOutcome,
        turn: &mut Turn<'_>,
    ) {
        let Some(task) = self.book.task_mut(framework, name) else { return };
        let check_status = task.check.as_ref().and_then(|check| check.reported);
        let grace = grace_of(None, &task.info);
        let Some(checker) = &mut task.health else { return };
        let success = is_healthy(outcome);
        let mut too_many = false;
        if success {
            let news = checker.healthy != Some(true) || checker.failures > 0;
            (checker.succeeded, checker.failures) = (true, 0);
            if !news {
                return;
            }
        } else {
            if !checker.succeeded && turn.now.mono <= checker.grace_until {
                return;
            }
            checker.failures += 1;
            too_many = checker.failures >= checker.limit;
        }
        checker.healthy = Some(success);
        let reason = Reason::TaskHealthCheckStatusUpdated;
        let saying = Saying::executor(TaskState::Running).because(reason);
        let message = (!success).then(|| failure_text(outcome));
        let saying = Saying { healthy: Some(success), check_status, message, ..saying };
        self.say(framework, name, saying, turn);
        if too_many && let Some(run) = self.live_task_run(framework, name) {
            self.end_command(&run, grace, Fate::Unhealthy, turn);
        }
    }

    /// The task ran as long as it may: it is killed at once.
    pub(crate) fn completion_reached(
        &mut self,
        framework: &FrameworkId,
        name: &TaskId,
        turn: &mut Turn<'_>,
    ) {
        let Some(task) = self.book.task_mut(framework, name) else { return };
        task.completion = None;
        if let Some(run) = self.live_task_run(framework, name) {
            self.end_command(&run, Span::ZERO, Fate::CompletionTime, turn);
        }
    }

    /// Nobody asks the task any more.
    pub(crate) fn stop_checks(
        &mut self,
        framework: &FrameworkId,
        name: &TaskId,
        turn: &mut Turn<'_>,
    ) {
        let Some(task) = self.book.task_mut(framework, name) else { return };
        let checkers = [task.check.take(), task.health.take()];
        for checker in checkers.into_iter().flatten() {
            self.cancel(checker.timer);
            if let Some(probe) = checker.probe {
                self.probes.remove(&probe);
                turn.push(Effect::CancelProbe { probe });
            }
        }
    }

    /// What accompanies a live task ends.
    pub(crate) fn forget_task_timers(
        &mut self,
        framework: &FrameworkId,
        name: &TaskId,
        turn: &mut Turn<'_>,
    ) {
        self.stop_checks(framework, name, turn);
        let completion = self.book.task_mut(framework, name).and_then(|one| one.completion.take());
        self.cancel(completion);
    }
}

fn port(number: u32) -> Option<u16> {
    u16::try_from(number).ok()
}

fn path(path: Option<&str>) -> String {
    match path.unwrap_or_default() {
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    }
}

fn check_target(info: &v1::CheckInfo) -> Option<Target> {
    Some(match info.r#type() {
        check_info::Type::Http => {
            let http = info.http.as_ref()?;
            let (port, path) = (port(http.port)?, path(http.path.as_deref()));
            Target::Http { tls: false, ipv6: false, port, path }
        }
        check_info::Type::Tcp => Target::Tcp { ipv6: false, port: port(info.tcp.as_ref()?.port)? },
        check_info::Type::Command => {
            Target::Command(Box::new(info.command.as_ref()?.command.clone()))
        }
        check_info::Type::Unknown => return None,
    })
}

fn health_target(info: &v1::HealthCheck) -> Option<Target> {
    Some(match info.r#type() {
        health_check::Type::Http => {
            let http = info.http.as_ref()?;
            Target::Http {
                tls: http.scheme() == "https",
                ipv6: http.protocol() == Protocol::IPv6,
                port: port(http.port)?,
                path: path(http.path.as_deref()),
            }
        }
        health_check::Type::Tcp => {
            let tcp = info.tcp.as_ref()?;
            Target::Tcp { ipv6: tcp.protocol() == Protocol::IPv6, port: port(tcp.port)? }
        }
        health_check::Type::Command => Target::Command(Box::new(info.command.clone()?)),
        health_check::Type::Unknown => return None,
    })
}

fn is_healthy(outcome: &ProbeOutcome) -> bool {
    match outcome {
        ProbeOutcome::Http(status) => (200..400).contains(status),
        ProbeOutcome::Tcp(connected) => *connected,
        ProbeOutcome::Command(code) => *code == 0,
        ProbeOutcome::Failed(_) => false,
    }
}

fn failure_text(outcome: &ProbeOutcome) -> String {
    match outcome {
        ProbeOutcome::Http(status) => format!("Health check answered with HTTP status {status}"),
        ProbeOutcome::Tcp(_) => "Health check could not connect".to_owned(),
        ProbeOutcome::Command(code) => format!("Health check command exited with status {code}"),
        ProbeOutcome::Failed(why) => format!("Health check failed: {why}"),
    }
}

/// The status of a check that has no result yet: its kind and nothing in it.
pub(crate) fn empty_result(info: &v1::CheckInfo) -> v1::CheckStatusInfo {
    check_result(info, &ProbeOutcome::Failed(String::new()))
}

fn check_result(info: &v1::CheckInfo, outcome: &ProbeOutcome) -> v1::CheckStatusInfo {
    let mut result = v1::CheckStatusInfo { r#type: info.r#type, ..v1::CheckStatusInfo::default() };
    match info.r#type() {
        check_info::Type::Command => {
            let exit_code = match outcome {
                ProbeOutcome::Command(code) => Some(*code),
                _ => None,
            };
            result.command = Some(check_status_info::Command { exit_code });
        }
        check_info::Type::Http => {
            let status_code = match outcome {
                ProbeOutcome::Http(status) => Some(u32::from(*status)),
                _ => None,
            };
            result.http = Some(check_status_info::Http { status_code });
        }
        check_info::Type::Tcp => {
            let succeeded = match outcome {
                ProbeOutcome::Tcp(connected) => Some(*connected),
                _ => None,
            };
            result.tcp = Some(check_status_info::Tcp { succeeded });
        }
        check_info::Type::Unknown => {}
    }
    result
}
