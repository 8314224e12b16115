use std::sync::Arc;

use tepui_allocator::Input;
use tepui_apps::{Alarm, Halt, Probe, ProbeId, Reply};
use tepui_cluster::Response;
use tepui_link::Directive;
use tepui_types::{LinkId, RequestId, StreamId};
use tepui_wire::v1::{master, scheduler};

/// One thing to do. Whoever acts makes the durable ones ([`Effect::is_durable`]) of a batch
/// durable before doing any of the others.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make a fact of the registry durable.
    SaveCluster(tepui_cluster::Record),
    /// Remove a fact of the registry.
    ForgetCluster(tepui_cluster::Record),
    /// Make a fact of the apps durable.
    SaveApps(Box<tepui_apps::Record>),
    /// Remove a fact of the apps.
    ForgetApps(tepui_apps::RecordKey),
    /// Answer a request of the Mesos APIs.
    Respond {
        /// Which.
        request: RequestId,
        /// With what.
        response: Response,
    },
    /// Answer a command of the Marathon API.
    Reply {
        /// Which.
        request: RequestId,
        /// With what.
        reply: Result<Box<Reply>, tepui_marathon::Rejection>,
    },
    /// Send an event on a framework's stream.
    ToFramework {
        /// Which stream.
        stream: StreamId,
        /// What.
        event: Box<scheduler::Event>,
    },
    /// End a framework's stream after what was sent to it.
    CloseStream {
        /// Which.
        stream: StreamId,
    },
    /// Send a directive to an agent.
    ToAgent {
        /// On which link.
        link: LinkId,
        /// What.
        directive: Box<Directive>,
    },
    /// End an agent's link after what was sent to it.
    CloseLink {
        /// Which.
        link: LinkId,
    },
    /// Tell the allocator.
    ToAllocator(Input),
    /// Send to every operator event stream of the Mesos API.
    PublishCluster(Box<master::Event>),
    /// Send to every event stream of the Marathon API.
    PublishApps(Arc<tepui_marathon::Event>),
    /// Probe a task for the apps.
    Probe(Box<Probe>),
    /// Give up a probe.
    CancelProbe(ProbeId),
    /// Tell a human; work goes on.
    Alarm(Alarm),
    /// The process must end and say why.
    Halt(Halt),
}

impl Effect {
    /// True for what must be durable before anything else of its batch is done.
    pub fn is_durable(&self) -> bool {
        matches!(
            self,
            Self::SaveCluster(_) | Self::ForgetCluster(_) | Self::SaveApps(_) | Self::ForgetApps(_)
        )
    }
}
