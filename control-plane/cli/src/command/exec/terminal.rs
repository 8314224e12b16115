//! This side's terminal: raw while a command elsewhere has it.

use std::io::{IsTerminal, stdin, stdout};

use anyhow::Context;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use serde_json::{Value, json};

/// Whether there is one.
pub(super) fn is_one() -> bool {
    stdin().is_terminal()
}

/// Whether somebody sits at one who sees what is printed and whose keys come here, not to a program
/// in the foreground.
pub(super) fn is_ours() -> bool {
    let foreground = rustix::termios::tcgetpgrp(stdin());
    stdout().is_terminal() && foreground.is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Its size as the agent takes it.
pub(super) fn size() -> Value {
    let found = rustix::termios::tcgetwinsize(stdin()).ok().filter(|size| size.ws_row > 0);
    let (rows, columns) = found.map_or((24, 80), |size| (size.ws_row, size.ws_col));
    json!({"rows": rows, "columns": columns})
}

/// The terminal passes every key on; dropped, it is as before.
pub(super) struct Raw {
    before: Termios,
}

impl Raw {
    pub(super) fn enter() -> anyhow::Result<Self> {
        let before = tcgetattr(stdin()).context("failed to read the terminal's settings")?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(stdin(), SetArg::TCSADRAIN, &raw).context("failed to change the terminal")?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &self.before);
    }
}
