//! Declared apps: what files say, what the cluster has, and the way from one to the other.
//!
//! Definitions are read as the control plane reads them (`tepui-marathon`), so that two spellings
//! of one app are no change. All of this is pure but for `definitions::read`.

mod definitions;
mod plan;

pub(crate) use definitions::{Definition, OWNER_LABEL, read};
#[cfg(test)]
pub(crate) use plan::Difference;
pub(crate) use plan::{Conflict, Live, Obstacle, Plan, PruneRefusal, Pruning, plan};
