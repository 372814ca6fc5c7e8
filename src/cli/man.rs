use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_mangen::Man;

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
        let mut command = command.disable_help_subcommand(true);
        command.build();
        write_pages(&command, &self.out).with_context(|| format!("write the man pages to {folder}"))
    }
}

fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below, folder)?;
    }
    let source = concat!("trtc-callbacks ", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).source(source).generate_to(folder).map(drop)
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
            assert!(page.contains(&format!("\n.TH {name} 1 ")), "{name}: {page}");
            assert!(page.contains("\n.SH SYNOPSIS\n"), "{name}: {page}");
            found += 1;
        }
        assert!(found > 40, "{found} found");
        assert_eq!(left, BTreeSet::new(), "pages of no command");
    }
}
