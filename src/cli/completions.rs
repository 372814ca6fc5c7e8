use anyhow::Result;
use clap::{Args, Command};
use clap_complete::Shell;

use crate::cli::output;

/// Print a completion script for a shell.
///
/// For bash: `trtc-callbacks completions bash > /etc/bash_completion.d/trtc-callbacks`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    shell: Shell,
}

impl Completions {
    /// Prints the script that completes `command`.
    pub(crate) fn run(self, mut command: Command) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "trtc-callbacks", &mut script);
        output::print(&String::from_utf8(script)?)
    }
}
