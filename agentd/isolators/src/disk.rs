//! `disk/…`: what a sandbox holds.

mod du;
mod quota;

pub(crate) use du::Du;
pub(crate) use quota::Quota;
