//! A standby takes over from its primary while the server runs.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::cluster::{Cluster, Stop};
use crate::doctor::{assert_check, examined};
use crate::process::done;
use crate::support::{DESTROY_ROOM, Database, Server, destroy_room, eventually, settings};

/// Both hosts, this one first.
fn url_of(first: &Cluster, second: &Cluster) -> String {
    let (first, second) = (first.port(), second.port());
    format!(
        "postgres://postgres@127.0.0.1:{first},127.0.0.1:{second}/postgres?target_session_attrs=primary"
    )
}

async fn number(cluster: &Cluster, sql: &'static str) -> i64 {
    let mut session = cluster.session().await;
    sqlx::query_scalar(sql).fetch_one(&mut session).await.unwrap()
}

const EVENTS: &str = "select count(*) from events";

/// A server on another store than the test's own database, which it needs for its spool alone.
async fn server_on(url: &str) -> Server {
    let place = Database::sqlite();
    Server::start_with(settings(&place, &[("TRTC_STORE__URL", url)])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_the_primary_is_used() {
    let mut primary = Cluster::start().await;
    let standby = primary.standby().await;
    let url = url_of(&standby, &primary);
    let server = server_on(&url).await;
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
    assert_eq!(server.figures().await.outcome("stored"), 1);
    let folder = tempfile::tempdir().unwrap();
    let (_, checks) = examined(folder.path(), &["--store", &url]);
    assert_check(&checks, "writing", "ok", "rolled back");

    // Nobody is told: what comes next finds it out.
    primary.stop(Stop::Immediate);
    let (_, checks) = examined(folder.path(), &["--store", &url]);
    assert_check(&checks, "store", "fail", "none of its hosts is a primary");
    standby.promote().await;
    server.post_body(DESTROY_ROOM, destroy_room(2)).await;
    eventually("the event is at the new primary", || async { number(&standby, EVENTS).await == 2 })
        .await;
    // Those of readers and of single jobs, too.
    let has_both = || async {
        let (status, events) = server.get_ops("/api/v1/events").await;
        status == 200 && events.matches("\"id\"").count() == 2
    };
    eventually("readers see both", has_both).await;
    let numbered = || async { number(&standby, "select count(*) from feed_new").await == 0 };
    eventually("both have positions", numbered).await;
    let said = done(folder.path(), &["events", "--json", "--store", &url]);
    assert_eq!(said.lines().count(), 2);

    // The old one comes back as what it was, and is a primary, too, of a timeline that nobody follows: the first host that is
    // one is used, which is still the promoted one.
    server.post_body(DESTROY_ROOM, destroy_room(3)).await;
    eventually("the event is there as well", || async { number(&standby, EVENTS).await == 3 })
        .await;
    server.stop().await;
}

/// Stands in for a load balancer or a name that leads to another host from now on; connections that there are stay.
struct Balancer {
    target: Arc<Mutex<SocketAddr>>,
    port: u16,
}

impl Balancer {
    async fn before(cluster: &Cluster) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(Mutex::new(address(cluster)));
        let leads_to = target.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let target = *leads_to.lock().unwrap();
                let mut far = TcpStream::connect(target).await.unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
            }
        });
        Self { target, port }
    }
}

fn address(cluster: &Cluster) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, cluster.port()).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_a_fenced_primary_are_dropped() {
    let primary = Cluster::start().await;
    let standby = primary.standby().await;
    let balancer = Balancer::before(&primary).await;
    let server = server_on(&Cluster::url_through(balancer.port)).await;
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
    assert_eq!(number(&primary, EVENTS).await, 1);

    // The old primary lives on and takes no writes; its connections stay open.
    primary.execute("alter system set synchronous_standby_names = ''").await;
    primary.execute("alter system set default_transaction_read_only = on").await;
    primary.execute("select pg_reload_conf()").await;
    standby.promote().await;
    *balancer.target.lock().unwrap() = address(&standby);
    server.post_body(DESTROY_ROOM, destroy_room(2)).await;
    let stored = "select count(*) from events where room_id like '%2'";
    eventually("the event is at the new primary", || async { number(&standby, stored).await == 1 })
        .await;
    assert_eq!(number(&primary, stored).await, 0);
    // Nobody reads from the old one any more.
    let readers = || async {
        let text = server.get_ops("/api/v1/events").await.1;
        text.matches("\"id\"").count() == 2
    };
    eventually("readers are at the new primary", readers).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_alone_is_refused_until_it_is_promoted() {
    let primary = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["migrate", "--store", &primary.url()]);
    let standby = primary.standby().await;
    let place = Database::sqlite();
    let url = standby.url();
    let server =
        Server::start_before_its_store(settings(&place, &[("TRTC_STORE__URL", &url)])).await;
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
    assert_eq!(server.figures().await.outcome("spooled"), 1);
    let (code, checks) = examined(folder.path(), &["--store", &url]);
    assert_check(&checks, "primary", "fail", "this is a standby");
    assert_eq!(code, 1);
    standby.promote().await;
    eventually("the spooled event is stored", || async { number(&standby, EVENTS).await == 1 })
        .await;
    server.stop().await;
}
