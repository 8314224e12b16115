//! What only systemd does for its units.

mod notify;
mod shield;

pub(crate) use notify::Notify;
pub(crate) use shield::Shield;
