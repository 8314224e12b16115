//! A registry that can misbehave.
