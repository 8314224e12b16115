//! The Mesos half as a state machine: events in, effects out.
