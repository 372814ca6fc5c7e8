//! Three nats-servers in a cluster, with their files in a temporary folder.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// How long they may take to listen.
const START: Duration = Duration::from_secs(30);
const NODES: usize = 3;

/// They are killed when this is dropped.
pub(crate) struct NatsCluster {
    nodes: Vec<Child>,
    ports: Vec<u16>,
    folder: TempDir,
}

impl NatsCluster {
    /// `None` where there is no nats-server on this machine.
    pub(crate) fn start() -> Result<Option<Self>> {
        let named = std::env::var_os("TEST_NATS_SERVER").filter(|path| !path.is_empty());
        let Some(program) = named.map(PathBuf::from) else { return Ok(None) };
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        // All are held until all are known, so that they differ.
        let listeners = (0..2 * NODES).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listeners: Vec<TcpListener> = listeners.collect::<Result<_, _>>()?;
        let ports = listeners.iter().map(|it| Ok(it.local_addr()?.port()));
        let ports: Vec<u16> = ports.collect::<Result<_>>()?;
        drop(listeners);
        let (ports, routes) = ports.split_at(NODES);
        let mut cluster = Self { nodes: Vec::new(), ports: ports.to_vec(), folder };
        for (node, port) in ports.iter().enumerate() {
            let child = start_node(&program, cluster.folder.path(), node, *port, routes)?;
            cluster.nodes.push(child);
        }
        let begun = Instant::now();
        for port in ports {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_err() {
                ensure!(begun.elapsed() < START, "nats-server does not listen");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(Some(cluster))
    }

    /// This as a table of settings.
    pub(crate) fn table(&self, name: &str, in_flight: u32) -> String {
        let servers = self.ports.iter().map(|port| format!("nats://127.0.0.1:{port}"));
        let url = servers.collect::<Vec<_>>().join(",");
        format!(
            "[[forward]]\nname = '{name}'\nurl = '{url}'\ncreate_stream = true\nin_flight_max = {in_flight}\n"
        )
    }
}

impl Drop for NatsCluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

fn start_node(
    program: &Path,
    folder: &Path,
    node: usize,
    port: u16,
    routes: &[u16],
) -> Result<Child> {
    let (config, store) = (folder.join(format!("{node}.conf")), folder.join(format!("{node}")));
    let mut text = format!(
        "server_name: n{node}\nlisten: 127.0.0.1:{port}\njetstream {{ store_dir: \"{}\", max_file_store: 64GB }}\n",
        store.display()
    );
    let urls: Vec<String> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    writeln!(
        text,
        "cluster {{ name: bench, listen: 127.0.0.1:{}, routes: [{}] }}",
        routes[node],
        urls.join(", ")
    )?;
    std::fs::write(&config, text)?;
    Command::new(program)
        .arg("-c")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start nats-server")
}
