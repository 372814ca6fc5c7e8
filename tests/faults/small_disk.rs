//! A file system of a test's own in memory, which is soon full.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// It is unmounted when it is dropped.
pub(crate) struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// So many MiB; none where that is not allowed.
    pub(crate) fn mount(at: &Path, mib: u32) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0777"), "tmpfs"])
            .arg(at)
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self { at: at.to_owned() })
    }

    /// Takes so many bytes of it.
    pub(crate) fn take(&self, bytes: usize) {
        std::fs::write(self.ballast(), vec![0; bytes]).unwrap();
    }

    /// Takes all that is free.
    pub(crate) fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        loop {
            match ballast.write_all(&[0; 4096]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Gives back what was taken.
    pub(crate) fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The server may still have files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}
