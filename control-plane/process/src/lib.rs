//! What both daemons need of the process that they are: clocks, configuration files, the log,
//! signals, HTTP connections and how long requests take, and word to the service manager.

mod certificates;
mod clock;
mod config;
pub mod exporter;
mod hosts;
mod http;
mod ignored;
mod log;
mod requests;
mod signals;
mod watchdog;

pub use certificates::{NoCertificate, check_store_files, watch_certificates};
pub use clock::{Clock, seed};
pub use config::{check_host, guard_address, load_settings};
pub use hosts::OwnNames;
pub use http::{Connection, Patience, serve_http};
pub use ignored::note_ignored;
pub use log::{LogFormat, start_log};
pub use requests::{answered, measured};
pub use signals::{Hangups, kill_self, notify, raise_descriptor_limit, stop_requested, terminated};
pub use watchdog::Watchdog;
