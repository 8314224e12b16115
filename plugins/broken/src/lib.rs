//! Libraries that are deliberately broken, one per way of being broken (`examples/`), and the proof
//! that daemons refuse or contain each with one line (`tests/`). This crate itself has nothing.
