//! Probes that the leader runs: only so many at once (`marathon-behaviour.md` section 8).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tepui_marathon::{App, HealthProtocol, IpProtocol, ReadinessProtocol, TaskId};
use tepui_types::Span;

use crate::checks::target;
use crate::instance::Instance;
use crate::machine::Apps;
use crate::out::Out;
use crate::{Condition, Effect, Probe, ProbeId, ProbeKind, ProbeOutcome, TaskRecord};

/// Bytes of a readiness answer that are kept.
const KEPT_BODY_BYTES: usize = 10_240;

/// What a probe is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// The health check of a task with this index.
    Check(TaskId, usize),
    /// The readiness check of a task.
    Readiness(TaskId),
}

impl Purpose {
    fn task(&self) -> &TaskId {
        match self {
            Self::Check(task, _) | Self::Readiness(task) => task,
        }
    }
}

/// Probes under way and probes that wait for their turn.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    next: u64,
    flying: BTreeMap<ProbeId, Purpose>,
    waiting: VecDeque<Purpose>,
    /// What flies or waits. A purpose is never in line twice, or slow probes would make the line
    /// grow without end.
    asked: BTreeSet<Purpose>,
}

impl Probes {
    /// Puts a probe in line, unless the last one of its kind has not been answered yet.
    pub(crate) fn request(&mut self, purpose: Purpose) {
        if self.asked.insert(purpose.clone()) {
            self.waiting.push_back(purpose);
        }
    }

    fn land(&mut self, id: ProbeId) -> Option<Purpose> {
        let purpose = self.flying.remove(&id)?;
        self.asked.remove(&purpose);
        Some(purpose)
    }
}

impl Apps {
    /// Starts probes up to the limit.
    pub(crate) fn pump_probes(&mut self, out: &mut Out<'_>) {
        while self.probes.flying.len() < self.config.max_probes {
            let Some(purpose) = self.probes.waiting.pop_front() else { break };
            let id = ProbeId(self.probes.next);
            let probe = self.instances.of_task(purpose.task()).and_then(|instance| {
                let task =
                    instance.task().filter(|_| instance.condition() == Condition::Running)?;
                match &purpose {
                    Purpose::Check(_, index) => check_probe(id, instance, task, *index),
                    Purpose::Readiness(_) => readiness_probe(id, &instance.app, task),
                }
            });
            if let Some(probe) = probe {
                self.probes.next += 1;
                self.probes.flying.insert(id, purpose);
                out.effects.push(Effect::Probe(Box::new(probe)));
                continue;
            }
            self.probes.asked.remove(&purpose);
            if let Purpose::Readiness(task) = purpose {
                self.readiness_rests(&task);
            }
        }
    }

    /// A probe ended.
    pub(crate) fn probed(&mut self, probe: ProbeId, outcome: &ProbeOutcome, out: &mut Out<'_>) {
        match self.probes.land(probe) {
            Some(Purpose::Check(task, index)) => self.check_probed(&task, index, outcome, out),
            Some(Purpose::Readiness(task)) => self.readiness_probed(&task, outcome, out),
            // Cancelled, or of an earlier time.
            None => {}
        }
    }

    /// Gives up all probes of a task.
    pub(crate) fn drop_probes(&mut self, task: &TaskId, out: &mut Out<'_>) {
        let flying = self.probes.flying.iter().filter(|(_, purpose)| purpose.task() == task);
        let flying: Vec<ProbeId> = flying.map(|(id, _)| *id).collect();
        for id in flying {
            self.probes.land(id);
            out.effects.push(Effect::CancelProbe(id));
        }
    }
}

fn check_probe(id: ProbeId, instance: &Instance, task: &TaskRecord, index: usize) -> Option<Probe> {
    let check = instance.app.health_checks.get(index)?;
    let (host, port) = target(&instance.app, task, check.port, check.port_index)?;
    let path = || check.path.clone().unwrap_or_else(|| "/".to_owned());
    let kind = match check.protocol {
        HealthProtocol::Tcp => ProbeKind::Tcp,
        HealthProtocol::Http => ProbeKind::Http { tls: false, path: path(), keep_body_bytes: 0 },
        HealthProtocol::Https => ProbeKind::Http { tls: true, path: path(), keep_body_bytes: 0 },
        _ => return None,
    };
    let timeout = Span::from_secs(u64::from(check.timeout_seconds.max(1)));
    Some(Probe { id, host, port, ip_protocol: check.ip_protocol, kind, timeout })
}

fn readiness_probe(id: ProbeId, app: &App, task: &TaskRecord) -> Option<Probe> {
    let check = app.readiness_checks.first()?;
    let index = port_index(app, &check.port_name)?;
    let (host, port) = target(app, task, None, Some(index))?;
    let kind = ProbeKind::Http {
        tls: check.protocol == ReadinessProtocol::Https,
        path: check.path.clone(),
        keep_body_bytes: if check.preserve_last_response { KEPT_BODY_BYTES } else { 0 },
    };
    let timeout = Span::from_secs(u64::from(check.timeout_seconds.max(1)));
    Some(Probe { id, host, port, ip_protocol: IpProtocol::V4, kind, timeout })
}

fn port_index(app: &App, name: &str) -> Option<u32> {
    let is = |other: &Option<String>| other.as_deref() == Some(name);
    let index = if app.has_host_networking() {
        app.port_definitions.iter().position(|port| is(&port.name))
    } else {
        app.container.as_ref()?.port_mappings.iter().position(|port| is(&port.name))
    };
    u32::try_from(index?).ok()
}
