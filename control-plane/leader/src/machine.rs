use std::collections::VecDeque;

use tepui_apps::Apps;
use tepui_cluster::{Cluster, Response};
use tepui_types::{Entropy, FrameworkId, Mono, Now, RequestId, Span, StreamId};
use tepui_wire::v1::scheduler;

use crate::{Effect, Event};

/// The request id of the apps' own calls: they need no answer but the stream's id.
const OWN_REQUEST: RequestId = RequestId(u64::MAX);
/// How long the apps wait after their stream ended before they subscribe again.
const RESUBSCRIBE_DELAY: Span = Span::from_secs(1);

/// The cluster and the apps of the leader.
#[derive(Debug)]
pub struct Leader {
    cluster: Cluster,
    apps: Apps,
    /// The apps' current stream.
    stream: Option<StreamId>,
    /// When the apps are told that their stream ended.
    resubscribe: Option<Mono>,
    /// Events that the two machines still have to handle, in order.
    pending: VecDeque<Step>,
    cluster_effects: Vec<tepui_cluster::Effect>,
    apps_effects: Vec<tepui_apps::Effect>,
}

#[derive(Debug)]
enum Step {
    Cluster(tepui_cluster::Event),
    Apps(tepui_apps::Event),
}

impl Leader {
    /// A leader that has not been elected yet.
    pub fn new(
        cluster: tepui_cluster::Config,
        apps: tepui_apps::Config,
        mut entropy: Entropy,
    ) -> Self {
        let for_apps = Entropy::seeded(entropy.next_u64());
        Self {
            cluster: Cluster::new(cluster, entropy),
            apps: Apps::new(apps, for_apps),
            stream: None,
            resubscribe: None,
            pending: VecDeque::new(),
            cluster_effects: Vec::new(),
            apps_effects: Vec::new(),
        }
    }

    /// The Mesos half, to read.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The Marathon half, to read.
    pub fn apps(&self) -> &Apps {
        &self.apps
    }

    /// When the next timer is due.
    pub fn next_wakeup(&self) -> Option<Mono> {
        [self.cluster.next_wakeup(), self.apps.next_wakeup(), self.resubscribe]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes one event and everything that follows from it.
    pub fn handle(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Elected { term, cluster, apps } => {
                let elected = tepui_cluster::Event::Elected { term, records: cluster };
                self.pending.push_back(Step::Cluster(elected));
                self.pending.push_back(Step::Apps(tepui_apps::Event::Elected { records: apps }));
            }
            Event::Cluster(event) => self.pending.push_back(Step::Cluster(event)),
            Event::Apps(event) => self.pending.push_back(Step::Apps(event)),
            Event::Tick => self.tick(now),
        }
        self.settle(now, out);
    }

    fn tick(&mut self, now: Now) {
        let due = |at: Option<Mono>| at.is_some_and(|at| at <= now.mono);
        if due(self.cluster.next_wakeup()) {
            self.pending.push_back(Step::Cluster(tepui_cluster::Event::Tick));
        }
        if due(self.apps.next_wakeup()) {
            self.pending.push_back(Step::Apps(tepui_apps::Event::Tick));
        }
        if due(self.resubscribe) {
            self.resubscribe = None;
            self.pending.push_back(Step::Apps(tepui_apps::Event::Disconnected));
        }
    }

    /// Lets the machines talk until nothing is left to pass on.
    fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some(step) = self.pending.pop_front() {
            match step {
                Step::Cluster(event) => {
                    let mut effects = std::mem::take(&mut self.cluster_effects);
                    self.cluster.handle(now, event, &mut effects);
                    for effect in effects.drain(..) {
                        self.pass_cluster(now, effect, out);
                    }
                    self.cluster_effects = effects;
                }
                Step::Apps(event) => {
                    let mut effects = std::mem::take(&mut self.apps_effects);
                    self.apps.handle(now, event, &mut effects);
                    for effect in effects.drain(..) {
                        self.pass_apps(effect, out);
                    }
                    self.apps_effects = effects;
                }
            }
        }
    }

    fn pass_cluster(&mut self, now: Now, effect: tepui_cluster::Effect, out: &mut Vec<Effect>) {
        use tepui_cluster::Effect as From;
        out.push(match effect {
            From::Respond { request, response } if request == OWN_REQUEST => {
                return self.answer_apps(now, &response);
            }
            From::ToFramework { stream, event } if self.stream == Some(stream) => {
                self.pending.push_back(Step::Apps(tepui_apps::Event::Mesos(event)));
                return;
            }
            From::CloseStream { stream } if self.stream == Some(stream) => {
                self.stream = None;
                self.resubscribe = Some(now.mono + RESUBSCRIBE_DELAY);
                return;
            }
            From::Save(record) => Effect::SaveCluster(record),
            From::Forget(record) => Effect::ForgetCluster(record),
            From::Respond { request, response } => Effect::Respond { request, response },
            From::ToFramework { stream, event } => Effect::ToFramework { stream, event },
            From::CloseStream { stream } => Effect::CloseStream { stream },
            From::ToAgent { link, directive } => Effect::ToAgent { link, directive },
            From::CloseLink { link } => Effect::CloseLink { link },
            From::ToAllocator(input) => Effect::ToAllocator(input),
            From::Publish(event) => Effect::PublishCluster(event),
        });
    }

    fn answer_apps(&mut self, now: Now, response: &Response) {
        match response {
            Response::Streaming { stream } => self.stream = Some(*stream),
            // Only a subscription can end here without a stream; it is tried again.
            Response::Refused(_) if self.stream.is_none() => {
                self.resubscribe = Some(now.mono + RESUBSCRIBE_DELAY);
            }
            Response::Refused(_) | Response::Accepted | Response::Done => {}
        }
    }

    fn pass_apps(&mut self, effect: tepui_apps::Effect, out: &mut Vec<Effect>) {
        use tepui_apps::Effect as From;
        out.push(match effect {
            From::Call(call) => return self.pass_call(*call),
            From::Save(record) => Effect::SaveApps(record),
            From::Forget(key) => Effect::ForgetApps(key),
            From::Reply { request, reply } => Effect::Reply { request, reply },
            From::Publish(event) => Effect::PublishApps(event),
            From::Probe(probe) => Effect::Probe(probe),
            From::CancelProbe(probe) => Effect::CancelProbe(probe),
            From::Alarm(alarm) => Effect::Alarm(alarm),
            From::Halt(halt) => Effect::Halt(halt),
        });
    }

    /// A call of the apps becomes an event of the cluster, as if it had come over HTTP.
    fn pass_call(&mut self, call: scheduler::Call) {
        let event = match call.subscribe {
            Some(subscribe) => tepui_cluster::Event::Subscribe {
                request: OWN_REQUEST,
                framework: call
                    .framework_id
                    .as_ref()
                    .and_then(|id| FrameworkId::parse(&id.value).ok()),
                call: Box::new(subscribe),
                principal: None,
            },
            None => tepui_cluster::Event::Call {
                request: OWN_REQUEST,
                stream: self.stream,
                call: Box::new(call),
                principal: None,
            },
        };
        self.pending.push_back(Step::Cluster(event));
    }
}
