//! What the frameworks asked not to be offered on one agent.
//!
//! A refusal holds for its time, and at least until the agent has been *round*: while somebody
//! else takes what is free there, it does not come back to whoever refused it. So an idle
//! framework with a small share cannot keep an agent from the next one, however short its
//! refusals are (invariant I-39). The round ends when nobody else takes the agent, or when
//! resources that were in use come back.

use std::sync::Arc;

use tepui_types::{Mono, Resources};

use super::clients::{ClientIx, Stamp};

#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) client: ClientIx,
    pub(super) stamp: Stamp,
    pub(super) until: Mono,
    /// The agent has not been round since.
    pub(super) on_round: bool,
    refused: Arc<Resources>,
}

/// Refusals of one client that are kept for one agent; the one that ends first goes.
const MAX_PER_CLIENT: usize = 8;

/// The refusals on one agent, by client.
#[derive(Debug, Default)]
pub(super) struct Filters {
    list: Vec<Filter>,
    on_round: usize,
}

/// The ends of refusals to be told of, and those not to be told of any more.
#[derive(Debug, Default)]
pub(super) struct EndsChanged {
    pub(super) dropped: Vec<(Mono, ClientIx)>,
    pub(super) added: Vec<(Mono, ClientIx)>,
}

/// What stands against an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    No,
    /// Until the agent has been round, and at least until then.
    OnRound(Mono),
    Until(Mono),
}

impl Filters {
    fn span(&self, client: ClientIx) -> std::ops::Range<usize> {
        let from = self.list.partition_point(|f| f.client < client);
        let len = self.list[from..].iter().take_while(|f| f.client == client).count();
        from..from + len
    }

    pub(super) fn ends(&self) -> impl Iterator<Item = (Mono, ClientIx)> + '_ {
        self.list.iter().map(|f| (f.until, f.client))
    }

    /// How many refusals of each client hold at `now`; `revived` says since when they count.
    pub(super) fn holding<'a>(
        &'a self,
        now: Mono,
        revived: impl Fn(ClientIx) -> Option<Stamp> + 'a,
    ) -> impl Iterator<Item = ClientIx> + 'a {
        let holds = move |filter: &&Filter| {
            filter.until > now && revived(filter.client).is_some_and(|at| filter.stamp >= at)
        };
        self.list.iter().filter(holds).map(|filter| filter.client)
    }

    fn shared(&self, refused: Resources) -> Arc<Resources> {
        let known = self.list.iter().rev().take(4).find(|f| *f.refused == refused);
        known.map_or_else(|| Arc::new(refused), |f| Arc::clone(&f.refused))
    }

    fn drop_at(&mut self, at: usize) -> Filter {
        let gone = self.list.remove(at);
        self.on_round -= usize::from(gone.on_round);
        gone
    }

    /// Notes a refusal. `stamp` is the present one; refusals older than `born` are another's.
    pub(super) fn refuse(
        &mut self,
        client: ClientIx,
        (born, stamp): (Stamp, Stamp),
        until: Mono,
        refused: Resources,
    ) -> EndsChanged {
        let mut ends = EndsChanged::default();
        let span = self.span(client);
        for at in span.rev() {
            let old = &self.list[at];
            let covered = old.until <= until && refused.contains(&old.refused);
            if old.stamp < born || covered {
                ends.dropped.push((self.drop_at(at).until, client));
            }
        }
        while self.span(client).len() >= MAX_PER_CLIENT {
            let span = self.span(client);
            let Some(at) = span.min_by_key(|at| self.list[*at].until) else { break };
            ends.dropped.push((self.drop_at(at).until, client));
        }
        let filter = Filter { client, stamp, until, on_round: true, refused: self.shared(refused) };
        self.on_round += 1;
        let at = self.span(client).end;
        self.list.insert(at, filter);
        ends.added.push((until, client));
        self.keep_told(&mut ends);
        ends
    }

    /// What stands against offering `bundle` to the client.
    pub(super) fn held(
        &self,
        client: ClientIx,
        (born, revived): (Stamp, Stamp),
        now: Mono,
        bundle: &Resources,
    ) -> Held {
        let mut held = Held::No;
        if self.list.is_empty() {
            return held;
        }
        for filter in &self.list[self.span(client)] {
            let timed = filter.stamp >= revived && filter.until > now;
            let round = filter.on_round && filter.stamp >= born;
            if !(timed || round) || !filter.refused.contains(bundle) {
                continue;
            }
            let until = if timed { filter.until } else { now };
            held = match held {
                _ if round => Held::OnRound(until),
                Held::OnRound(before) => Held::OnRound(before.max(until)),
                Held::Until(before) => Held::Until(before.max(until)),
                Held::No => Held::Until(until),
            };
        }
        held
    }

    /// The agent has been round: whoever refused it is asked again once the refusal's time is
    /// over, and not before `soonest`. `end_of` tells until when a refusal counts, `None` when
    /// its client is gone.
    pub(super) fn end_round(
        &mut self,
        soonest: Mono,
        stamp: Stamp,
        end_of: impl Fn(&Filter) -> Option<Mono>,
    ) -> EndsChanged {
        let mut ends = EndsChanged::default();
        self.list.retain_mut(|filter| {
            if !std::mem::take(&mut filter.on_round) {
                return true;
            }
            let Some(end) = end_of(filter) else {
                ends.dropped.push((filter.until, filter.client));
                return false;
            };
            if end < soonest {
                ends.dropped.push((filter.until, filter.client));
                filter.until = soonest;
                filter.stamp = stamp;
                ends.added.push((soonest, filter.client));
            }
            true
        });
        self.on_round = 0;
        self.keep_told(&mut ends);
        ends
    }

    /// Several refusals of a client may end at the same time: an end is dropped with the last.
    fn keep_told(&self, ends: &mut EndsChanged) {
        ends.dropped.retain(|(until, client)| {
            !self.list[self.span(*client)].iter().any(|f| f.until == *until)
        });
    }

    /// Resources that were in use came back, so the fair order counts again at once: refusals
    /// hold for their time alone.
    pub(super) fn release_round(&mut self) {
        if self.on_round > 0 {
            self.on_round = 0;
            for filter in &mut self.list {
                filter.on_round = false;
            }
        }
    }

    /// Drops the client's refusals that ended; those on their round stay until it ends, unless
    /// they are older than the client, or `born` is `None`: there is no such client any more.
    pub(super) fn expire(&mut self, client: ClientIx, born: Option<Stamp>, now: Mono) {
        for at in self.span(client).rev() {
            let filter = &self.list[at];
            let stale = born.is_none_or(|born| filter.stamp < born);
            if filter.until <= now && (stale || !filter.on_round) {
                self.drop_at(at);
            }
        }
    }
}
