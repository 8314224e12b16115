//! The control plane state machines wired together: one event in, all effects out.
