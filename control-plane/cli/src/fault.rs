//! What ends a verb badly: the cause, the fix, and the exit code.

use std::fmt;

/// Everything worked.
pub(crate) const DONE: u8 = 0;
/// The cluster refused, could not be reached, or rolled back.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage, or nothing fits.
pub(crate) const USAGE_OR_PLACEMENT: u8 = 2;
/// `tepui apply --dry-run`: something would change.
pub(crate) const CHANGES: u8 = 3;
/// Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// An error that knows what to do about it.
#[derive(Debug)]
pub(crate) struct Fault {
    what: String,
    fix: Option<String>,
    code: u8,
    /// The HTTP status, if this is an answer.
    status: Option<u16>,
}

impl Fault {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), fix: None, code: FAILED, status: None }
    }

    /// An answer with this HTTP status says so.
    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// What the reader should do.
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

fn find(error: &anyhow::Error) -> Option<&Fault> {
    error.downcast_ref::<Fault>().or_else(|| error.chain().find_map(|cause| cause.downcast_ref()))
}

/// The exit code that an error asks for.
pub(crate) fn code(error: &anyhow::Error) -> u8 {
    find(error).map_or(FAILED, |fault| fault.code)
}

/// The same error, which asks for another exit code.
pub(crate) fn with_code(error: anyhow::Error, code: u8) -> anyhow::Error {
    match error.downcast::<Fault>() {
        Ok(fault) => fault.code(code).into(),
        Err(error) => error,
    }
}

/// The HTTP status of the answer that the error is, if it is one.
pub(crate) fn status(error: &anyhow::Error) -> Option<u16> {
    find(error)?.status
}

/// The lines for stderr: what, why, and what to do.
pub(crate) fn show(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("  cause: {cause}\n"));
    }
    if let Some(fix) = find(error).and_then(|fault| fault.fix.as_ref()) {
        text.push_str(&format!("  fix: {fix}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_error_shows_cause_and_fix_and_keeps_its_code() {
        let fault = Fault::new("nothing fits").fix("ask for less").code(USAGE_OR_PLACEMENT);
        let error =
            Err::<(), _>(std::io::Error::other("disk")).context(fault).expect_err("it is an error");
        assert_eq!(show(&error), "error: nothing fits\n  cause: disk\n  fix: ask for less\n");
        assert_eq!(code(&error), USAGE_OR_PLACEMENT);
        assert_eq!(code(&anyhow::anyhow!("x")), FAILED);
    }
}
