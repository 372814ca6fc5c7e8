use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Command};

/// Write the man pages, one for each command.
///
/// Packages hold them. `man trtc-callbacks` shows the first, which names the others.
#[derive(Debug, Args)]
pub(crate) struct ManPages {
    /// The folder to write to, made if missing
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

impl ManPages {
    /// Writes the pages of `command` and of all below it.
    pub(crate) fn run(self, command: Command) -> Result<()> {
        let folder = self.out.display();
        fs::create_dir_all(&self.out).with_context(|| format!("make the folder {folder}"))?;
        clap_mangen::generate_to(command, &self.out)
            .with_context(|| format!("write the man pages to {folder}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn each_command_has_a_man_page() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("man1");
        ManPages { out: out.clone() }.run(Cli::command()).unwrap();
        let files = fs::read_dir(&out).unwrap().map(|it| it.unwrap().file_name());
        let mut left: BTreeSet<String> = files.map(|it| it.into_string().unwrap()).collect();

        let mut root = Cli::command().disable_help_subcommand(true);
        root.build();
        let (mut rest, mut found) = (vec![&root], 0);
        while let Some(command) = rest.pop() {
            rest.extend(command.get_subcommands().filter(|it| !it.is_hide_set()));
            let name = command.get_bin_name().unwrap_or("trtc-callbacks").replace(' ', "-");
            assert!(left.remove(&format!("{name}.1")), "`{name}` has no page");
            let page = fs::read_to_string(out.join(format!("{name}.1"))).unwrap();
            let about = command.get_about().unwrap().to_string().replace('-', "\\-");
            assert!(page.contains(&about), "{name}: {page}");
            found += 1;
        }
        assert!(found > 40, "{found} found");
        assert_eq!(left, BTreeSet::new(), "pages of no command");
    }
}
