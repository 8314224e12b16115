//! What clients asked not to be offered on one agent.
//!
//! A refusal holds for its time, and at least until the agent has been *round*: while somebody
//! else takes what is free there, it does not come back to whoever refused it, however short
//! refusals are (invariant I-39).

use tepui_types::{Mono, Resources};

use super::Client;

/// Refusals of one client that are kept for one agent; the one that ends first goes.
const MOST: usize = 8;

#[derive(Clone, Debug)]
struct Refused {
    client: Client,
    what: Resources,
    until: Mono,
    on_round: bool,
}

/// What stands against an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    No,
    /// Until the agent has been round, and at least until then.
    OnRound(Mono),
    Until(Mono),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Refusals(Vec<Refused>);

impl Refusals {
    pub(super) fn held(&self, now: Mono, client: &Client, bundle: &Resources) -> Held {
        let mut held = Held::No;
        let mine = self.0.iter().filter(|one| one.client == *client);
        for one in mine.filter(|one| one.what.contains(bundle)) {
            let until = match held {
                Held::No => one.until,
                Held::OnRound(until) | Held::Until(until) => until.max(one.until),
            };
            if one.on_round || matches!(held, Held::OnRound(_)) {
                held = Held::OnRound(until);
            } else if one.until > now {
                held = Held::Until(until);
            }
        }
        held
    }

    pub(super) fn refuse(&mut self, client: Client, what: Resources, until: Mono) {
        let mine = self.0.iter().enumerate().filter(|(_, one)| one.client == client);
        let mine: Vec<(Mono, usize)> = mine.map(|(at, one)| (one.until, at)).collect();
        if mine.len() >= MOST
            && let Some((_, at)) = mine.iter().min()
        {
            self.0.remove(*at);
        }
        self.0.push(Refused { client, what, until, on_round: true });
    }

    /// The agent's round is over: nobody takes what is left but those who refused it, who may see it
    /// again at `soonest` at the earliest. Returns when whose refusals end.
    pub(super) fn end_round(&mut self, soonest: Mono) -> Vec<(Mono, Client)> {
        let mut ends = Vec::new();
        for one in self.0.iter_mut().filter(|one| one.on_round) {
            one.on_round = false;
            one.until = one.until.max(soonest);
            ends.push((one.until, one.client.clone()));
        }
        ends
    }

    /// Resources that were in use came back: the agent is offered afresh.
    pub(super) fn release_round(&mut self) {
        self.0.iter_mut().for_each(|one| one.on_round = false);
    }

    pub(super) fn expire(&mut self, now: Mono) {
        self.0.retain(|one| one.on_round || one.until > now);
    }

    pub(super) fn withdraw(&mut self, of: impl Fn(&Client) -> bool) {
        self.0.retain(|one| !of(&one.client));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn holding(&self, now: Mono) -> impl Iterator<Item = &Client> {
        self.0.iter().filter(move |one| one.until > now).map(|one| &one.client)
    }
}
