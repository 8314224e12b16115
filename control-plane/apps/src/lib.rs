//! The Marathon half as a state machine that sees offers like any framework.
