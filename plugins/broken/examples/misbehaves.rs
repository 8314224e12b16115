//! Misbehaves in the way that its settings say, once it is asked for a plan.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::thread::park;

use tepui_plugin_sdk::serde::{self, Deserialize};
use tepui_plugin_sdk::{
    Allocate, Drf, FrameworkId, Input, Mono, Plan, Reason, Resource, ResourceName, Role, Scalar,
    Start,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(crate = "serde", rename_all = "snake_case")]
enum How {
    /// Says no when it is opened.
    Refuses,
    /// Panics when it is opened.
    PanicsOnLoad,
    /// Never comes back from opening.
    HangsOnLoad,
    /// Panics in a call.
    Panics,
    /// Panics with something that is no text, and panics again when that is dropped.
    PanicsTwice,
    /// Never comes back from a call.
    Hangs,
    /// Never comes back from being told something.
    HangsWhenTold,
    /// Never comes back from a call that tells it more than a thousand things.
    HangsWhenToldMuch,
    /// Offers more than there is.
    Invents,
    /// Offers the same twice.
    OffersTwice,
    /// Panics when it is asked why.
    PanicsAtExplain,
    /// Behaves well.
    Behaves,
}

#[derive(Deserialize)]
#[serde(crate = "serde", deny_unknown_fields)]
struct Settings {
    how: How,
}

struct Misbehaves {
    how: How,
    drf: Drf,
    /// Inputs of the call that is under way: each ends with a question for its state.
    told: Cell<usize>,
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

fn hang() -> ! {
    loop {
        park();
    }
}

fn open(start: &Start) -> Result<Misbehaves, String> {
    let Settings { how } = start.settings()?;
    // Its host says what it panicked with; saying it here as well would bury what tests print.
    std::panic::set_hook(Box::new(|_| {}));
    match how {
        How::Refuses => Err("nothing here is good enough".to_owned()),
        How::PanicsOnLoad => panic!("cannot stand it here"),
        How::HangsOnLoad => hang(),
        _ => Ok(Misbehaves { how, drf: Drf::new(start.entropy()), told: Cell::default() }),
    }
}

impl Allocate for Misbehaves {
    fn apply(&mut self, now: Mono, input: Input) {
        self.told.set(self.told.get() + 1);
        match self.how {
            How::HangsWhenTold => hang(),
            How::HangsWhenToldMuch if self.told.get() > 1000 => hang(),
            _ => {}
        }
        self.drf.apply(now, input);
    }

    fn is_dirty(&self) -> bool {
        self.told.set(0);
        self.drf.is_dirty()
    }

    fn next_wakeup(&self) -> Option<Mono> {
        self.drf.next_wakeup()
    }

    fn round(&mut self, now: Mono) -> Plan {
        match self.how {
            How::Panics => panic!("lost the plan"),
            How::PanicsTwice => std::panic::panic_any(Bomb),
            How::Hangs => hang(),
            _ => {}
        }
        let mut plan = self.drf.round(now);
        match self.how {
            How::Invents => {
                let cpus = Resource::scalar(ResourceName::Cpus, Scalar::from_units(1_000_000));
                for proposal in &mut plan.proposals {
                    proposal.resources = [cpus.clone()].into_iter().collect();
                }
            }
            How::OffersTwice => plan.proposals.extend(plan.proposals.clone()),
            _ => {}
        }
        plan
    }

    fn explain(&self, now: Mono, framework: &FrameworkId) -> Vec<Reason> {
        assert!(self.how != How::PanicsAtExplain, "there is nothing to explain");
        self.drf.explain(now, framework)
    }

    fn refusals(&self, now: Mono) -> BTreeMap<Role, u64> {
        self.drf.refusals(now)
    }
}

tepui_plugin_sdk::export_allocator!(name: "misbehaves", open: open);
