//! Simulated agents on real wires, and a framework that measures: these use clocks and sockets,
//! unlike everything else here.

pub mod agents;
pub mod rate;
