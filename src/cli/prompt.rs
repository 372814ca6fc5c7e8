//! Confirmation at the terminal.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, Result, bail};

use protocol::diagnostic::Diagnostic;

/// Fails where there is no terminal to ask on; `hint` says what to give instead.
pub(crate) fn require_terminal(hint: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!(Diagnostic::new(
            "cannot ask for confirmation without a terminal; nothing was changed",
            hint
        ));
    }
    Ok(())
}

/// Waits for a `yes`. Where there is no terminal to ask on, `hint` says what to give instead.
pub(crate) fn confirm(hint: &str) -> Result<()> {
    require_terminal(hint)?;
    write!(std::io::stderr(), "type yes to continue: ").context("write to stderr")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("read from stdin")?;
    if answer.trim() != "yes" {
        bail!("nothing was changed");
    }
    Ok(())
}
