//! A disk that is full when it is told to be.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of its own in memory.
pub(crate) struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// None where that is not allowed.
    pub(crate) fn mount(at: &Path, mebibytes: u32) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m,mode=0777"), "tmpfs"])
            .arg(at)
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self { at: at.to_owned() })
    }

    /// Takes all of its room but so many bytes.
    pub(crate) fn fill(&self, but: u64) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let page = [0; 4096];
        let mut written = 0;
        loop {
            match ballast.write(&page) {
                Ok(bytes) => written += u64::try_from(bytes).unwrap(),
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
        ballast.set_len(written.saturating_sub(but)).unwrap();
    }

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
