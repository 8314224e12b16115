//! Sessions: commands that somebody runs beside a task and talks to through the agent's API
//! (`spec/mesos-http.md` 3.3, LAUNCH_NESTED_CONTAINER_SESSION). They are of this life of the daemon
//! only: the connection of whoever asked for one holds it, and ends with the daemon.

use std::collections::{BTreeMap, VecDeque};

use tepui_container::rlimits;
use tepui_types::{ContainerId, RequestId};
use tepui_wire::v1::{self, container_info};

use crate::book::{is_below, parent_of};
use crate::effect::{SessionSpec, Window};
use crate::environment::command_to_run;
use crate::machine::{Agent, Turn};
use crate::state::{Fate, Phase};
use crate::{ContainerLaunch, Effect, Exit, Response};

/// Sessions at a time: each is some processes and buffers of the agent.
const MAX_SESSIONS: usize = 256;
/// Ends of sessions that are remembered for whoever asks for them.
const MAX_ENDED: usize = 256;

/// Signals that a container ends by whose process is still to come, or that has none: SIGTERM, SIGKILL.
const ENDS: [i32; 2] = [15, 9];

/// What somebody wants of a container.
#[derive(Clone, Debug, PartialEq)]
pub enum ContainerCall {
    /// Run a command beside a task, and talk to it.
    Session(Box<ContainerLaunch>),
    /// Run a container below another one, or alone.
    Launch(Box<ContainerLaunch>),
    /// Tell how it ended, once it has.
    Wait(ContainerId),
    /// Send it a signal.
    Kill {
        /// Which.
        container: ContainerId,
        /// The signal's number.
        signal: i32,
    },
    /// Remove what is left of it.
    Remove(ContainerId),
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    live: BTreeMap<ContainerId, Live>,
    /// The newest of those that are over, oldest first.
    ended: VecDeque<(ContainerId, Exit)>,
}

#[derive(Debug, Default)]
struct Live {
    /// Who waits for its beginning.
    opener: Option<RequestId>,
    /// Who waits for its end.
    waiters: Vec<RequestId>,
}

impl Sessions {
    /// Whether it runs, or ended lately.
    pub(crate) fn knows(&self, session: &ContainerId) -> bool {
        self.is_live(session) || self.exit_of(session).is_some()
    }

    pub(crate) fn is_live(&self, session: &ContainerId) -> bool {
        self.live.contains_key(session)
    }

    /// Nobody asks for its end any more.
    pub(crate) fn forget(&mut self, session: &ContainerId) {
        self.ended.retain(|(one, _)| one != session);
    }

    fn exit_of(&self, session: &ContainerId) -> Option<&Exit> {
        self.ended.iter().rev().find(|(one, _)| one == session).map(|(_, exit)| exit)
    }
}

impl Agent {
    pub(crate) fn container_call(
        &mut self,
        request: RequestId,
        call: ContainerCall,
        turn: &mut Turn<'_>,
    ) {
        let response = match call {
            ContainerCall::Session(launch) => match self.open_session(request, *launch, turn) {
                Ok(()) => return,
                Err(refusal) => refusal,
            },
            ContainerCall::Launch(launch) => match self.launch_container(request, *launch, turn) {
                Ok(()) => return,
                Err(refusal) => refusal,
            },
            ContainerCall::Wait(container) => match self.wait(request, &container) {
                Some(response) => response,
                None => return,
            },
            ContainerCall::Kill { container, signal } => self.signal(&container, signal, turn),
            ContainerCall::Remove(container) => self.remove(&container, turn),
        };
        turn.push(Effect::Respond { request, response });
    }

    /// Whoever asked has gone: an answer is not wanted any more.
    pub(crate) fn request_gone(&mut self, request: RequestId) {
        for live in self.sessions.live.values_mut() {
            live.waiters.retain(|waiter| *waiter != request);
        }
        for run in self.book.runs.values_mut() {
            run.waiters.retain(|waiter| *waiter != request);
        }
    }

    fn open_session(
        &mut self,
        request: RequestId,
        launch: ContainerLaunch,
        turn: &mut Turn<'_>,
    ) -> Result<(), Response> {
        let session = launch.container.clone();
        if self.sessions.live.contains_key(&session) || self.book.runs.contains_key(&session) {
            // As Mesos: whoever launches a container again is told that it is there.
            return Err(Response::Accepted);
        }
        if self.sessions.live.len() >= MAX_SESSIONS {
            let message = format!("The agent has {MAX_SESSIONS} sessions, which is its limit");
            return Err(Response::Refused { status: 503, message });
        }
        let spec = self.session_spec(&launch).map_err(|message| bad(&message))?;
        let live = Live { opener: Some(request), waiters: Vec::new() };
        self.sessions.live.insert(session, live);
        turn.push(Effect::OpenSession(Box::new(spec)));
        Ok(())
    }

    /// A session has the environment, the sandbox and the user of the task that it is beside,
    /// except where its own command says otherwise.
    fn session_spec(&self, launch: &ContainerLaunch) -> Result<SessionSpec, String> {
        let cannot_be_found = |id: &ContainerId| format!("Container {id} cannot be found");
        let beside = parent_of(&launch.container)
            .ok_or("Expecting 'container_id.parent' to be present: a session is beside a task")?;
        let run = self.book.runs.get(&beside).ok_or_else(|| cannot_be_found(&beside))?;
        if run.is_pod {
            return Err(format!(
                "Container {beside} is a pod, which has no process to be beside; give the \
                 container of one of its tasks as 'container_id.parent'"
            ));
        }
        if !matches!(run.phase, Phase::Running | Phase::Registering | Phase::Terminating) {
            return Err(format!("Container {beside} does not run"));
        }
        let mut terminal = None;
        if let Some(info) = &launch.info {
            if info.r#type() != container_info::Type::Mesos {
                return Err("The provided ContainerInfo is not supported: its type has to be \
                            MESOS"
                    .to_owned());
            }
            if info.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some())
                || !info.volumes.is_empty()
                || !info.network_infos.is_empty()
                || info.linux_info.is_some()
            {
                return Err("The provided ContainerInfo is not supported: a session is in the \
                            container of its task, and may only have tty_info and rlimit_info"
                    .to_owned());
            }
            let size = |tty: &v1::TtyInfo| {
                let given = tty.window_size.as_ref();
                let small = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
                given.map_or(Window { rows: 24, columns: 80 }, |given| Window {
                    rows: small(given.rows),
                    columns: small(given.columns),
                })
            };
            terminal = info.tty_info.as_ref().map(size);
            rlimits(info.rlimit_info.as_ref()).map_err(|refusal| refusal.to_string())?;
        }
        let neighbour = self.spec_of(&beside).ok_or_else(|| cannot_be_found(&beside))?;
        let mut environment = neighbour.environment;
        if let Some(added) = &launch.command.environment {
            if let Some(name) = crate::environment::unresolved_secret(added) {
                return Err(format!("Environment variable '{name}' refers to a secret"));
            }
            environment.extend(crate::environment::variables(added));
        }
        let limits = launch.info.as_ref().and_then(|info| info.rlimit_info.clone());
        if neighbour.container.is_some() {
            if launch.command.user.is_some() {
                return Err("In a container a session runs as the container's user; \
                            leave 'command.user' out"
                    .to_owned());
            }
            if limits.is_some() {
                return Err("In a container a session has the container's resource limits; \
                            leave 'container.rlimit_info' out"
                    .to_owned());
            }
        }
        let named = launch.command.user.clone().filter(|_| self.config.switch_user);
        Ok(SessionSpec {
            session: launch.container.clone(),
            sandbox: run.sandbox.clone(),
            command: command_to_run(&launch.command).ok_or("The command has nothing to execute")?,
            environment,
            user: named.or(neighbour.user),
            rlimits: limits,
            network: self.network_of(&beside),
            terminal,
            beside,
        })
    }

    pub(crate) fn session_opened(
        &mut self,
        session: &ContainerId,
        outcome: Result<(), String>,
        turn: &mut Turn<'_>,
    ) {
        let Some(live) = self.sessions.live.get_mut(session) else { return };
        let Some(request) = live.opener.take() else { return };
        let response = match outcome {
            Ok(()) => Response::Streaming,
            Err(text) => {
                self.session_ended(session, Exit::Unknown(text.as_str().into()), turn);
                bad(&text)
            }
        };
        turn.push(Effect::Respond { request, response });
    }

    pub(crate) fn session_ended(&mut self, session: &ContainerId, exit: Exit, turn: &mut Turn<'_>) {
        let Some(live) = self.sessions.live.remove(session) else { return };
        for request in live.waiters {
            let response = Response::Waited { exit: exit.clone(), verdict: None };
            turn.push(Effect::Respond { request, response });
        }
        self.sessions.ended.push_back((session.clone(), exit));
        if self.sessions.ended.len() > MAX_ENDED {
            self.sessions.ended.pop_front();
        }
    }

    /// A run is over, and with it the sessions beside it.
    pub(crate) fn close_sessions(&mut self, beside: &ContainerId, turn: &mut Turn<'_>) {
        for session in self.sessions.live.keys().filter(|session| is_below(session, beside)) {
            turn.push(Effect::CloseSession { session: session.clone() });
        }
    }

    /// How a container ended; `None` while it has not, and then the answer follows.
    fn wait(&mut self, request: RequestId, container: &ContainerId) -> Option<Response> {
        if let Some(live) = self.sessions.live.get_mut(container) {
            live.waiters.push(request);
            return None;
        }
        if let Some(exit) = self.sessions.exit_of(container) {
            return Some(Response::Waited { exit: exit.clone(), verdict: None });
        }
        let verdict = self.verdict_of(container);
        match self.book.runs.get_mut(container) {
            Some(run) => match &run.exit {
                Some((exit, _)) => Some(Response::Waited { exit: exit.clone(), verdict }),
                None => {
                    run.waiters.push(request);
                    None
                }
            },
            None => Some(missing(&format!("Container {container} cannot be found"))),
        }
    }

    fn signal(&mut self, container: &ContainerId, signal: i32, turn: &mut Turn<'_>) -> Response {
        if !(1..=64).contains(&signal) {
            return bad(&format!("{signal} is not the number of a signal"));
        }
        if self.sessions.live.contains_key(container) {
            let session = container.clone();
            turn.push(Effect::SignalSession { session, signal });
            return Response::Done;
        }
        match self.book.runs.get(container).filter(|run| run.exit.is_none()) {
            // A pod has no process, and ends with those below it.
            Some(run) if run.is_pod && ENDS.contains(&signal) => {
                self.end_pod(container, turn);
                Response::Done
            }
            Some(run) if run.pid.is_some() => {
                turn.push(Effect::Signal { run: container.clone(), signal });
                Response::Done
            }
            Some(run) if run.asked.is_some() && ENDS.contains(&signal) => {
                self.end_asked(container, Fate::Killed, turn);
                Response::Done
            }
            _ => {
                missing(&format!("Container '{container}' cannot be found (or is already killed)"))
            }
        }
    }
}

pub(crate) fn bad(message: &str) -> Response {
    Response::Refused { status: 400, message: message.to_owned() }
}

fn missing(message: &str) -> Response {
    Response::Refused { status: 404, message: message.to_owned() }
}
