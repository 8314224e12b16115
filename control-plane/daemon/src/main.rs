//! The control plane's daemon: configuration, wiring, the driver loop, shutdown.
fn main() {}
