//! What frameworks may say: each check names what is wrong, in Mesos's words where clients may
//! look for them.

pub(crate) mod command;
pub(crate) mod executor;
pub(crate) mod framework;
pub(crate) mod health;
pub(crate) mod offers;
pub(crate) mod task;

/// A sentence that says what is wrong.
pub(crate) type Fault = String;

/// Refuses with `fault` when `wrong`.
pub(crate) fn refuse_if(wrong: bool, fault: &str) -> Result<(), Fault> {
    if wrong { Err(fault.to_owned()) } else { Ok(()) }
}
