//! Finding recorded deliveries in files.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use uuid::Uuid;

use protocol::{Delivery, Dialect, Query};

/// Files that are read where a directory is named.
const ENDINGS: [&str; 4] = ["json", "jsonl", "ndjson", "log"];
/// A longer line holds no event, since no body is that large. In bytes.
const LINE_BYTES_MAX: u64 = 100 << 20;
/// A larger `.json` file is read line by line, not as one object. In bytes.
const OBJECT_BYTES_MAX: u64 = 100 << 20;

/// How the line of an event begins that a server could not store.
const NOT_STORED: &str = "{\"not_stored\":";

/// One delivery, and where it was found.
#[derive(Debug)]
pub(crate) struct RecordedDelivery {
    pub(crate) place: String,
    pub(crate) delivery: Delivery,
    /// The id of an event that a server wrote to its error log.
    pub(crate) not_stored: Option<Uuid>,
    /// How many bytes of all inputs were read until its end.
    pub(crate) bytes_read: u64,
}

/// What a file holds.
#[derive(Debug)]
pub(crate) enum Found {
    Delivery(RecordedDelivery),
    /// The line of an error log, at this place, that is not whole: its event is lost to us.
    CutOff(String),
}

/// The files that are named, and those below the directories that are named, in the order of their paths.
pub(crate) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            walk(path, &mut files)?;
            if files.len() == before {
                bail!("no {} file below `{}`", ENDINGS.join(", "), path.display());
            }
        } else if path.as_os_str() == "-" || path.exists() {
            files.push(path.clone());
        } else {
            bail!("there is no file `{}`", path.display());
        }
    }
    Ok(files)
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        directory.read_dir().with_context(|| format!("read `{}`", directory.display()))?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("");
        // A link to a directory above would lead in circles.
        if path.is_dir() && !path.is_symlink() {
            walk(&path, files)?;
        } else if path.is_file() && ENDINGS.contains(&ending) {
            files.push(path);
        }
    }
    Ok(())
}

/// Reads the deliveries of files one after the other, without holding more than one in memory.
pub(crate) struct Inputs {
    files: std::vec::IntoIter<PathBuf>,
    /// The file that is read, line by line.
    open: Option<Lines>,
    bytes_read: u64,
    /// Lines that hold no delivery, such as a log's other lines.
    pub(crate) skipped: u64,
}

struct Lines {
    name: String,
    reader: Box<dyn BufRead>,
    number: u64,
}

impl Inputs {
    pub(crate) fn new(files: Vec<PathBuf>) -> Self {
        Self { files: files.into_iter(), open: None, bytes_read: 0, skipped: 0 }
    }

    /// The next delivery; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Found>> {
        loop {
            if self.open.is_none() {
                let Some(path) = self.files.next() else {
                    return Ok(None);
                };
                if let Some(found) = self.enter(&path)? {
                    return Ok(Some(Found::Delivery(found)));
                }
            }
            if let Some(found) = self.next_line()? {
                return Ok(Some(found));
            }
        }
    }

    /// Opens a file. A file that as a whole is one delivery, as fixtures are, is read at once.
    fn enter(&mut self, path: &Path) -> Result<Option<RecordedDelivery>> {
        let name = path.display().to_string();
        if name == "-" {
            let reader = Box::new(BufReader::new(std::io::stdin()));
            self.open = Some(Lines { name: "stdin".to_owned(), reader, number: 0 });
            return Ok(None);
        }
        let file = File::open(path).with_context(|| format!("open `{name}`"))?;
        let size = file.metadata().with_context(|| format!("open `{name}`"))?.len();
        if path.extension().is_some_and(|ending| ending == "json") && size <= OBJECT_BYTES_MAX {
            let text = std::fs::read_to_string(path).with_context(|| format!("read `{name}`"))?;
            if let Some((delivery, not_stored)) = recorded(&text) {
                self.bytes_read += size;
                let bytes_read = self.bytes_read;
                return Ok(Some(RecordedDelivery {
                    place: name,
                    delivery,
                    not_stored,
                    bytes_read,
                }));
            }
        }
        self.open = Some(Lines { name, reader: Box::new(BufReader::new(file)), number: 0 });
        Ok(None)
    }

    /// The next delivery of the open file; closes the file at its end.
    fn next_line(&mut self) -> Result<Option<Found>> {
        while let Some(lines) = &mut self.open {
            let mut line = Vec::new();
            let read = lines
                .reader
                .by_ref()
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)
                .with_context(|| format!("read `{}`", lines.name))?;
            if read == 0 {
                self.open = None;
                break;
            }
            lines.number += 1;
            self.bytes_read += read as u64;
            let text = String::from_utf8_lossy(&line);
            let place = format!("{}:{}", lines.name, lines.number);
            match recorded(&text) {
                Some((delivery, not_stored)) => {
                    let bytes_read = self.bytes_read;
                    let found = RecordedDelivery { place, delivery, not_stored, bytes_read };
                    return Ok(Some(Found::Delivery(found)));
                }
                None if text.contains(NOT_STORED) => return Ok(Some(Found::CutOff(place))),
                None if text.trim().is_empty() => {}
                None => self.skipped += 1,
            }
        }
        Ok(None)
    }
}

/// The delivery that a text holds, for some app, and its id where it is from an error log. There, what collects the
/// log may have put words of its own before it.
fn recorded(text: &str) -> Option<(Delivery, Option<Uuid>)> {
    #[derive(Deserialize)]
    struct NotStored {
        id: Uuid,
    }
    let logged = text.find(NOT_STORED).map(|begin| text[begin..].trim_end());
    let json = logged.unwrap_or(text);
    let delivery = Delivery::parse(json).ok()?;
    match delivery.dialect {
        Dialect::Im => _ = Query::parse(&delivery.query).sdk_app_id.as_ref()?,
        Dialect::RtcEngine => _ = delivery.app()?,
    }
    let not_stored = logged.and_then(|json| serde_json::from_str::<NotStored>(json).ok());
    Some((delivery, not_stored.map(|event| event.id)))
}

#[cfg(test)]
mod tests {
    use crate::cli::traffic::recordings::*;

    #[test]
    fn recorded_requests_are_read_from_objects_lines_and_logs() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        write("a.json", "{\n  \"query\": \"SdkAppid=1\",\n  \"body\": {\"A\": 1}\n}\n");
        write(
            "b.jsonl",
            "{\"query\":\"SdkAppid=2\",\"body\":{}}\n\n{\"query\":\"SdkAppid=3\",\"body_text\":\"x\"}",
        );
        write(
            "sub/c.log",
            "INFO ready\nNov 21 host trtc[7]: {\"not_stored\":\"why\",\"id\":\"01a196fb-120b-8870-bd94-eb89a3dc61ef\",\
             \"query\":\"SdkAppid=4\",\"body\":{}}\n{\"query\":\"\",\"body\":{}}\n\
             {\"dialect\":\"rtc_engine\",\"headers\":{\"sdkappid\":\"6\"},\"body\":{}}\n\
             {\"dialect\":\"rtc_engine\",\"headers\":{\"sign\":\"x\"},\"body\":{}}\n\
             trtc[7]: {\"not_stored\":\"why\",\"id\":\"01a196fb-120b-8870-bd94-eb89a3dc61f0\",\"query\":\"SdkApp\n",
        );
        write("d.txt", "{\"query\":\"q=5\",\"body\":{}}\n");
        let mut inputs = Inputs::new(files(&[folder.path().to_owned()]).unwrap());
        let (mut apps, mut cut_off) = (Vec::new(), Vec::new());
        while let Some(found) = inputs.next().unwrap() {
            let found = match found {
                Found::Delivery(found) => found,
                Found::CutOff(place) => {
                    cut_off.push(place);
                    continue;
                }
            };
            assert_eq!(found.not_stored.is_some(), found.place.ends_with("c.log:2"));
            apps.extend(found.delivery.app().map(|app| app.to_string()));
        }
        assert_eq!(apps, ["1", "2", "3", "4", "6"]);
        assert_eq!(inputs.skipped, 3);
        assert!(cut_off.len() == 1 && cut_off[0].ends_with("c.log:6"), "{cut_off:?}");
        assert!(files(&[folder.path().join("nothing")]).is_err());
    }
}
