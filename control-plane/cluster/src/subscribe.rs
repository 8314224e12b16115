//! SUBSCRIBE: a framework comes, comes back, or is taken over by another process
//! (`spec/mesos-http.md` 1.1).

use std::sync::Arc;

use tepui_types::{FrameworkId, RequestId, Resources, StreamId};
use tepui_wire::v1::{self, scheduler};

use crate::machine::Batch;
use crate::state::{Attachment, Framework};
use crate::validate::Fault;
use crate::validate::framework::{FrameworkTerms, read_framework};
use crate::view::wire_framework;
use crate::{Cluster, Effect, FrameworkCounters, Record, RefusalKind, Response};

/// How many ids are saved as taken at once.
const ID_BLOCK: u64 = 64;

impl Cluster {
    pub(crate) fn subscribe(
        &mut self,
        request: RequestId,
        framework: Option<FrameworkId>,
        mut call: scheduler::call::Subscribe,
        principal: Option<Arc<str>>,
        batch: &mut Batch<'_>,
    ) {
        let info = &mut call.framework_info;
        let inner = info.id.as_ref().map(|id| id.value.as_str()).filter(|id| !id.is_empty());
        if framework.as_ref().map(FrameworkId::as_str) != inner {
            let message = "'framework_id' differs from 'subscribe.framework_info.id'";
            batch.refuse(request, RefusalKind::Invalid, message);
            return;
        }
        if let Some(principal) = principal {
            if info.principal.as_deref().is_some_and(|said| said != &*principal) {
                let message = format!(
                    "Authenticated principal '{principal}' does not match principal '{}' set in \
                     'FrameworkInfo'",
                    info.principal()
                );
                batch.refuse(request, RefusalKind::Invalid, message);
                return;
            }
            info.principal = Some(principal.to_string());
        }
        if framework.is_some() {
            self.counters.messages.reregister_framework += 1;
        } else {
            self.counters.messages.register_framework += 1;
            info.id = None;
        }
        let stream = StreamId(self.entropy.uuid());
        batch.respond(request, Response::Streaming { stream });
        match self.check_subscription(framework.as_ref(), &call) {
            Err(message) => {
                let event = Box::new(error_event(message));
                batch.push(Effect::ToFramework { stream, event });
                batch.push(Effect::CloseStream { stream });
            }
            Ok(terms) => self.attach(framework, call, terms, stream, batch),
        }
    }

    /// Problems that are told on the stream.
    fn check_subscription(
        &self,
        framework: Option<&FrameworkId>,
        call: &scheduler::call::Subscribe,
    ) -> Result<FrameworkTerms, Fault> {
        let terms = read_framework(
            &call.framework_info,
            &call.suppressed_roles,
            call.offer_constraints.as_ref(),
            &self.config,
        )?;
        let Some(id) = framework else { return Ok(terms) };
        if self.removed.contains_key(id) {
            return Err("Framework has been removed".into());
        }
        if let Some(known) = self.frameworks.get(id)
            && known.info.principal != call.framework_info.principal
        {
            return Err("Changing framework's principal is not allowed".into());
        }
        Ok(terms)
    }

    fn attach(
        &mut self,
        framework: Option<FrameworkId>,
        call: scheduler::call::Subscribe,
        terms: FrameworkTerms,
        stream: StreamId,
        batch: &mut Batch<'_>,
    ) {
        let known = framework.as_ref().is_some_and(|id| self.frameworks.contains_key(id));
        let id = framework.unwrap_or_else(|| self.next_framework_id(batch));
        if known {
            self.retire_stream(&id, batch);
            self.discard_framework_offers(&id, batch);
            // Filters of the former subscription do not outlive it.
            self.tell_framework(&id, batch);
        } else {
            let blank =
                Framework::recovered(id.clone(), v1::FrameworkInfo::default(), batch.wall());
            self.frameworks.insert(id.clone(), blank);
        }
        self.streams.insert(stream, id.clone());
        let scheduler::call::Subscribe { framework_info, offer_constraints, .. } = call;
        let changed = self.set_terms(&id, framework_info, terms, offer_constraints, known);
        let Some(framework) = self.frameworks.get_mut(&id) else { return };
        if known {
            framework.reregistered = Some(batch.wall());
        }
        framework.attachment = Attachment::Subscribed { stream };
        framework.removal_due = None;
        framework.counters.call(scheduler::call::Type::Subscribe);
        batch.push(Effect::Save(framework.record()));
        let event = scheduler::Event {
            r#type: Some(scheduler::event::Type::Subscribed.into()),
            subscribed: Some(scheduler::event::Subscribed {
                framework_id: wire_framework(&id),
                heartbeat_interval_seconds: Some(self.config.heartbeat.as_secs_f64()),
                master_info: Some(self.config.leader.clone()),
            }),
            ..scheduler::Event::default()
        };
        batch.send(framework, event);
        self.tell_framework(&id, batch);
        self.publish_framework(&id, !known, batch);
        if known && changed {
            self.tell_agents_of_framework(&id, batch);
        }
    }

    /// Ends the stream of a former subscription, if there is one (invariant I-34).
    fn retire_stream(&mut self, id: &FrameworkId, batch: &mut Batch<'_>) {
        let Some(framework) = self.frameworks.get_mut(id) else { return };
        let Some(old) = framework.stream() else { return };
        batch.send(framework, error_event("Framework failed over".into()));
        framework.attachment = Attachment::Disconnected { since: batch.wall() };
        self.streams.remove(&old);
        batch.push(Effect::CloseStream { stream: old });
    }

    fn next_framework_id(&mut self, batch: &mut Batch<'_>) -> FrameworkId {
        loop {
            let number = self.next.framework;
            self.next.framework += 1;
            if number >= self.next.frameworks_saved {
                self.next.frameworks_saved = number + ID_BLOCK;
                self.save_counters(batch);
            }
            let id = FrameworkId::parse(&format!("{}-{number:04}", self.leader_id))
                .expect("a UUID, a dash and digits are an id");
            if !self.frameworks.contains_key(&id) {
                return id;
            }
        }
    }

    pub(crate) fn save_counters(&self, batch: &mut Batch<'_>) {
        batch.push(Effect::Save(Record::Counters {
            agents: self.next.agents_saved,
            frameworks: self.next.frameworks_saved,
        }));
    }

    /// Takes over a description. What may not change, and what the wire does not say, is kept.
    /// `true` when anything is new.
    pub(crate) fn set_terms(
        &mut self,
        id: &FrameworkId,
        mut info: v1::FrameworkInfo,
        terms: FrameworkTerms,
        constraints: Option<scheduler::OfferConstraints>,
        known: bool,
    ) -> bool {
        let Some(framework) = self.frameworks.get_mut(id) else { return false };
        info.id = Some(wire_framework(id));
        if known {
            info.user.clone_from(&framework.info.user);
            info.checkpoint = framework.info.checkpoint;
        }
        let changed = *framework.info != info;
        framework.info = Arc::new(info);
        framework.abilities = terms.abilities;
        framework.roles = terms.roles;
        framework.suppressed = terms.suppressed;
        framework.failover_timeout = terms.failover_timeout;
        framework.minimum = terms.minimum;
        framework.offer_constraints = constraints;
        framework.constraints = terms.constraints;
        changed
    }
}

impl Framework {
    /// A framework that has not subscribed in this term.
    pub(crate) fn recovered(
        id: FrameworkId,
        info: v1::FrameworkInfo,
        registered: tepui_types::Wall,
    ) -> Self {
        Self {
            id,
            info: Arc::new(info),
            abilities: crate::state::Abilities::default(),
            roles: std::collections::BTreeSet::new(),
            suppressed: std::collections::BTreeSet::new(),
            minimum: std::collections::BTreeMap::new(),
            offer_constraints: None,
            constraints: crate::constraints::Constraints::default(),
            attachment: Attachment::Recovered,
            failover_timeout: tepui_types::Span::ZERO,
            removal_due: None,
            registered,
            reregistered: None,
            unregistered: None,
            tasks: std::collections::BTreeMap::new(),
            unreachable: std::collections::BTreeMap::new(),
            unreachable_order: std::collections::VecDeque::new(),
            completed: std::collections::VecDeque::new(),
            shape: Resources::new(),
            offers: std::collections::BTreeSet::new(),
            counters: FrameworkCounters::default(),
        }
    }
}

/// The event that ends a subscription.
pub(crate) fn error_event(message: String) -> scheduler::Event {
    scheduler::Event {
        r#type: Some(scheduler::event::Type::Error.into()),
        error: Some(scheduler::event::Error { message }),
        ..scheduler::Event::default()
    }
}
