//! Directives and reports as protobuf frames, both ways. Decoding refuses what no honest peer
//! sends: missing parts, ids that are not ids, unknown kinds.

use prost::Message as _;
use tepui_types::{
    AgentId, BootId, ExecutorId, FrameworkId, InvalidId, Role, Span, TaskId, TaskState, Term, Uuid,
};
use tepui_wire::v1;

use crate::proto::{self, directive as down, report as up};
use crate::{Directive, LaunchOrder, Leftover, Order, Registration, Report};

/// Why a frame is not a directive or a report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A part that must be there is not.
    #[error("frame has no {0}")]
    Missing(&'static str),
    /// A part holds what is not legal there.
    #[error("frame has an invalid {what}: {why}")]
    Invalid {
        /// Which part.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
}

fn invalid(what: &'static str) -> impl FnOnce(InvalidId) -> FrameError {
    move |error| FrameError::Invalid { what, why: error.to_string() }
}

fn framework(text: &str) -> Result<FrameworkId, FrameError> {
    FrameworkId::parse(text).map_err(invalid("framework_id"))
}

fn task(text: &str) -> Result<TaskId, FrameError> {
    TaskId::parse(text).map_err(invalid("task_id"))
}

fn executor(text: &str) -> Result<ExecutorId, FrameError> {
    ExecutorId::parse(text).map_err(invalid("executor_id"))
}

/// The state that a wire number means.
pub fn task_state(number: i32) -> Option<TaskState> {
    let wire = v1::TaskState::try_from(number).ok()?;
    TaskState::ALL.into_iter().find(|state| state.wire_name() == wire.as_str_name())
}

/// The wire's name for a state.
pub fn wire_state(state: TaskState) -> v1::TaskState {
    v1::TaskState::from_str_name(state.wire_name()).unwrap_or(v1::TaskState::TaskUnknown)
}

impl From<Directive> for proto::Directive {
    fn from(directive: Directive) -> Self {
        Self {
            term: directive.term.0,
            generation: directive.generation,
            order: Some(encode_order(directive.order)),
        }
    }
}

fn encode_order(order: Order) -> down::Order {
    match order {
        Order::Registered { agent, heartbeat, patience, pace } => {
            down::Order::Registered(proto::Registered {
                agent_id: agent.to_string(),
                heartbeat_nanos: heartbeat.as_nanos(),
                patience_nanos: patience.as_nanos(),
                pace_nanos: pace.as_nanos(),
            })
        }
        Order::Launch(launch) => down::Order::Launch(proto::Launch {
            framework: Some(launch.framework),
            role: launch.role.to_string(),
            group_executor: launch.group_executor,
            tasks: launch.tasks,
        }),
        Order::Kill { framework, task, kill_policy } => down::Order::Kill(proto::Kill {
            framework_id: framework.to_string(),
            task_id: task.to_string(),
            kill_policy,
        }),
        Order::Acknowledge { framework, task, update } => {
            down::Order::Acknowledge(proto::Acknowledge {
                framework_id: framework.to_string(),
                task_id: task.to_string(),
                uuid: update.as_bytes().to_vec(),
            })
        }
        Order::ShutdownExecutor { framework, executor } => {
            down::Order::ShutdownExecutor(proto::ShutdownExecutor {
                framework_id: framework.to_string(),
                executor_id: executor.to_string(),
            })
        }
        Order::ShutdownFramework { framework } => {
            down::Order::ShutdownFramework(proto::ShutdownFramework {
                framework_id: framework.to_string(),
            })
        }
        Order::Message { framework, executor, data } => down::Order::Message(proto::Message {
            framework_id: framework.to_string(),
            executor_id: executor.to_string(),
            data,
        }),
        Order::Reconcile { tasks } => down::Order::Reconcile(proto::Reconcile {
            tasks: tasks
                .into_iter()
                .map(|(framework, task, partition_aware)| proto::reconcile::Task {
                    framework_id: framework.to_string(),
                    task_id: task.to_string(),
                    partition_aware,
                })
                .collect(),
        }),
        Order::UpdateFramework { framework } => {
            down::Order::UpdateFramework(proto::UpdateFramework { framework: Some(*framework) })
        }
        Order::Shutdown { reason } => down::Order::Shutdown(proto::Shutdown { reason }),
    }
}

impl TryFrom<proto::Directive> for Directive {
    type Error = FrameError;

    fn try_from(frame: proto::Directive) -> Result<Self, FrameError> {
        Ok(Self {
            term: Term(frame.term),
            generation: frame.generation,
            order: decode_order(frame.order.ok_or(FrameError::Missing("order"))?)?,
        })
    }
}

fn decode_order(order: down::Order) -> Result<Order, FrameError> {
    Ok(match order {
        down::Order::Registered(o) => Order::Registered {
            agent: AgentId::parse(&o.agent_id).map_err(invalid("agent_id"))?,
            heartbeat: Span::from_nanos(o.heartbeat_nanos),
            patience: Span::from_nanos(o.patience_nanos),
            pace: Span::from_nanos(o.pace_nanos),
        },
        down::Order::Launch(o) => Order::Launch(Box::new(LaunchOrder {
            framework: o.framework.ok_or(FrameError::Missing("framework"))?,
            role: Role::parse(&o.role)
                .map_err(|error| FrameError::Invalid { what: "role", why: error.to_string() })?,
            group_executor: o.group_executor,
            tasks: o.tasks,
        })),
        down::Order::Kill(o) => Order::Kill {
            framework: framework(&o.framework_id)?,
            task: task(&o.task_id)?,
            kill_policy: o.kill_policy,
        },
        down::Order::Acknowledge(o) => Order::Acknowledge {
            framework: framework(&o.framework_id)?,
            task: task(&o.task_id)?,
            update: Uuid::from_slice(&o.uuid).ok_or(FrameError::Missing("uuid"))?,
        },
        down::Order::ShutdownExecutor(o) => Order::ShutdownExecutor {
            framework: framework(&o.framework_id)?,
            executor: executor(&o.executor_id)?,
        },
        down::Order::ShutdownFramework(o) => {
            Order::ShutdownFramework { framework: framework(&o.framework_id)? }
        }
        down::Order::Message(o) => Order::Message {
            framework: framework(&o.framework_id)?,
            executor: executor(&o.executor_id)?,
            data: o.data,
        },
        down::Order::Reconcile(o) => Order::Reconcile {
            tasks: o
                .tasks
                .into_iter()
                .map(|t| Ok((framework(&t.framework_id)?, task(&t.task_id)?, t.partition_aware)))
                .collect::<Result<_, FrameError>>()?,
        },
        down::Order::UpdateFramework(o) => Order::UpdateFramework {
            framework: Box::new(o.framework.ok_or(FrameError::Missing("framework"))?),
        },
        down::Order::Shutdown(o) => Order::Shutdown { reason: o.reason },
    })
}

impl proto::Report {
    /// Whether this is a registration: decoding it takes many times its bytes of memory.
    pub fn is_registration(&self) -> bool {
        matches!(self.report, Some(up::Report::Register(_)))
    }
}

impl From<Report> for proto::Report {
    fn from(report: Report) -> Self {
        Self { report: Some(encode_report(report)) }
    }
}

fn encode_report(report: Report) -> up::Report {
    match report {
        Report::Register(registration) => {
            up::Report::Register(encode_registration(*registration).encode_to_vec().into())
        }
        Report::Heartbeat { seen, executors, leftovers } => {
            let leftovers = leftovers.iter().map(ToString::to_string).collect();
            up::Report::Heartbeat(proto::Heartbeat { seen, executors, leftovers })
        }
        Report::Update { framework, status, latest_state } => up::Report::Update(proto::Update {
            framework_id: framework.to_string(),
            status: Some(*status),
            latest_state: wire_state(latest_state).into(),
        }),
        Report::ExecutorMessage { framework, executor, data } => {
            up::Report::ExecutorMessage(proto::ExecutorMessage {
                framework_id: framework.to_string(),
                executor_id: executor.to_string(),
                data,
            })
        }
        Report::ExecutorExited { framework, executor, status } => {
            up::Report::ExecutorExited(proto::ExecutorExited {
                framework_id: framework.to_string(),
                executor_id: executor.to_string(),
                status,
            })
        }
        Report::Unregister => up::Report::Unregister(proto::Unregister {}),
    }
}

impl TryFrom<proto::Report> for Report {
    type Error = FrameError;

    fn try_from(frame: proto::Report) -> Result<Self, FrameError> {
        Ok(match frame.report.ok_or(FrameError::Missing("report"))? {
            up::Report::Register(bytes) => {
                let frame = proto::Registration::decode(bytes).map_err(|error| {
                    FrameError::Invalid { what: "register", why: error.to_string() }
                })?;
                Self::Register(Box::new(decode_registration(frame)?))
            }
            up::Report::Heartbeat(r) => Self::Heartbeat {
                seen: r.seen,
                executors: r.executors,
                leftovers: r.leftovers.iter().map(|id| framework(id)).collect::<Result<_, _>>()?,
            },
            up::Report::Update(r) => Self::Update {
                framework: framework(&r.framework_id)?,
                status: Box::new(r.status.ok_or(FrameError::Missing("status"))?),
                latest_state: task_state(r.latest_state)
                    .ok_or(FrameError::Missing("latest_state"))?,
            },
            up::Report::ExecutorMessage(r) => Self::ExecutorMessage {
                framework: framework(&r.framework_id)?,
                executor: executor(&r.executor_id)?,
                data: r.data,
            },
            up::Report::ExecutorExited(r) => Self::ExecutorExited {
                framework: framework(&r.framework_id)?,
                executor: executor(&r.executor_id)?,
                status: r.status,
            },
            up::Report::Unregister(proto::Unregister {}) => Self::Unregister,
        })
    }
}

fn encode_leftover(leftover: Leftover) -> proto::Leftover {
    let Leftover { framework, resources } = leftover;
    proto::Leftover { framework_id: framework.to_string(), resources }
}

fn decode_leftover(frame: proto::Leftover) -> Result<Leftover, FrameError> {
    let proto::Leftover { framework_id, resources } = frame;
    Ok(Leftover { framework: framework(&framework_id)?, resources })
}

fn encode_registration(r: Registration) -> proto::Registration {
    proto::Registration {
        agent_id: r.agent.map(|id| id.to_string()).unwrap_or_default(),
        info: Some(r.info),
        boot_id: r.boot.map(|id| id.to_string()).unwrap_or_default(),
        version: r.version,
        term: r.term.0,
        frameworks: r.frameworks,
        executors: r.executors,
        tasks: r.tasks,
        leftovers: r.leftovers.into_iter().map(encode_leftover).collect(),
    }
}

fn decode_registration(r: proto::Registration) -> Result<Registration, FrameError> {
    let optional = |text: &str| !text.is_empty();
    Ok(Registration {
        agent: optional(&r.agent_id)
            .then(|| AgentId::parse(&r.agent_id).map_err(invalid("agent_id")))
            .transpose()?,
        info: r.info.ok_or(FrameError::Missing("info"))?,
        boot: optional(&r.boot_id)
            .then(|| BootId::parse(&r.boot_id).map_err(invalid("boot_id")))
            .transpose()?,
        version: r.version,
        term: Term(r.term),
        frameworks: r.frameworks,
        executors: r.executors,
        tasks: r.tasks,
        leftovers: r.leftovers.into_iter().map(decode_leftover).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id<T>(parse: fn(&str) -> Result<T, InvalidId>, text: &str) -> T {
        parse(text).unwrap()
    }

    #[test]
    fn every_order_survives_the_wire() {
        let orders = [
            Order::Registered {
                agent: id(AgentId::parse, "a"),
                heartbeat: Span::from_secs(15),
                patience: Span::from_secs(75),
                pace: Span::from_millis(20),
            },
            Order::Launch(Box::new(LaunchOrder {
                framework: v1::FrameworkInfo::default(),
                role: Role::default_role(),
                group_executor: None,
                tasks: vec![v1::TaskInfo::default()],
            })),
            Order::Kill {
                framework: id(FrameworkId::parse, "f"),
                task: id(TaskId::parse, "t"),
                kill_policy: Some(v1::KillPolicy::default()),
            },
            Order::Acknowledge {
                framework: id(FrameworkId::parse, "f"),
                task: id(TaskId::parse, "t"),
                update: Uuid::from_bytes([7; 16]),
            },
            Order::ShutdownExecutor {
                framework: id(FrameworkId::parse, "f"),
                executor: id(ExecutorId::parse, "e"),
            },
            Order::ShutdownFramework { framework: id(FrameworkId::parse, "f") },
            Order::Message {
                framework: id(FrameworkId::parse, "f"),
                executor: id(ExecutorId::parse, "e"),
                data: vec![0, 255],
            },
            Order::Reconcile {
                tasks: vec![(id(FrameworkId::parse, "f"), id(TaskId::parse, "t"), true)],
            },
            Order::UpdateFramework { framework: Box::default() },
            Order::Shutdown { reason: "gone".into() },
        ];
        for (generation, order) in (1..).zip(orders) {
            let directive = Directive { term: Term(3), generation, order };
            let frame = proto::Directive::from(directive.clone());
            assert_eq!(Directive::try_from(frame), Ok(directive));
        }
    }

    #[test]
    fn every_report_survives_the_wire() {
        let reports = [
            Report::Register(Box::new(Registration {
                agent: Some(id(AgentId::parse, "a")),
                info: v1::AgentInfo::default(),
                boot: Some(id(BootId::parse, "b")),
                version: "1".into(),
                term: Term(9),
                frameworks: vec![v1::FrameworkInfo::default()],
                executors: vec![v1::ExecutorInfo::default()],
                tasks: vec![v1::Task::default()],
                leftovers: vec![Leftover {
                    framework: id(FrameworkId::parse, "f"),
                    resources: vec![v1::Resource::default()],
                }],
            })),
            Report::Heartbeat {
                seen: 4,
                executors: 2,
                leftovers: vec![id(FrameworkId::parse, "f")],
            },
            Report::Update {
                framework: id(FrameworkId::parse, "f"),
                status: Box::default(),
                latest_state: TaskState::Finished,
            },
            Report::ExecutorMessage {
                framework: id(FrameworkId::parse, "f"),
                executor: id(ExecutorId::parse, "e"),
                data: vec![1],
            },
            Report::ExecutorExited {
                framework: id(FrameworkId::parse, "f"),
                executor: id(ExecutorId::parse, "e"),
                status: -1,
            },
            Report::Unregister,
        ];
        for report in reports {
            let frame = proto::Report::from(report.clone());
            assert_eq!(Report::try_from(frame), Ok(report));
        }
    }

    #[test]
    fn a_registration_that_is_none_is_refused() {
        let frame = proto::Report { report: Some(up::Report::Register(vec![255].into())) };
        assert!(frame.is_registration());
        let error = Report::try_from(frame).unwrap_err().to_string();
        assert!(error.starts_with("frame has an invalid register: "), "{error}");
    }

    #[test]
    fn a_frame_with_a_path_for_an_id_is_refused() {
        let frame = proto::Directive {
            term: 1,
            generation: 1,
            order: Some(down::Order::ShutdownFramework(proto::ShutdownFramework {
                framework_id: "../x".into(),
            })),
        };
        let error = Directive::try_from(frame).unwrap_err();
        assert_eq!(
            error.to_string(),
            "frame has an invalid framework_id: '../x' contains invalid characters"
        );
    }
}
