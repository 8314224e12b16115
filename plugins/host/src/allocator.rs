//! An allocator in a library.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use tepui_allocator::{Input, Plan, Reason};
use tepui_plugin_abi::allocator::{self as wire, Message, read};
use tepui_plugin_abi::{Kind, Malformed};
use tepui_types::{FrameworkId, Mono, Role};

use crate::{Board, Failure, Refused, Runner, Shelf, Standing};

const APPLY: &str = "apply";
const ROUND: &str = "round";
const EXPLAIN: &str = "explain";
const REFUSALS: &str = "refusals";

/// Inputs of one call at most. A time budget is then for so much work, however large the cluster is
/// that a plugin is told of when it is put in force: one that is right is not late because there is
/// much to tell, one that hangs is late with the first call.
const TOLD_AT_ONCE: usize = 256;

/// An allocator in a library. Every call may fail; after a failure it is of no use.
#[derive(Debug)]
pub struct PluginAllocator {
    runner: Runner,
    /// What it has not been told yet: up to [`TOLD_AT_ONCE`] inputs are one call.
    untold: RefCell<Vec<(Mono, Input)>>,
    state: RefCell<wire::State>,
}

impl PluginAllocator {
    /// Opens it, of an empty cluster.
    ///
    /// # Errors
    ///
    /// [`Refused`], in one line; the board knows it already.
    pub fn open(shelf: &Shelf, name: &str, seed: u64, board: &Arc<Board>) -> Result<Self, Refused> {
        Self::open_as(Standing::InUse, shelf, name, seed, board)
    }

    /// As [`PluginAllocator::open`], for a plugin that stands so once it is open.
    pub(crate) fn open_as(
        standing: Standing,
        shelf: &Shelf,
        name: &str,
        seed: u64,
        board: &Arc<Board>,
    ) -> Result<Self, Refused> {
        let runner = Runner::start_as(standing, shelf, name, Kind::Allocator, seed, board)?;
        Ok(Self { runner, untold: RefCell::default(), state: RefCell::default() })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.runner.name()
    }

    /// Takes note of an input; it is told with the next call.
    pub fn hear(&self, now: Mono, input: Input) {
        self.untold.borrow_mut().push((now, input));
    }

    fn call<M: Message + Default, T>(
        &self,
        hook: &'static str,
        method: u32,
        bytes: Vec<u8>,
        understand: impl FnOnce(&M) -> Result<T, Malformed>,
    ) -> Result<T, Failure> {
        let answer = self.runner.call(hook, method, bytes)?;
        let understood = read("its answer", &answer).and_then(|message| understand(&message));
        understood.map_err(|error| self.runner.nonsense(hook, error))
    }

    /// Tells it what it has not been told, in calls that have their time budget each.
    ///
    /// # Errors
    ///
    /// [`Failure`] of the first call that fails; the rest is not told.
    pub fn tell(&self) -> Result<(), Failure> {
        for inputs in self.untold.take().chunks(TOLD_AT_ONCE) {
            let bytes = wire::tell(inputs.iter().map(|(at, input)| (*at, input)));
            let state =
                self.call(APPLY, wire::APPLY, bytes, |state: &wire::State| Ok(state.clone()))?;
            self.state.replace(state);
        }
        Ok(())
    }

    /// True when a round may propose something. What it has not been told yet may be such a thing.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.untold.borrow().is_empty() || self.state.borrow().dirty
    }

    /// When a round is due although nothing happens.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        self.state.borrow().wakeup_nanos.map(Mono::from_nanos)
    }

    /// Plans offers.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    pub fn round(&self, now: Mono) -> Result<Plan, Failure> {
        self.tell()?;
        let ask = wire::Ask { at_nanos: now.as_nanos(), ..wire::Ask::default() };
        let (plan, state) =
            self.call(ROUND, wire::ROUND, ask.encode_to_vec(), |answer: &wire::Planned| {
                Ok((wire::plan(answer)?, answer.state.clone().unwrap_or_default()))
            })?;
        self.state.replace(state);
        Ok(plan)
    }

    /// Why a framework is offered no more.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    pub fn explain(&self, now: Mono, framework: &FrameworkId) -> Result<Vec<Reason>, Failure> {
        self.tell()?;
        let ask = wire::Ask { at_nanos: now.as_nanos(), framework: framework.as_str().to_owned() };
        self.call(EXPLAIN, wire::EXPLAIN, ask.encode_to_vec(), wire::reasons)
    }

    /// How many refusals hold, by role.
    ///
    /// # Errors
    ///
    /// [`Failure`].
    pub fn refusals(&self, now: Mono) -> Result<BTreeMap<Role, u64>, Failure> {
        self.tell()?;
        let ask = wire::Ask { at_nanos: now.as_nanos(), ..wire::Ask::default() };
        self.call(REFUSALS, wire::REFUSALS, ask.encode_to_vec(), wire::refusals)
    }

    /// A plan that cannot be.
    #[must_use]
    pub fn nonsense(&self, why: impl ToString) -> Failure {
        self.runner.nonsense(ROUND, why)
    }

    /// Puts it out of use.
    pub fn condemn(&self, failure: &Failure, instead: &str) {
        self.runner.condemn(failure, instead);
    }

    /// The operator wants another one.
    pub fn retire(self) {
        self.runner.retire();
    }
}
