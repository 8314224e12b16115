//! Where decisions leave their effects.

use std::sync::Arc;

use tepui_marathon::{Event as PublicEvent, EventPayload, Version};
use tepui_types::{Mono, Now};
use tepui_wire::v1::scheduler::{Call, call};

use crate::{Alarm, Effect, Record, RecordKey};

/// The moment of an event and the effects it has had so far.
pub(crate) struct Out<'a> {
    pub(crate) now: Now,
    pub(crate) effects: &'a mut Vec<Effect>,
}

impl Out<'_> {
    /// The monotonic clock.
    pub(crate) fn mono(&self) -> Mono {
        self.now.mono
    }

    /// The wall clock as versions and timestamps show it.
    pub(crate) fn stamp(&self) -> Version {
        stamp(self.now)
    }

    pub(crate) fn save(&mut self, record: Record) {
        self.effects.push(Effect::Save(Box::new(record)));
    }

    pub(crate) fn forget(&mut self, key: RecordKey) {
        self.effects.push(Effect::Forget(key));
    }

    pub(crate) fn publish(&mut self, payload: EventPayload) {
        let event = PublicEvent { timestamp: self.stamp(), payload };
        self.effects.push(Effect::Publish(Arc::new(event)));
    }

    pub(crate) fn call(&mut self, kind: call::Type, fill: impl FnOnce(&mut Call)) {
        let mut call = Call::default();
        call.set_type(kind);
        fill(&mut call);
        self.effects.push(Effect::Call(Box::new(call)));
    }

    pub(crate) fn alarm(&mut self, alarm: Alarm) {
        self.effects.push(Effect::Alarm(alarm));
    }
}

/// The wall clock as versions and timestamps show it.
pub(crate) fn stamp(now: Now) -> Version {
    Version::from_millis(i64::try_from(now.wall.as_millis()).unwrap_or(i64::MAX))
}
