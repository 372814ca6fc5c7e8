//! What stands in front of PostgreSQL beside `PgBouncer`, and databases and roles that are not as the server needs them.

use std::path::Path;

use crate::cluster::Cluster;
use crate::doctor::{assert_check, examined};
use crate::pooler::Pooler;
use crate::process::{Serving, done, failed};
use crate::support::{DESTROY_ROOM, Database, eventually};

/// pgpool-II before a primary and its standby, which gets everything that only reads and that it may balance.
fn pgpool(primary: &Cluster, standby: &Cluster, more: &str) -> Pooler {
    let given = std::env::var("TEST_PGPOOL").ok().filter(|path| !path.is_empty());
    let program = given.unwrap_or_else(|| "pgpool".to_owned());
    let configuration = |port: u16, folder: &Path| {
        let (folder, pcp) = (folder.display(), crate::ports::free_port());
        let (primary, standby) = (primary.port(), standby.port());
        format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{folder}'\n\
             pcp_listen_addresses = '127.0.0.1'\npcp_port = {pcp}\npcp_socket_dir = '{folder}'\n\
             pid_file_name = '{folder}/pgpool.pid'\nlogdir = '{folder}'\nwork_dir = '{folder}'\n\
             backend_clustering_mode = 'streaming_replication'\n\
             backend_hostname0 = '127.0.0.1'\nbackend_port0 = {primary}\nbackend_weight0 = 0\n\
             backend_hostname1 = '127.0.0.1'\nbackend_port1 = {standby}\nbackend_weight1 = 1\n\
             sr_check_user = 'postgres'\nsr_check_database = 'postgres'\nsr_check_period = 1\n\
             num_init_children = 40\nmax_pool = 1\n{more}\n"
        )
    };
    Pooler::run(&program, configuration, &["-n", "-f"])
}

fn post(folder: &Path, serving: &Serving) {
    done(folder, &["send", DESTROY_ROOM, "--to", &serving.url]);
}

async fn events(cluster: &Cluster) -> i64 {
    let mut session = cluster.session().await;
    sqlx::query_scalar("select count(*) from events").fetch_one(&mut session).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_of_reads_is_refused_with_its_setting() {
    let primary = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["migrate", "--store", &primary.url()]);
    let standby = primary.standby().await;
    let balancing = pgpool(&primary, &standby, "load_balance_mode = on");
    let url = balancing.url("postgres");
    let serving = Serving::start_without_store(folder.path(), &["--store", &url]);
    let said = serving.next_error(|line| line["reason"].is_string());
    assert!(said["reason"].as_str().unwrap().contains("a load balancer stands before"), "{said}");
    let setting = "`app_name_redirect_preference_list = 'trtc-callbacks.*:primary'`";
    assert!(said["hint"].as_str().unwrap().contains(setting), "{said}");
    post(folder.path(), &serving);
    serving.stop();
    let (code, checks) = examined(folder.path(), &["--store", &url]);
    assert_check(&checks, "store", "fail", "a load balancer stands before");
    assert_check(&checks, "spool", "warn", "events that wait in data/spool.db");
    assert_eq!((code, events(&primary).await), (1, 0));
    drop(balancing);

    // With either setting it works, and the spooled event is stored.
    for (number, more) in [
        (
            2,
            "load_balance_mode = on\napp_name_redirect_preference_list = 'trtc-callbacks.*:primary'",
        ),
        (3, "load_balance_mode = off"),
    ] {
        let pooler = pgpool(&primary, &standby, more);
        let url = pooler.url("postgres");
        let serving = Serving::start(folder.path(), &["--store", &url]);
        post(folder.path(), &serving);
        eventually("all are stored", || async { events(&primary).await == number }).await;
        let (_, checks) = examined(folder.path(), &["--store", &url]);
        assert_check(&checks, "writing", "ok", "rolled back");
        serving.stop();
    }
}

/// A role of the test's own, and the test's database as this role.
async fn role(database: &Database, more: &str) -> (String, String) {
    let name = format!("role_{}", uuid::Uuid::now_v7().simple());
    let (_, place) = database.url.rsplit_once('@').unwrap();
    let sql = format!("create role ROLE login; {more}").replace("ROLE", &name);
    database.execute(&sql).await;
    (format!("postgres://{name}@{place}"), name)
}

/// As a database of PostgreSQL 15 or newer is: nobody but its owner may create tables in `public`.
const NO_PUBLIC: &str = "revoke create on schema public from public";

#[tokio::test(flavor = "multi_thread")]
async fn tables_may_be_in_a_schema_of_their_own() {
    let database = Database::postgres().await;
    database.execute(NO_PUBLIC).await;
    for by_role in [true, false] {
        let schema = if by_role { "of_role" } else { "of_url" };
        let more = format!("create schema {schema} authorization ROLE;");
        let (url, name) = role(&database, &more).await;
        let folder = tempfile::tempdir().unwrap();
        let said = failed(folder.path(), &["migrate", "--store", &url], 1);
        assert!(said.contains("permission denied for schema public\nhint: the role of"), "{said}");
        let url = if by_role {
            database.execute(&format!("alter role {name} set search_path = {schema}")).await;
            url
        } else {
            format!("{url}?options=-csearch_path%3D{schema}")
        };
        let serving = Serving::start(folder.path(), &["--store", &url]);
        post(folder.path(), &serving);
        serving.stop();
        let stored = format!("select count(*) from {schema}.events");
        assert_eq!(database.count(&stored).await, 1);
        let (_, checks) = examined(folder.path(), &["--store", &url]);
        for what in ["migrations", "writing", "making partitions", "partitions"] {
            assert_check(&checks, what, "ok", "");
        }
        database.execute(&format!("drop owned by {name} cascade; drop role {name}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_read_spools_until_it_may_write() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["migrate", "--store", &database.url]);
    let more = "grant postgres to ROLE; alter role ROLE set default_transaction_read_only = on";
    let (url, name) = role(&database, more).await;
    let serving = Serving::start_without_store(folder.path(), &["--store", &url]);
    post(folder.path(), &serving);
    assert_eq!(database.rows().await, 0);
    let (_, checks) = examined(folder.path(), &["--store", &url]);
    assert_check(&checks, "read-only", "fail", "`default_transaction_read_only` is on");
    // Sessions that there are keep what they began with: they are not used any more.
    database.execute(&format!("alter role {name} reset default_transaction_read_only")).await;
    eventually("the event is stored", || async { database.rows().await == 1 }).await;
    serving.stop();
    database.execute(&format!("revoke postgres from {name}; drop role {name}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_encoding_is_refused() {
    let database = Database::postgres().await;
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("other_{}", uuid::Uuid::now_v7().simple());
        let create =
            format!("create database {name} encoding '{encoding}' locale 'C' template template0");
        database.execute(&create).await;
        let (server, _) = database.url.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}");
        let folder = tempfile::tempdir().unwrap();
        let hint = "hint: create the database with `encoding 'UTF8' template template0`";
        let serve = ["serve", "--sdk-app-id", crate::support::APP, "--listen", "127.0.0.1:0"];
        let serve = [&serve[..], &["--ops-listen", "127.0.0.1:0", "--store", &url]].concat();
        for arguments in [&["migrate", "--store", &url][..], &serve] {
            let said = failed(folder.path(), arguments, 1);
            assert!(
                said.contains(&format!("encoding is {encoding}")) && said.contains(hint),
                "{said}"
            );
        }
        let (code, checks) = examined(folder.path(), &["--store", &url]);
        assert_check(&checks, "encoding", "fail", encoding);
        assert_eq!(code, 1);
        database.execute(&format!("drop database {name}")).await;
    }
}
