//! systemd over D-Bus: transient units, their end, and their names. Nothing is decided here, no unit
//! file is written and nothing is ever reloaded.
//!
//! [`UnitSpec`] says what a unit is like and [`Manager`] makes it. A [`Manager`] outlives the bus: it
//! connects again by itself and tells its [`Watch`] that something may have been missed.

mod error;
mod manager;
mod name;
mod property;
mod proxy;
mod spec;

pub use error::SystemdError;
pub use manager::{Manager, News, UnitStatus, Watch};
pub use name::{SliceName, UnitName};
pub use property::{Property, fits_a_line, properties, takes_variable};
pub use spec::{Ceiling, Command, Pace, Rights, Stdin, UnitSpec};
