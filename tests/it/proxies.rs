//! The configurations in `deploy/proxy`, run as they stand there: what they let through, whose address they state, and what they write to
//! logs. And `HAProxy` with the PROXY protocol.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use protocol::verify::sign;

use crate::ports::free_port;
use crate::process::Serving;
use crate::support::{APP, DESTROY_ROOM, OK, destroy_room, eventually};

/// The part of the path that is a secret, and the token.
const SECRET: &str = "2f1c8a0e9b7d4c63";
const TOKEN: &str = "t0ken";
/// The only address whose events are taken, and another.
const TAKEN: &str = "127.0.0.5";
const FOREIGN: &str = "127.0.0.6";

/// A proxy whose configuration is run.
struct Proxy {
    /// The variable in which `scripts/proxies` names its program.
    variable: &'static str,
    program: &'static str,
    /// The file in `deploy/proxy`.
    file: &'static str,
    /// What keeps path and query out of its log, and what would be written in its place.
    quiet: (&'static str, &'static str),
    /// Arranges the file for this machine, and gives the arguments that use it.
    arrange: fn(text: &str, folder: &Path, own: u16) -> Vec<String>,
}

const NGINX: Proxy = Proxy {
    variable: "TEST_NGINX",
    program: "nginx",
    file: "nginx.conf",
    quiet: ("-error.log emerg;", "-error.log;"),
    arrange: nginx,
};
const CADDY: Proxy = Proxy {
    variable: "TEST_CADDY",
    program: "caddy",
    file: "Caddyfile",
    quiet: ("exclude http.log http.handlers", ""),
    arrange: caddy,
};
const HAPROXY: Proxy = Proxy {
    variable: "TEST_HAPROXY",
    program: "haproxy",
    file: "haproxy.cfg",
    quiet: ("log-format \"%ci %ST %U %Ta %tsc\"", "option httplog"),
    arrange: haproxy,
};

/// Replaces each of these, which must be there.
fn replaced(text: &str, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(text.to_owned(), |text, (old, new)| {
        assert!(text.contains(old), "there is no `{old}` in\n{text}");
        text.replace(old, new)
    })
}

fn nginx(text: &str, folder: &Path, own: u16) -> Vec<String> {
    let at = folder.display().to_string();
    let site = replaced(
        text,
        &[
            ("listen 443 ssl;", &format!("listen 127.0.0.1:{own} ssl;")),
            ("listen [::]:443 ssl;", ""),
            ("/etc/ssl/rtc.example.com/fullchain.pem", &format!("{at}/cert.pem")),
            ("/etc/ssl/rtc.example.com/privkey.pem", &format!("{at}/key.pem")),
            ("/var/log/nginx", &at),
        ],
    );
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = paths.map(|name| format!("{name}_temp_path {at}/{name};\n")).concat();
    // Its workers would otherwise be somebody who may not write there.
    let user = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let config = format!(
        "{user}daemon off;\npid {at}/nginx.pid;\nerror_log {at}/error.log;\nevents {{}}\nhttp {{\naccess_log {at}/access.log;\n{paths}{site}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, config).unwrap();
    vec!["-p".into(), at, "-c".into(), file.display().to_string()]
}

fn caddy(text: &str, folder: &Path, own: u16) -> Vec<String> {
    let at = folder.display();
    // Without its admin's port, which is the same for all, and without a certificate of Let's Encrypt, which needs the name.
    let text = text.replacen("\n{\n", "\n{\nadmin off\nauto_https disable_redirects\n", 1);
    let site = format!(
        "https://rtc.example.com:{own} {{\nbind 127.0.0.1\ntls {at}/cert.pem {at}/key.pem\n"
    );
    let file = folder.join("Caddyfile");
    fs::write(&file, replaced(&text, &[("rtc.example.com {", &site), ("admin off", "admin off")]))
        .unwrap();
    let words = ["run", "--adapter", "caddyfile", "--config"];
    words.map(str::to_owned).into_iter().chain([file.display().to_string()]).collect()
}

fn haproxy(text: &str, folder: &Path, own: u16) -> Vec<String> {
    let at = folder.display();
    let certificate =
        ["cert.pem", "key.pem"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
    fs::write(folder.join("both.pem"), certificate.concat()).unwrap();
    let text = replaced(
        text,
        &[
            ("log /dev/log local0", "log stdout format raw local0"),
            ("bind :443 ssl", &format!("bind 127.0.0.1:{own} ssl")),
            ("bind [::]:443", "# bind"),
            ("/etc/haproxy/rtc.example.com.pem", &format!("{at}/both.pem")),
        ],
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text).unwrap();
    vec!["-db".into(), "-f".into(), file.display().to_string()]
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
            eprintln!("there is no {}: its configuration is not run", self.program);
        }
        found
    }

    /// The configuration as operators get it.
    fn configuration(&self) -> String {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/proxy").join(self.file);
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains(self.quiet.0), "{text}");
        text
    }
}

fn start(program: &str, arguments: &[String], folder: &Path) -> Running {
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

/// A server that takes events of one address only, behind a proxy.
fn server(home: &Path, more: &str) -> (Serving, u16) {
    let config = format!(
        "[server]\ncallback_paths = [\"/callback/{SECRET}\"]\n{more}[auth]\nsource_addresses = [\"{TAKEN}\"]\n\
         trusted_proxies = [\"127.0.0.1\"]\n[[apps]]\nsdk_app_id = {APP}\ncallback_tokens = [\"{TOKEN}\"]\n"
    );
    fs::write(home.join("my.toml"), config).unwrap();
    let serving = Serving::start(home, &["--config", "my.toml"]);
    let port = serving.url.rsplit(':').next().unwrap().parse().unwrap();
    (serving, port)
}

/// A client with this address, which is told where the name is.
fn client(address: &str, port: u16) -> reqwest::Client {
    trtc_callbacks::tencent_api::http_client()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .local_address(Some(address.parse().unwrap()))
        .resolve("rtc.example.com", SocketAddr::from(([127, 0, 0, 1], port)))
        .build()
        .unwrap()
}

/// What is asked for, with a signature that is true.
fn target() -> (String, String) {
    let time = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs().to_string();
    let sign = sign(&TOKEN.into(), &time);
    let query =
        format!("SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}&Sign={sign}&RequestTime={time}");
    (format!("/callback/{SECRET}?{query}"), sign)
}

async fn post(client: &reqwest::Client, url: &str, body: Vec<u8>) -> Option<(u16, String)> {
    // What a client may write there itself.
    let request = client.post(url).header("X-Forwarded-For", TAKEN).body(body);
    let answer = request.send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

/// Sends what the configuration is to bear, and gives what the proxy wrote to logs, and the signature that was sent.
async fn logs_of(proxy: &Proxy, program: &str, text: &str) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let (serving, port) = server(home.path(), "");
    let made = rcgen::generate_simple_self_signed(["rtc.example.com".to_owned()]).unwrap();
    fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let text = replaced(text, &[("127.0.0.1:8080", &format!("127.0.0.1:{port}"))]);
    let ops = serving.ops_url.rsplit(':').next().unwrap();
    let text = text.replace("health_port 9090", &format!("health_port {ops}"));
    let own = free_port();
    let running = start(program, &(proxy.arrange)(&text, folder.path(), own), folder.path());
    let (ours, other) = (client(TAKEN, own), client(FOREIGN, own));
    let (path, sign) = target();
    let url = format!("https://rtc.example.com:{own}{path}");
    let taken = Some((200, OK.to_owned()));
    let is_up = || async { post(&ours, &url, destroy_room(1).into()).await == taken };
    eventually(proxy.program, is_up).await;
    assert_eq!(serving.figures().await.outcome("rejected_address_foreign"), 0);
    assert_eq!(post(&other, &url, destroy_room(2).into()).await, taken);
    assert_eq!(serving.figures().await.outcome("rejected_address_foreign"), 1, "the client's word");
    let (status, _) = post(&ours, &url, vec![b' '; 300 << 10]).await.unwrap();
    assert_eq!(status, 413, "a body over the limit");
    let requests = async || serving.figures().await.value("trtc_requests_total");
    let before = requests().await;
    let (status, _) = post(&ours, &url.replace(SECRET, "x"), b"{}".to_vec()).await.unwrap();
    assert_eq!((status, requests().await - before), (404, 0), "another path");
    // There is nobody for a while.
    serving.stop();
    let (status, _) = post(&ours, &url, destroy_room(3).into()).await.unwrap();
    assert!((500..=504).contains(&status), "{status} while the server is away");
    drop(running);
    (written(folder.path()), sign)
}

async fn keeps_the_secret(proxy: Proxy) {
    let Some(program) = proxy.found() else { return };
    let text = proxy.configuration();
    let (logs, sign) = logs_of(&proxy, &program, &text).await;
    assert!(!logs.contains(SECRET) && !logs.contains(&sign), "{logs}");
    // It is that line which does it.
    let (quiet, usual) = proxy.quiet;
    let (logs, sign) = logs_of(&proxy, &program, &text.replace(quiet, usual)).await;
    assert!(logs.contains(SECRET) && logs.contains(&sign), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nginx_configuration_logs_no_path_and_no_signature() {
    keeps_the_secret(NGINX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caddy_configuration_logs_no_path_and_no_signature() {
    keeps_the_secret(CADDY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_haproxy_configuration_logs_no_path_and_no_signature() {
    keeps_the_secret(HAPROXY).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_names_its_client_in_both_versions() {
    let Some(program) = HAPROXY.found() else { return };
    for send in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"] {
        let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (serving, port) = server(home.path(), "proxy_protocol = \"required\"\n");
        let own = free_port();
        // Its health checks ask for what is answered 405.
        let config = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n timeout check 20s\nlisten trtc\n bind 127.0.0.1:{own}\n \
             unique-id-format %ci\n option httpchk GET /callback/{SECRET}\n http-check expect status 405\n \
             server local 127.0.0.1:{port} {send} check check-send-proxy inter 100ms\n"
        );
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, config).unwrap();
        let arguments = ["-db".to_owned(), "-f".to_owned(), file.display().to_string()];
        let running = start(&program, &arguments, folder.path());
        let (path, _) = target();
        let url = format!("http://rtc.example.com:{own}{path}");
        let (ours, other) = (client(TAKEN, own), client(FOREIGN, own));
        let taken = Some((200, OK.to_owned()));
        let is_up = || async { post(&ours, &url, destroy_room(1).into()).await == taken };
        eventually("HAProxy", is_up).await;
        assert_eq!(serving.figures().await.outcome("rejected_address_foreign"), 0, "{send}");
        assert_eq!(post(&other, &url, destroy_room(2).into()).await, taken, "{send}");
        assert_eq!(serving.figures().await.outcome("rejected_address_foreign"), 1, "{send}");
        let checked = || async { serving.figures().await.outcome("method_not_allowed") > 2 };
        eventually("HAProxy's health checks", checked).await;
        assert_eq!(serving.figures().await.outcome("head_broken"), 0, "{send}");
        drop(running);
        let said = written(folder.path());
        assert!(!said.contains("DOWN") && !said.contains("ALERT"), "{send}: {said}");
        serving.stop();
    }
}
