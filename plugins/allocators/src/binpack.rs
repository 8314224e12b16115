//! The allocator `binpack`: the fullest agents are offered first, and a framework gets only so
//! many offers at a time, so that agents stay empty while others still have room.
//!
//! Who is offered an agent follows from fair shares (the smallest dominant share first). Which agent,
//! from how full it is: the one with the largest part of any of its scalars in use. A framework that
//! has `offers_at_once` unanswered offers gets the next one when it answers; so what it runs fills
//! the agents that are in use already, instead of being spread over a whole empty cluster that it
//! was offered at once. The price is a round for each handful of offers.

use serde::Deserialize;
use tepui_plugin_sdk::{Agent, AgentId, Books, Candidate, Kept, Policy};

/// What an operator may set.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many offers of a framework in a role may wait for an answer, at least 1.
    pub offers_at_once: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { offers_at_once: 4 }
    }
}

/// Decides as the module's documentation says.
#[derive(Clone, Debug)]
pub struct Binpack {
    settings: Settings,
}

/// How many thousandths of an agent's scarcest scalar are in use.
fn fullness(agent: &Agent) -> u64 {
    let total = &agent.facts().total;
    let part = |name| {
        let (all, free) = (total.scalar(name).as_milli(), agent.free().scalar(name).as_milli());
        (all - free.min(all)).saturating_mul(1000).checked_div(all).unwrap_or(0)
    };
    total.scalars().map(|(identity, _)| part(&identity.name)).max().unwrap_or(0)
}

impl Policy for Binpack {
    fn rank(&self, agent: &Agent) -> u64 {
        1000 - fullness(agent).min(1000)
    }

    fn most_unanswered(&self) -> Option<usize> {
        Some(self.settings.offers_at_once)
    }

    fn choose(&mut self, books: &Books, _: &AgentId, candidates: &[Candidate]) -> Option<usize> {
        let share = |at: usize| books.dominant_share(&candidates[at].client);
        (0..candidates.len()).min_by(|a, b| share(*a).total_cmp(&share(*b)))
    }
}

/// The allocator of these settings.
///
/// # Errors
/// What is wrong with the settings.
pub fn allocator(settings: Settings) -> Result<Kept<Binpack>, String> {
    if settings.offers_at_once == 0 {
        return Err("offers_at_once is 0: nothing would ever be offered".to_owned());
    }
    Ok(Kept::new(Binpack { settings }))
}
