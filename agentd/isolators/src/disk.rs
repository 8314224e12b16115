//! `disk/…`: what a sandbox holds.

mod du;

pub(crate) use du::Du;
pub use du::measure;
