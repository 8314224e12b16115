//! The host's state machine: registration, task and executor life cycle, status updates, recovery.
