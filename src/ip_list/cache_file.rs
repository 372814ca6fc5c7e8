//! The last good list of the vendor's addresses, on disk, so that a restart while the vendor's API is away has it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::ip_list::merge::Lists;
use protocol::UnixMillis;

/// The largest file that is read, in bytes. Both lists at their longest take less.
const BYTES_MAX: u64 = 1 << 20;

/// A list that was in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CachedLists {
    /// The ranges of each kind.
    pub(crate) lists: Lists,
    /// When the vendor gave it.
    pub(crate) fetched_at: UnixMillis,
}

/// As the file has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileContent {
    fetched_at: UnixMillis,
    china: Vec<String>,
    overseas: Vec<String>,
}

impl CachedLists {
    /// How many ranges it has.
    pub(crate) fn len(&self) -> usize {
        self.lists.iter().map(Vec::len).sum()
    }

    /// Every range, as text.
    pub(crate) fn words(&self) -> Vec<String> {
        self.lists.iter().flatten().map(IpNet::to_string).collect()
    }

    /// Reads it; `None` where there is no such file.
    ///
    /// # Errors
    /// It cannot be read, or is not a file of this program.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut text = String::new();
        if file.take(BYTES_MAX).read_to_string(&mut text)? as u64 == BYTES_MAX {
            return Err(io::Error::other("it is too long"));
        }
        let page: FileContent = serde_json::from_str(&text)?;
        let ranges = |words: &[String]| {
            let range = |word: &String| word.parse().map_err(io::Error::other);
            words.iter().map(range).collect::<io::Result<Vec<IpNet>>>()
        };
        let lists = [ranges(&page.china)?, ranges(&page.overseas)?];
        let kept = Self { lists, fetched_at: page.fetched_at };
        if kept.len() == 0 {
            return Err(io::Error::other("it names no address"));
        }
        Ok(Some(kept))
    }

    /// Writes it for this user only, all of it or nothing.
    ///
    /// # Errors
    /// It cannot be written; what was there stays.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let words = |ranges: &Vec<IpNet>| ranges.iter().map(IpNet::to_string).collect();
        let [china, overseas] = &self.lists;
        let page = FileContent {
            fetched_at: self.fetched_at,
            china: words(china),
            overseas: words(overseas),
        };
        let text = serde_json::to_string_pretty(&page)?;
        let new = path.with_extension("json.new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_written_cache_is_read_back_and_private_to_its_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vendor-addresses.json");
        assert_eq!(CachedLists::read(&path).unwrap(), None);
        let lists =
            [vec!["203.0.113.0/24".parse().unwrap()], vec!["2001:db8::/32".parse().unwrap()]];
        let kept = CachedLists { lists, fetched_at: UnixMillis(1_793_534_400_000) };
        for _ in 0..2 {
            kept.write(&path).unwrap();
            assert_eq!(CachedLists::read(&path).unwrap(), Some(kept.clone()));
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn an_invalid_cache_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vendor-addresses.json");
        let page = |words: &str| {
            format!(
                r#"{{"fetched_at":"2026-11-01T12:00:00.000Z","china":[{words}],"overseas":[]}}"#
            )
        };
        let long = " ".repeat(2 << 20);
        for text in ["", "{", "[]", &page(""), &page("\"x\""), &page("\"10.0.0.0/8\"")[1..], &long]
        {
            fs::write(&path, text).unwrap();
            assert!(CachedLists::read(&path).is_err(), "{text:.80}");
        }
        fs::write(&path, page("\"10.0.0.0/8\"")).unwrap();
        assert_eq!(CachedLists::read(&path).unwrap().unwrap().len(), 1);
    }
}
