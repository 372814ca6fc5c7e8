//! Restarts on one machine, under traffic: nobody is refused, nothing is cut off, and nothing is lost.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::load::{Load, Plan};
use crate::ports::free_port;
use crate::server::{Place, Sockets};
use crate::trial::{Kept, Trial, in_full};

const RESTARTS: u64 = 10;
const PATIENCE: Duration = Duration::from_mins(1);

/// While events come, again and again a new process takes over from the one before.
async fn taken_over_again_and_again(trial: Trial, place: &Place, target: SocketAddr) {
    let mut serving = place.start();
    let load = Load::start(&Plan::to(&[target]).at_rate(200));
    for _ in 0..RESTARTS {
        tokio::time::sleep(Duration::from_millis(in_full(2000, 500))).await;
        let next = place.start_taking_over();
        std::mem::replace(&mut serving, next).ends_by_itself();
    }
    let sent = load.finish();
    serving.drained().await;
    let kept = Kept::in_store(&place.store_url()).await.and_by(place, &serving).await;
    trial.judge(&sent, &kept);
    assert_eq!(place.errors(), Vec::<String>::new());
    serving.terminate();
    let left = place.folder().join("data/hand-over.sock").exists();
    assert!(!left, "the server that ended last left its socket behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_servers_that_take_over_from_each_other_lose_nothing() {
    let trial = Trial::of("ten restarts with `serve --take-over`", "SQLite");
    let place = Place::on_sqlite();
    taken_over_again_and_again(trial, &place, place.address()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_servers_that_take_over_behind_nginx_lose_nothing() {
    let trial = Trial::of("ten restarts with `serve --take-over`, behind nginx", "SQLite");
    let place = Place::on_sqlite();
    let Some(nginx) = Nginx::before(place.address()) else { return };
    taken_over_again_and_again(trial, &place, nginx.address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_restarts_on_sockets_of_the_service_manager_lose_nothing() {
    let trial = Trial::of("ten restarts on sockets that a service manager holds", "SQLite");
    let place = Place::on_sqlite();
    let sockets = Sockets::open(&place);
    let mut serving = place.start_on(&sockets);
    let load = Load::start(&Plan::to(&[place.address()]).at_rate(200));
    for _ in 0..RESTARTS {
        tokio::time::sleep(Duration::from_millis(in_full(2000, 500))).await;
        serving.terminate();
        serving = place.start_on(&sockets);
    }
    let sent = load.finish();
    serving.drained().await;
    let kept = Kept::in_store(&place.store_url()).await.and_by(&place, &serving).await;
    trial.judge(&sent, &kept);
    assert_eq!(place.errors(), Vec::<String>::new());
}

/// nginx as `docs/guide/tencent-console.md` has it, with connections to the server that it keeps.
struct Nginx {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Nginx {
    /// None where there is no nginx.
    fn before(server: SocketAddr) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let path = folder.path().display();
        let config = format!(
            "daemon off; pid {path}/pid; error_log {path}/error.log;
             events {{}}
             http {{
                 access_log off;
                 client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;
                 fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;
                 upstream callbacks {{ server {server} max_fails=0; keepalive 16; }}
                 server {{
                     listen {address};
                     location / {{
                         proxy_pass http://callbacks;
                         proxy_http_version 1.1;
                         proxy_set_header Connection \"\";
                     }}
                 }}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let child = Self::run(&file)?;
        let nginx = Self { child, address, _folder: folder };
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(nginx)
    }

    fn run(config: &Path) -> Option<Child> {
        for program in ["nginx", "/usr/sbin/nginx"] {
            let mut command = Command::new(program);
            command.arg("-c").arg(config).stdout(Stdio::null()).stderr(Stdio::null());
            if let Ok(child) = command.spawn() {
                return Some(child);
            }
        }
        eprintln!("SKIPPED: there is no nginx on this machine");
        None
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The worker ends with its master only where that is asked to.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
