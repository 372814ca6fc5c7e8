//! The examples for reverse proxies in `docs/guide/tencent-console.md`, run as they stand there: what they let through, and what
//! they write to logs.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use protocol::verify::sign;

use crate::ports::free_port;
use crate::process::Serving;
use crate::support::{APP, DESTROY_ROOM, OK, destroy_room, eventually};

/// The part of the path that is a secret, and the token.
const SECRET: &str = "2f1c8a0e9b7d4c63";
const TOKEN: &str = "t0ken";

/// A proxy whose example is run.
struct Proxy {
    /// The variable in which `scripts/proxies` names its program.
    variable: &'static str,
    program: &'static str,
    /// What the example's block begins with.
    fence: &'static str,
    /// The line of the example that keeps path and query out of its error log.
    quiet: &'static str,
    /// Writes the configuration of the example, and gives the arguments that use it.
    arrange: fn(example: &str, folder: &Path, ports: Ports) -> Vec<String>,
}

#[derive(Clone, Copy)]
struct Ports {
    /// Where the proxy listens.
    own: u16,
    /// Where the server does.
    server: u16,
}

const NGINX: Proxy = Proxy {
    variable: "TEST_NGINX",
    program: "nginx",
    fence: "```nginx",
    quiet: "error_log /var/log/nginx/error.log crit;",
    arrange: nginx,
};
const CADDY: Proxy = Proxy {
    variable: "TEST_CADDY",
    program: "caddy",
    fence: "```caddy",
    quiet: "exclude http.log.error",
    arrange: caddy,
};

fn nginx(example: &str, folder: &Path, ports: Ports) -> Vec<String> {
    let log = folder.join("error.log").display().to_string();
    let example = example.replace("/var/log/nginx/error.log", &log);
    let at = folder.display();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = paths.map(|name| format!("{name}_temp_path {at}/{name};\n")).concat();
    // Its workers would otherwise be somebody who may not write there.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let config = format!(
        "{user}daemon off;\npid {at}/nginx.pid;\nerror_log {log};\nevents {{}}\nhttp {{\naccess_log {at}/access.log;\n{paths}\
         server {{\nlisten 127.0.0.1:{};\n{example}\n}}\n}}\n",
        ports.own
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config).unwrap();
    vec!["-p".into(), at.to_string(), "-c".into(), file.display().to_string()]
}

fn caddy(example: &str, folder: &Path, ports: Ports) -> Vec<String> {
    // Without its admin's port, which is the same for all, and without a certificate, which needs the name.
    let example = example.replacen('{', "{\nadmin off\n", 1);
    let example =
        example.replace("rtc.example.com {", &format!("http://127.0.0.1:{} {{", ports.own));
    let file = folder.join("Caddyfile");
    fs::write(&file, example).unwrap();
    let words = ["run", "--adapter", "caddyfile", "--config"];
    words.map(str::to_owned).into_iter().chain([file.display().to_string()]).collect()
}

/// A proxy that runs, ended with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let id = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.0.wait();
    }
}

impl Proxy {
    /// Its program; `None` where there is none, which only a developer's machine may.
    fn found(&self) -> Option<String> {
        let named = std::env::var(self.variable).ok().filter(|path| !path.is_empty());
        let runs = |path: &String| {
            Command::new(path)
                .arg("version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .is_ok_and(|mut child| child.wait().is_ok())
        };
        let found = named.or_else(|| Some(self.program.to_owned()).filter(runs));
        if found.is_none() {
            assert!(
                std::env::var_os("CI").is_none(),
                "{} is not set: scripts/proxies installs what it names",
                self.variable
            );
            eprintln!("there is no {}: its example is not run", self.program);
        }
        found
    }

    /// The example as the page has it.
    fn example(&self) -> String {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/tencent-console.md");
        let page = fs::read_to_string(page).unwrap();
        let (_, behind) = page.split_once(self.fence).expect("the page has the example");
        let (example, _) = behind.split_once("```").unwrap();
        assert!(example.contains(self.quiet), "{example}");
        example.to_owned()
    }

    fn start(&self, program: &str, example: &str, folder: &Path, ports: Ports) -> Running {
        let example = example.replace("127.0.0.1:8080", &format!("127.0.0.1:{}", ports.server));
        let arguments = (self.arrange)(&example, folder, ports);
        let log = fs::File::create(folder.join("said.log")).unwrap();
        let child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .env("HOME", folder)
            .env("XDG_DATA_HOME", folder)
            .env("XDG_CONFIG_HOME", folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Running(child)
    }
}

/// Everything that was written below a folder as text.
fn written(folder: &Path) -> String {
    let mut all = String::new();
    for entry in folder.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            all += &written(&entry);
        } else if entry.extension().is_some_and(|ending| ending == "log") {
            all += &String::from_utf8_lossy(&fs::read(entry).unwrap());
        }
    }
    all
}

/// Sends what the example is to bear, and gives what the proxy wrote to logs, and the signature that was sent.
async fn logs_of(proxy: &Proxy, program: &str, example: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let config = format!(
        "[server]\ncallback_paths = [\"/callback/{SECRET}\"]\n[[apps]]\nsdk_app_id = {APP}\ncallback_tokens = [\"{TOKEN}\"]\n"
    );
    fs::write(home.path().join("my.toml"), config).unwrap();
    let serving = Serving::start(home.path(), &["--config", "my.toml"]);
    let server: u16 = serving.url.rsplit(':').next().unwrap().parse().unwrap();
    let ports = Ports { own: free_port(), server };
    let running = proxy.start(program, example, folder.path(), ports);
    let client = trtc_callbacks::tencent_api::http_client().no_proxy().build().unwrap();
    let time = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs().to_string();
    let sign = sign(&TOKEN.into(), &time);
    let url = format!(
        "http://127.0.0.1:{}/callback/{SECRET}?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}&Sign={sign}&RequestTime={time}",
        ports.own
    );
    let post = async |body: Vec<u8>| {
        let answer = client.post(&url).body(body).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    };
    let is_up = || async { post(destroy_room(1).into()).await == Some((200, OK.to_owned())) };
    eventually(proxy.program, is_up).await;
    let (status, _) = post(vec![b' '; 400 << 10]).await.unwrap();
    assert_eq!(status, 413, "a body over the limit");
    // The server restarts: there is nobody for a while.
    serving.stop();
    let (status, _) = post(destroy_room(2).into()).await.unwrap();
    assert_eq!(status, 502, "while the server is away");
    drop(running);
    (written(folder.path()), sign)
}

async fn keeps_the_secret(proxy: Proxy) {
    let Some(program) = proxy.found() else { return };
    let example = proxy.example();
    let (logs, sign) = logs_of(&proxy, &program, &example).await;
    assert!(!logs.contains(SECRET) && !logs.contains(&sign), "{logs}");
    // It is that line which does it.
    let (logs, sign) = logs_of(&proxy, &program, &example.replace(proxy.quiet, "")).await;
    assert!(logs.contains(SECRET) && logs.contains(&sign), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nginx_example_logs_no_path_and_no_signature() {
    keeps_the_secret(NGINX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caddy_example_logs_no_path_and_no_signature() {
    keeps_the_secret(CADDY).await;
}
