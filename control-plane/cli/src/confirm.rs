//! Asking before something happens that cannot be undone.

use std::io::{BufRead, IsTerminal, Write};

/// Asks on the terminal; without one the answer is no.
pub(crate) fn confirm(question: &str) -> anyhow::Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Ok(false);
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
