//! The agent daemon: configuration, wiring, the driver loop.
fn main() {}
