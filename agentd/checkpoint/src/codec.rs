//! Records as protobuf, both ways.

use prost::Message;
use tepui_agent::{ContainerLaunch, Exit, Record, Verdict};
use tepui_link::Leftover;
use tepui_link::codec::{task_state, wire_state};
use tepui_types::{
    AgentId, BootId, ContainerId, ExecutorId, FrameworkId, InvalidId, Role, TaskId, Term, Uuid,
    Wall,
};
use tepui_wire::v1::task_status::Reason;

use crate::proto::{self, exited, record::Fact};

/// Why the content of a whole frame is not a list of records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The content is not the protobuf that it should be.
    #[error("the content is not a batch of records: {0}")]
    Protobuf(prost::DecodeError),
    /// A record of a kind that this version does not know.
    #[error(
        "a record is of a kind that a newer version wrote, and only such a version can go on with \
         it; the journal is as it was"
    )]
    UnknownKind,
    /// A record lacks a part.
    #[error("a record has no {0}")]
    Missing(&'static str),
    /// A record holds what is not legal there.
    #[error("a record has an invalid {what}: {why}")]
    Invalid {
        /// Which part.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// Writes records as the content of one frame.
pub(crate) fn encode(records: &[Record], out: &mut Vec<u8>) {
    // One record at a time: this is the encoding of `Batch` without a copy of all of them.
    for record in records {
        let record = proto::Record { fact: Some(fact(record)) };
        prost::encoding::message::encode(1, &record, out);
    }
}

/// Reads the content of one frame.
pub(crate) fn decode(payload: &[u8]) -> Result<Vec<Record>, DecodeError> {
    let batch = proto::Batch::decode(payload).map_err(DecodeError::Protobuf)?;
    batch.records.into_iter().map(record).collect()
}

fn fact(record: &Record) -> Fact {
    match record {
        Record::Identity { agent, info } => Fact::Identity(proto::Identity {
            agent_id: agent.to_string(),
            info: Some((**info).clone()),
        }),
        Record::IdentityGone => Fact::IdentityGone(proto::IdentityGone {}),
        Record::Boot(boot) => Fact::Boot(boot.to_string()),
        Record::Term(term) => Fact::Term(term.0),
        Record::Framework(info) => Fact::Framework((**info).clone()),
        Record::FrameworkGone(id) => Fact::FrameworkGone(id.to_string()),
        Record::Executor { framework, executor, info, run, sandbox, created } => {
            Fact::Executor(proto::Executor {
                framework_id: framework.to_string(),
                executor_id: executor.to_string(),
                info: info.as_deref().cloned(),
                run: run.to_string(),
                sandbox: sandbox.to_string(),
                created_nanos: created.as_nanos(),
            })
        }
        Record::Ownerless { run, sandbox, leftover, is_pod } => Fact::Ownerless(proto::Ownerless {
            run: run.to_string(),
            sandbox: sandbox.to_string(),
            framework_id: leftover.iter().map(|one| one.framework.as_str()).collect(),
            resources: leftover.iter().flat_map(|one| one.resources.clone()).collect(),
            is_pod: *is_pod,
        }),
        Record::TaskRun { framework, executor, task, run, sandbox } => {
            Fact::TaskRun(proto::TaskRun {
                framework_id: framework.to_string(),
                executor_id: executor.to_string(),
                task_id: task.to_string(),
                run: run.to_string(),
                sandbox: sandbox.to_string(),
            })
        }
        Record::Task { framework, executor, role, task, grouped } => Fact::Task(proto::Task {
            framework_id: framework.to_string(),
            executor_id: executor.to_string(),
            role: role.to_string(),
            task: Some((**task).clone()),
            grouped: *grouped,
        }),
        Record::Refused { framework, executor, role, task } => Fact::Refused(proto::Task {
            framework_id: framework.to_string(),
            executor_id: executor.to_string(),
            role: role.to_string(),
            task: Some((**task).clone()),
            grouped: false,
        }),
        Record::Group { framework, executor, tasks } => Fact::Group(proto::Group {
            framework_id: framework.to_string(),
            executor_id: executor.to_string(),
            task_ids: tasks.iter().map(TaskId::to_string).collect(),
        }),
        Record::Starting { run } => Fact::StartingRun(run.to_string()),
        Record::Delivered { framework, task } => Fact::Delivered(key(framework, task)),
        Record::KillAsked { framework, task } => Fact::KillAsked(key(framework, task)),
        Record::Ended { framework, task } => Fact::Ended(key(framework, task)),
        Record::RunningSince { framework, task, since } => {
            Fact::RunningSince(proto::RunningSince {
                framework_id: framework.to_string(),
                task_id: task.to_string(),
                since_nanos: since.as_nanos(),
            })
        }
        Record::Update { framework, status } => Fact::Update(proto::Update {
            framework_id: framework.to_string(),
            status: Some((**status).clone()),
        }),
        Record::Acknowledged { framework, task, update } => {
            Fact::Acknowledged(proto::Acknowledged {
                framework_id: framework.to_string(),
                task_id: task.to_string(),
                uuid: update.as_bytes().to_vec(),
            })
        }
        Record::Exited { run, exit, at } => Fact::Exited(proto::Exited {
            run: run.to_string(),
            at_nanos: at.as_nanos(),
            exit: Some(wire_exit(exit)),
        }),
        Record::SandboxRemoved { run } => Fact::SandboxRemovedRun(run.to_string()),
        Record::Asked { launch, sandbox } => Fact::Asked(wire_asked(launch, sandbox)),
        Record::Verdict { run, verdict } => Fact::Verdict(wire_verdict(run, verdict)),
    }
}

fn wire_exit(exit: &Exit) -> exited::Exit {
    match exit {
        Exit::Code(code) => exited::Exit::Code(*code),
        Exit::Signal(signal) => exited::Exit::Signal(*signal),
        Exit::Unknown(why) => exited::Exit::Unknown(why.to_string()),
    }
}

fn wire_asked(launch: &ContainerLaunch, sandbox: &str) -> proto::Asked {
    proto::Asked {
        run: launch.container.to_string(),
        sandbox: sandbox.to_string(),
        command: Some(launch.command.clone()),
        container: launch.info.clone(),
        resources: launch.resources.clone(),
        limits: launch.limits.clone().into_iter().collect(),
    }
}

fn wire_verdict(run: &ContainerId, verdict: &Verdict) -> proto::Verdict {
    proto::Verdict {
        run: run.to_string(),
        state: wire_state(verdict.state).into(),
        reason: verdict.reason.into(),
        message: verdict.message.clone(),
        limitation: verdict.limitation.clone(),
    }
}

fn key(framework: &FrameworkId, task: &TaskId) -> proto::TaskKey {
    proto::TaskKey { framework_id: framework.to_string(), task_id: task.to_string() }
}

fn invalid(what: &'static str) -> impl FnOnce(InvalidId) -> DecodeError {
    move |error| DecodeError::Invalid { what, why: error.to_string() }
}

fn framework_id(text: &str) -> Result<FrameworkId, DecodeError> {
    FrameworkId::parse(text).map_err(invalid("framework id"))
}

fn executor_id(text: &str) -> Result<ExecutorId, DecodeError> {
    ExecutorId::parse(text).map_err(invalid("executor id"))
}

fn task_id(text: &str) -> Result<TaskId, DecodeError> {
    TaskId::parse(text).map_err(invalid("task id"))
}

fn run_id(text: &str) -> Result<ContainerId, DecodeError> {
    ContainerId::parse(text).map_err(invalid("run"))
}

fn role(text: &str) -> Result<Role, DecodeError> {
    Role::parse(text).map_err(|error| DecodeError::Invalid { what: "role", why: error.to_string() })
}

fn pair(key: &proto::TaskKey) -> Result<(FrameworkId, TaskId), DecodeError> {
    Ok((framework_id(&key.framework_id)?, task_id(&key.task_id)?))
}

fn record(wire: proto::Record) -> Result<Record, DecodeError> {
    Ok(match wire.fact.ok_or(DecodeError::UnknownKind)? {
        Fact::Identity(one) => Record::Identity {
            agent: AgentId::parse(&one.agent_id).map_err(invalid("agent id"))?,
            info: Box::new(one.info.ok_or(DecodeError::Missing("agent description"))?),
        },
        Fact::IdentityGone(proto::IdentityGone {}) => Record::IdentityGone,
        Fact::Boot(boot) => Record::Boot(BootId::parse(&boot).map_err(invalid("boot id"))?),
        Fact::Term(term) => Record::Term(Term(term)),
        Fact::Framework(info) => Record::Framework(Box::new(info)),
        Fact::FrameworkGone(id) => Record::FrameworkGone(framework_id(&id)?),
        Fact::Executor(one) => Record::Executor {
            framework: framework_id(&one.framework_id)?,
            executor: executor_id(&one.executor_id)?,
            info: one.info.map(Box::new),
            run: run_id(&one.run)?,
            sandbox: one.sandbox.into(),
            created: Wall::from_nanos(one.created_nanos),
        },
        Fact::Ownerless(one) => {
            let resources = one.resources;
            let leftover = match one.framework_id.as_str() {
                "" => None,
                id => Some(Leftover { framework: framework_id(id)?, resources }),
            };
            Record::Ownerless {
                run: run_id(&one.run)?,
                sandbox: one.sandbox.into(),
                leftover,
                is_pod: one.is_pod,
            }
        }
        Fact::TaskRun(one) => Record::TaskRun {
            framework: framework_id(&one.framework_id)?,
            executor: executor_id(&one.executor_id)?,
            task: task_id(&one.task_id)?,
            run: run_id(&one.run)?,
            sandbox: one.sandbox.into(),
        },
        Fact::Task(one) => Record::Task {
            framework: framework_id(&one.framework_id)?,
            executor: executor_id(&one.executor_id)?,
            role: role(&one.role)?,
            task: Box::new(one.task.ok_or(DecodeError::Missing("task description"))?),
            grouped: one.grouped,
        },
        Fact::Refused(one) => Record::Refused {
            framework: framework_id(&one.framework_id)?,
            executor: executor_id(&one.executor_id)?,
            role: role(&one.role)?,
            task: Box::new(one.task.ok_or(DecodeError::Missing("task description"))?),
        },
        Fact::Group(one) => Record::Group {
            framework: framework_id(&one.framework_id)?,
            executor: executor_id(&one.executor_id)?,
            tasks: one.task_ids.iter().map(|id| task_id(id)).collect::<Result<_, _>>()?,
        },
        Fact::StartingRun(run) => Record::Starting { run: run_id(&run)? },
        Fact::Delivered(one) => {
            let (framework, task) = pair(&one)?;
            Record::Delivered { framework, task }
        }
        Fact::KillAsked(one) => {
            let (framework, task) = pair(&one)?;
            Record::KillAsked { framework, task }
        }
        Fact::Ended(one) => {
            let (framework, task) = pair(&one)?;
            Record::Ended { framework, task }
        }
        Fact::RunningSince(one) => Record::RunningSince {
            framework: framework_id(&one.framework_id)?,
            task: task_id(&one.task_id)?,
            since: Wall::from_nanos(one.since_nanos),
        },
        Fact::Update(one) => Record::Update {
            framework: framework_id(&one.framework_id)?,
            status: Box::new(one.status.ok_or(DecodeError::Missing("status"))?),
        },
        Fact::Acknowledged(one) => Record::Acknowledged {
            framework: framework_id(&one.framework_id)?,
            task: task_id(&one.task_id)?,
            update: Uuid::from_slice(&one.uuid).ok_or(DecodeError::Missing("update id"))?,
        },
        Fact::Exited(one) => Record::Exited {
            run: run_id(&one.run)?,
            exit: exit(one.exit.ok_or(DecodeError::Missing("exit status"))?),
            at: Wall::from_nanos(one.at_nanos),
        },
        Fact::Asked(one) => asked(one)?,
        Fact::Verdict(one) => verdict(one)?,
        Fact::SandboxRemovedRun(run) => Record::SandboxRemoved { run: run_id(&run)? },
    })
}

fn exit(wire: exited::Exit) -> Exit {
    match wire {
        exited::Exit::Code(code) => Exit::Code(code),
        exited::Exit::Signal(signal) => Exit::Signal(signal),
        exited::Exit::Unknown(why) => Exit::Unknown(why.into()),
    }
}

fn asked(wire: proto::Asked) -> Result<Record, DecodeError> {
    Ok(Record::Asked {
        launch: Box::new(ContainerLaunch {
            container: run_id(&wire.run)?,
            command: wire.command.unwrap_or_default(),
            info: wire.container,
            resources: wire.resources,
            limits: wire.limits.into_iter().collect(),
        }),
        sandbox: wire.sandbox.into(),
    })
}

fn verdict(wire: proto::Verdict) -> Result<Record, DecodeError> {
    Ok(Record::Verdict {
        run: run_id(&wire.run)?,
        verdict: Box::new(Verdict {
            state: task_state(wire.state).ok_or(DecodeError::Missing("state"))?,
            reason: Reason::try_from(wire.reason).map_err(|_| DecodeError::Missing("reason"))?,
            message: wire.message,
            limitation: wire.limitation,
        }),
    })
}
