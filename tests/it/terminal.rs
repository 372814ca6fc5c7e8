//! What the program writes to a terminal, where letters that users chose must not steer it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use serde_json::{Value, json};

use crate::process::{Serving, done, program};

/// A C1 control, DEL, marks of direction, what nobody sees, and ends of lines. ESC as JSON escapes it anyway.
const STEERS: &str =
    "\u{9b}31m\u{7f}\u{61c}\u{200b}\u{200d}\u{202e}\u{2028}\u{2029}\u{2066}\u{feff}\u{1b}[2J";

fn is_unsafe(letter: char) -> bool {
    let others = "\u{61c}\u{200b}\u{200d}\u{202e}\u{2028}\u{2029}\u{2066}\u{feff}";
    letter.is_control() && letter != '\n' || others.contains(letter)
}

/// What it writes to a terminal, the terminal's own ends of lines aside.
fn shown(folder: &Path, arguments: &[&str]) -> String {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let ours = openpt(flags).unwrap();
    unlockpt(&ours).unwrap();
    let theirs = ioctl_tiocgptpeer(&ours, flags).unwrap();
    let mut command = program(folder);
    command.args(arguments).stdout(theirs.try_clone().unwrap()).stderr(theirs);
    let reading = std::thread::spawn(move || {
        let (mut ours, mut all, mut part) = (File::from(ours), Vec::new(), [0; 4096]);
        // At the end of the last writer the terminal gives an error.
        while let Ok(read @ 1..) = ours.read(&mut part) {
            all.extend_from_slice(&part[..read]);
        }
        String::from_utf8(all).unwrap()
    });
    assert!(command.status().unwrap().success(), "{arguments:?}");
    drop(command);
    reading.join().unwrap().replace("\r\n", "\n")
}

#[test]
fn user_chosen_text_does_not_control_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), &[]);
    let call = format!("c{STEERS}");
    let body = json!({"CallbackCommand": "Call.CallbackAfterStartCall", "EventTime": 1_793_534_400_000_i64,
        "CallInfo": {"CallId": call, "CallMediaType": "Video"},
        "UserList": [{"User_Account": STEERS, "Status": "Calling"}]});
    let delivery = json!({"query": "SdkAppid=1400000001", "body": body}).to_string();
    std::fs::write(folder.path().join("one.json"), delivery).unwrap();
    done(folder.path(), &["send", "one.json", "--as-is", "--to", &serving.url]);
    serving.stop();

    let json: [&[&str]; 5] = [
        &["events", "--json"],
        &["calls", "--json"],
        &["call", &call, "--json"],
        &["export", "calls", "--format", "ndjson"],
        &["export", "events", "--format", "ndjson"],
    ];
    for arguments in json {
        let text = shown(folder.path(), arguments);
        assert!(!text.contains(is_unsafe), "{arguments:?}: {text:?}");
        // The same values as in a file, which is exact.
        let file = done(folder.path(), arguments);
        assert!(file.contains('\u{9b}') && file.contains('\u{202e}'), "{arguments:?}: {file:?}");
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(read(&text), read(&file), "{arguments:?}");
    }
    let text: [&[&str]; 4] =
        [&["events"], &["calls"], &["call", &call], &["export", "calls", "--format", "csv"]];
    for arguments in text {
        let text = shown(folder.path(), arguments);
        assert!(text.contains('c') && !text.contains(is_unsafe), "{arguments:?}: {text:?}");
    }
    let file = done(folder.path(), &["export", "calls"]);
    assert!(file.contains(&call), "{file:?}");
    // Errors tell what was given, and a server's answer.
    let mut missing = program(folder.path());
    let missing = missing.args(["call", &format!("no{STEERS}")]).output().unwrap();
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(said.contains("no\\u{9b}31m") && !said.contains(is_unsafe), "{said:?}");
}
