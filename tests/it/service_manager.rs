//! What the real program says to a service manager, which is a socket of ours here.

use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::{Serving, done, program};
use crate::support::APP;

/// The side of the service manager.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        Self(UnixDatagram::bind(path).unwrap())
    }

    /// The next message; `None` if there is none for this long.
    fn hears(&self, within: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(within)).unwrap();
        let mut message = [0; 4096];
        match self.0.recv(&mut message) {
            Ok(length) => Some(String::from_utf8(message[..length].to_vec()).unwrap()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The next message that is wanted; others are passed over.
    fn hears_of(&self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let message = self.hears(Duration::from_secs(30)).expect("it was not said in time");
            if wanted(&message) {
                return message;
            }
        }
    }
}

fn with_manager(folder: &Path, name: &str) -> Command {
    let mut command = program(folder);
    command.env("NOTIFY_SOCKET", name);
    command
}

fn sends(folder: &Path, to: &str) -> String {
    done(folder, &["send", "Room.CallbackAfterDestroyRoom", "--to", to])
}

#[test]
fn ready_is_said_once_callbacks_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager::at(&path);
    let serving = Serving::start_as(with_manager(folder.path(), path.to_str().unwrap()), &[]);
    let first = manager.hears(Duration::from_secs(30)).unwrap();
    assert_eq!(first, "STATUS=opening spool and store");
    let ready = manager.hears(Duration::from_secs(30)).unwrap();
    let status = ready.strip_prefix("READY=1\nSTATUS=callbacks on ").unwrap();
    let (url, rest) = status.split_once(", operations on ").unwrap();
    assert_eq!(url, serving.url);
    // At once, without another look at the server.
    sends(folder.path(), url);
    assert!(rest.starts_with(&format!("{}; ", serving.ops_url)), "{rest}");
    let serving = serving.with_store();
    if !rest.ends_with("; events go to the store") {
        manager.hears_of(|message| message.ends_with("; events go to the store"));
    }

    serving.stop();
    let stopping = manager.hears_of(|message| !message.starts_with("STATUS=callbacks on"));
    assert!(stopping.starts_with("STOPPING=1\nSTATUS="), "{stopping}");
    assert_eq!(manager.hears(Duration::from_millis(50)), None, "it has ended");
}

#[test]
fn a_start_into_the_spool_is_ready_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager::at(&path);
    let command = with_manager(folder.path(), path.to_str().unwrap());
    // Nobody listens there.
    let store = ["--store", "postgres://nobody@127.0.0.1:1/nothing"];
    let serving = Serving::start_as(command, &store);
    let ready = manager.hears_of(|message| message.starts_with("READY=1"));
    let away = "; the store does not take events, they go to the spool";
    assert!(ready.ends_with(away), "{ready}");
    sends(folder.path(), &serving.url);
    let changed = manager.hears_of(|_| true);
    assert!(changed.ends_with(&format!("{away}; in the spool: 1")), "{changed}");
    serving.stop();
}

#[test]
fn a_start_that_waits_for_its_store_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager::at(&path);
    let mut child = with_manager(folder.path(), path.to_str().unwrap())
        .env("TRTC_SPOOL__PATH", "")
        .args(["serve", "--sdk-app-id", APP, "--listen", "127.0.0.1:0"])
        .args(["--ops-listen", "127.0.0.1:0", "--store", "postgres://nobody@127.0.0.1:1/nothing"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("waiting for the store")));
    let said = manager.hears(Duration::from_secs(30));
    assert_eq!(said.as_deref(), Some("STATUS=opening spool and store"));
    assert_eq!(manager.hears(Duration::from_millis(300)), None);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_frozen_process_does_not_feed_the_watchdog() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager::at(&path);
    let mut command = with_manager(folder.path(), path.to_str().unwrap());
    command.env("WATCHDOG_USEC", "200000");
    let begun = std::time::Instant::now();
    let serving = Serving::start_as(command, &[]);
    let is_food = |message: &str| message == "WATCHDOG=1";
    for _ in 0..10 {
        manager.hears_of(is_food);
    }
    // The first at once, and then one each half of the time.
    assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());

    serving.signal("-STOP");
    let mut late = 0;
    while manager.hears(Duration::from_millis(600)).is_some() {
        late += 1;
        assert!(late < 10, "it is still fed");
    }
    serving.signal("-CONT");
    manager.hears_of(is_food);
    serving.stop();
}

#[test]
fn the_watchdog_of_another_process_is_not_fed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager::at(&path);
    let mut command = with_manager(folder.path(), path.to_str().unwrap());
    command.env("WATCHDOG_USEC", "20000").env("WATCHDOG_PID", "1");
    let serving = Serving::start_as(command, &[]);
    manager.hears_of(|message| message.starts_with("READY=1"));
    serving.stop();
    while let Some(message) = manager.hears(Duration::from_millis(50)) {
        assert_ne!(message, "WATCHDOG=1");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_socket_with_an_abstract_name_is_told() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let folder = tempfile::tempdir().unwrap();
    let name = format!("trtc-callbacks-test/{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager(UnixDatagram::bind_addr(&address).unwrap());
    let serving = Serving::start_as(with_manager(folder.path(), &format!("@{name}")), &[]);
    manager.hears_of(|message| message.starts_with("READY=1"));
    serving.stop();
}

#[test]
fn a_service_manager_that_is_gone_costs_no_event() {
    let folder = tempfile::tempdir().unwrap();
    for (name, problem) in [
        ("/nowhere/notify", "the service manager cannot be told"),
        ("notify", "NOTIFY_SOCKET cannot be used, so the service manager is told nothing"),
    ] {
        let serving = Serving::start_and_see(with_manager(folder.path(), name), problem);
        assert_eq!(sends(folder.path(), &serving.url), "1 sent: 1 stored\n");
        serving.stop();
    }
}

#[test]
fn the_units_fit_the_settings_they_are_installed_with() {
    let folder = tempfile::tempdir().unwrap();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let config = std::fs::read_to_string(deploy.join("debian/config.toml")).unwrap();
    let config = config.replace("#[[apps]]", "[[apps]]").replace("#sdk_app_id", "sdk_app_id");
    std::fs::write(folder.path().join("config.toml"), config).unwrap();
    let unit = std::fs::read_to_string(deploy.join("systemd/trtc-callbacks.service")).unwrap();
    let values = |key: &str| {
        let values = unit.lines().filter_map(|line| line.strip_prefix(key));
        values.map(str::to_owned).collect::<Vec<_>>()
    };

    let mut command = program(folder.path());
    for variable in values("Environment=") {
        let (name, value) = variable.split_once('=').unwrap();
        command.env(name, value);
    }
    let output = command.args(["check-config", "--config", "config.toml"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    // The folder of the service is the one that the settings name.
    let state = format!("/var/lib/{}/", values("StateDirectory=")[0]);
    assert!(said.contains(&format!("sqlite://{state}")), "{said}");
    assert!(said.contains(&format!("spool      {state}")), "{said}");
    // With a hand-over systemd would lose sight of the server.
    assert!(values("Environment=").contains(&"TRTC_SERVER__HAND_OVER=".to_owned()));
    let defaults = done(folder.path(), &["default-config"]);
    let connections = defaults.lines().find_map(|line| line.strip_prefix("connections_max = "));
    let descriptors: u32 = values("LimitNOFILE=")[0].parse().unwrap();
    assert!(descriptors >= connections.unwrap().parse::<u32>().unwrap() + 500);
}
