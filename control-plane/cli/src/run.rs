//! `tepui run` as a framework: what it decides (`launcher`), what it takes of an offer
//! (`fit`), why it is offered nothing (`why`), and how a status becomes an exit code (`exit`).

pub(crate) mod exit;
mod fit;
pub(crate) mod launcher;
pub(crate) mod why;
