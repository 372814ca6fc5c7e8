use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print a completion script for a shell.
///
/// For bash: `trtc-callbacks completions bash > /etc/bash_completion.d/trtc-callbacks`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<()> {
        let mut script = Vec::new();
        let mut command = super::Cli::command();
        clap_complete::generate(self.shell, &mut command, "trtc-callbacks", &mut script);
        super::print(&String::from_utf8(script)?)
    }
}
