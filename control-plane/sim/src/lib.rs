//! The simulator: virtual clock, simulated agents and frameworks, fault knobs.
