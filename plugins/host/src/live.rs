//! The allocator in force: the one that is built in, or a plugin that it keeps an eye on.
//!
//! The built-in one is told everything in any case and books what the plugin proposes, so that it
//! stands ready: when a call of the plugin fails, or its plan offers what is not there, the same
//! round is planned by the built-in one, and nothing of the plugin's plan is acted on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_allocator::{Allocate, Drf, Input, Plan, Proposal, Reason};
use tepui_plugin_abi::Kind;
use tepui_types::{Entropy, FrameworkId, Mono, Role};

use crate::{Board, Failure, PluginAllocator, Standing};

/// The name of the allocator that is built in.
pub const BUILT_IN: &str = "drf";

/// The allocator in force.
#[derive(Debug)]
pub struct Live {
    built_in: Drf,
    /// The plugin, and how it failed since the last input or round, if it did.
    plugin: Option<(PluginAllocator, RefCell<Option<Failure>>)>,
    board: Arc<Board>,
}

impl Live {
    /// The built-in allocator of an empty cluster.
    #[must_use]
    pub fn new(entropy: Entropy, board: Arc<Board>) -> Self {
        board.list_built_in(BUILT_IN, Kind::Allocator);
        Self { built_in: Drf::new(entropy), plugin: None, board }
    }

    /// The name of whoever plans.
    #[must_use]
    pub fn name(&self) -> &str {
        self.plugin.as_ref().map_or(BUILT_IN, |(plugin, _)| plugin.name())
    }

    /// Puts a plugin in force, which is told all that is known; whoever was before stays when it
    /// cannot take that.
    ///
    /// # Errors
    ///
    /// [`Failure`]; the board knows it already.
    pub fn seat(&mut self, now: Mono, next: PluginAllocator) -> Result<(), Failure> {
        self.settle();
        for input in self.built_in.snapshot() {
            next.hear(now, input);
        }
        if let Err(failure) = next.tell() {
            next.condemn(&failure, self.name());
            return Err(failure);
        }
        self.board.stand(BUILT_IN, Kind::Allocator, Standing::StandsBy);
        let before = self.plugin.replace((next, RefCell::default()));
        if let Some((before, _)) = before
            && self.name() != before.name()
        {
            before.retire();
        }
        self.board.forgive(self.name(), Kind::Allocator);
        Ok(())
    }

    /// Puts the built-in allocator in force.
    pub fn unseat(&mut self) {
        self.settle();
        if let Some((before, _)) = self.plugin.take() {
            before.retire();
            self.board.stand(BUILT_IN, Kind::Allocator, Standing::InUse);
        }
        self.board.forgive(BUILT_IN, Kind::Allocator);
    }

    /// Whether a plugin plans.
    pub(crate) fn has_plugin(&self) -> bool {
        self.plugin.is_some()
    }

    /// Tells the plugin what it has not been told; how that fails, the next round knows.
    pub(crate) fn tell(&self) {
        self.asked(PluginAllocator::tell, |_| ());
    }

    /// Lets go of a plugin that failed.
    fn settle(&mut self) {
        let failure = self.plugin.as_ref().and_then(|(_, failure)| failure.take());
        if let (Some(failure), Some((plugin, _))) = (failure, &self.plugin) {
            plugin.condemn(&failure, BUILT_IN);
            self.plugin = None;
            self.board.stand(BUILT_IN, Kind::Allocator, Standing::InUse);
        }
    }

    /// The plugin's plan, booked here too; or how it failed, with nothing booked.
    fn followed(&mut self, now: Mono) -> Result<Option<Plan>, Failure> {
        let Some((plugin, _)) = &self.plugin else { return Ok(None) };
        let plan = plugin.round(now)?;
        for (at, proposal) in plan.proposals.iter().enumerate() {
            if let Err(misfit) = self.built_in.adopt(proposal) {
                let failure = plugin.nonsense(misfit);
                for booked in &plan.proposals[..at] {
                    self.built_in.apply(now, given_back(booked));
                }
                return Err(failure);
            }
        }
        Ok(Some(plan))
    }

    fn asked<T>(
        &self,
        ask: impl FnOnce(&PluginAllocator) -> Result<T, Failure>,
        built_in: impl FnOnce(&Drf) -> T,
    ) -> T {
        if let Some((plugin, failure)) = &self.plugin
            && failure.borrow().is_none()
        {
            match ask(plugin) {
                Ok(answer) => return answer,
                Err(how) => failure.replace(Some(how)),
            };
        }
        built_in(&self.built_in)
    }
}

fn given_back(booked: &Proposal) -> Input {
    let Proposal { framework, role, agent, resources, .. } = booked.clone();
    Input::Released { framework, role, agent, resources, refusal: None }
}

impl Allocate for Live {
    fn apply(&mut self, now: Mono, input: Input) {
        if let Some((plugin, _)) = &self.plugin {
            plugin.hear(now, input.clone());
        }
        self.built_in.apply(now, input);
    }

    fn is_dirty(&self) -> bool {
        match &self.plugin {
            Some((plugin, failure)) => failure.borrow().is_some() || plugin.is_dirty(),
            None => self.built_in.is_dirty(),
        }
    }

    fn next_wakeup(&self) -> Option<Mono> {
        match &self.plugin {
            Some((plugin, _)) => plugin.next_wakeup(),
            None => self.built_in.next_wakeup(),
        }
    }

    fn round(&mut self, now: Mono) -> Plan {
        self.settle();
        match self.followed(now) {
            Ok(Some(plan)) => return plan,
            Ok(None) => {}
            Err(failure) => {
                if let Some((_, failed)) = &self.plugin {
                    failed.replace(Some(failure));
                }
                self.settle();
            }
        }
        self.built_in.round(now)
    }

    fn explain(&self, now: Mono, framework: &FrameworkId) -> Vec<Reason> {
        self.asked(|plugin| plugin.explain(now, framework), |drf| drf.explain(now, framework))
    }

    fn refusals(&self, now: Mono) -> BTreeMap<Role, u64> {
        self.asked(|plugin| plugin.refusals(now), |drf| drf.refusals(now))
    }
}
