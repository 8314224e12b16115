//! Simulated agents on real wires, and a framework that measures: these use clocks and sockets,
//! unlike everything else here.

pub mod agents;
mod framework;
pub mod hold;
pub mod rate;
mod story;
