//! Why a container could not be made.

use std::fmt::Display;
use std::path::Path;

/// One line for the framework's user: what was attempted, on what, and what it met.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Fault(pub(crate) String);

impl Fault {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Says what was attempted.
pub(crate) trait Attempt<T> {
    /// On nothing in particular.
    fn to(self, deed: &str) -> Result<T, Fault>;
    /// On a path.
    fn on(self, deed: &str, path: &Path) -> Result<T, Fault>;
}

impl<T, E: Display> Attempt<T> for Result<T, E> {
    fn to(self, deed: &str) -> Result<T, Fault> {
        self.map_err(|error| Fault(format!("failed to {deed}: {error}")))
    }

    fn on(self, deed: &str, path: &Path) -> Result<T, Fault> {
        self.map_err(|error| Fault(format!("failed to {deed} '{}': {error}", path.display())))
    }
}

/// An error with all its causes, each once, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
