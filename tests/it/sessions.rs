//! Sessions with PostgreSQL are as the server needs them, whatever its role has by default and may do.

use serde_json::Value;
use sqlx::Connection;
use trtc_callbacks::store::Inserted;

use crate::doctor::{assert_check, examined};
use crate::process::{Serving, done, failed, program};
use crate::spool::numbered;
use crate::start::Logged;
use crate::support::{Database, Server, insert_alone, settings};

/// A role of the test's own; what it owns must be gone before it.
struct Role {
    name: String,
    /// The test's database as this role.
    url: String,
}

impl Role {
    /// One that may use what `grant` says, besides what everybody may.
    async fn new(database: &Database, grant: &str) -> Self {
        let name = format!("role_{}", uuid::Uuid::now_v7().simple());
        let (_, place) = database.url.rsplit_once('@').unwrap();
        let role = Self { url: format!("postgres://{name}@{place}"), name };
        role.has(database, &format!("create role {} login; {grant}", role.name)).await;
        role
    }

    /// Runs statements in which `ROLE` stands for its name and `DATABASE` for the database's.
    async fn has(&self, database: &Database, sql: &str) {
        let name = database.url.rsplit('/').next().unwrap();
        database.execute(&sql.replace("ROLE", &self.name).replace("DATABASE", name)).await;
    }
}

/// Keeps what the session says that stores an event.
pub(crate) const SEEN: &str = "
    create table seen (what text);
    create function see() returns trigger language plpgsql as $$ begin
        insert into seen values (concat_ws(' ', current_setting('transaction_isolation'),
            current_setting('transaction_read_only'), current_setting('statement_timeout'),
            current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'),
            current_setting('idle_session_timeout'), current_setting('plan_cache_mode'), current_setting('enable_seqscan')));
        return null;
    end $$;
    create trigger see after insert on events for each row execute function see();";
/// What it says of one of a writer's whose timeout is 35 s.
pub(crate) const EXPECTED: &str = "read committed off 35s 0 35s 0 force_generic_plan off";

#[tokio::test(flavor = "multi_thread")]
async fn the_defaults_of_a_role_do_not_change_the_servers_sessions() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["migrate", "--store", &database.url]);
    let role = Role::new(&database, "grant postgres to ROLE;").await;
    for (setting, value) in [
        ("default_transaction_isolation", "serializable"),
        ("statement_timeout", "3s"),
        ("lock_timeout", "1s"),
        ("idle_in_transaction_session_timeout", "1s"),
        ("idle_session_timeout", "1s"),
        ("plan_cache_mode", "force_custom_plan"),
    ] {
        role.has(&database, &format!("alter role ROLE set {setting} = '{value}'")).await;
    }
    database.execute(SEEN).await;
    let changes = [("TRTC_STORE__URL", role.url.as_str())];
    let server = Server::start_with(settings(&database, &changes)).await;
    server.post_body("Room.CallbackAfterDestroyRoom", crate::support::destroy_room(1)).await;
    assert_eq!(database.texts("select what from seen").await, [EXPECTED]);
    assert_eq!(server.figures().await.outcome("stored"), 1);
    server.stop().await;

    let (_, checks) = examined(folder.path(), &["--store", &role.url]);
    assert_check(&checks, "writing", "ok", "rolled back");
    assert_check(&checks, "making partitions", "ok", "rolled back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serialization_failure_is_tried_again_at_once() {
    let database = Database::postgres().await;
    let store = database.store().await;
    store.migrate().await.unwrap();
    let failing = |times: u32| {
        format!(
            "drop trigger if exists fail on events; drop sequence if exists tries; create sequence tries;
             create or replace function fail() returns trigger language plpgsql as $$ begin
                 if nextval('tries') <= {times} then
                     raise exception 'could not serialize access' using errcode = '40001';
                 end if;
                 return null;
             end $$;
             create trigger fail after insert on events for each statement execute function fail();"
        )
    };
    database.execute(&failing(3)).await;
    let first = numbered(1);
    assert_eq!(insert_alone(&store, &[&first]).await.unwrap(), [Inserted::New]);
    database.execute(&failing(1000)).await;
    let error = insert_alone(&store, &[&numbered(2)]).await.unwrap_err();
    assert!(error.is_unavailable());
    let said = error.to_string();
    assert!(said.contains("others write the same rows") && !said.contains("available"), "{said}");
    store.close().await;
}

fn partitions(database: &Database) -> impl Future<Output = i64> {
    database.count("select count(*) from pg_inherits where inhparent = 'events'::regclass")
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_a_missing_privilege() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["migrate", "--store", &database.url]);
    // As it is by itself since PostgreSQL 15.
    database.execute("revoke create on schema public from public").await;
    let before = partitions(&database).await;
    let write = "grant select, insert, update, delete on all tables in schema public to ROLE";
    let create = "grant usage, create on schema public to ROLE";

    let role = Role::new(&database, &format!("{write}; {create};")).await;
    let (code, checks) = examined(folder.path(), &["--store", &role.url]);
    assert_check(&checks, "writing", "ok", "rolled back");
    let problem = format!("`{}` does not own the table `events`, `postgres` does", role.name);
    assert_check(&checks, "rights", "fail", &problem);
    assert_check(&checks, "making partitions", "fail", "must be owner of table events");
    assert_eq!(code, 1);

    let role =
        Role::new(&database, &format!("{write}; grant usage on schema public to ROLE;")).await;
    let (code, checks) = examined(folder.path(), &["--store", &role.url]);
    let problem = format!("`{}` may not create tables in the schema `public`", role.name);
    assert_check(&checks, "rights", "fail", &problem);
    assert_check(&checks, "making partitions", "fail", "permission denied for schema public");
    assert_eq!(code, 1);

    let read = "grant select on all tables in schema public to ROLE";
    let role = Role::new(&database, &format!("{read}; {create};")).await;
    let (code, checks) = examined(folder.path(), &["--store", &role.url]);
    assert_check(&checks, "writing", "fail", "permission denied for table events");
    let lacks = format!("`{}` lacks delete, insert, update on `events` and ", role.name);
    let found: Vec<&Value> = checks.iter().filter(|check| check["what"] == "rights").collect();
    assert!(
        found.iter().any(|check| check["text"].as_str().unwrap().contains(&lacks)),
        "{found:#?}"
    );
    assert_eq!(code, 1);
    // It took back what it made.
    assert_eq!(partitions(&database).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_privilege_is_reported_with_a_hint() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    // As it is by itself since PostgreSQL 15.
    database.execute("revoke create on schema public from public").await;
    let role = Role::new(&database, "").await;
    let said = failed(folder.path(), &["migrate", "--store", &role.url], 1);
    assert!(said.contains("permission denied for schema public\nhint: the role of"), "{said}");

    done(folder.path(), &["migrate", "--store", &database.url]);
    role.has(
        &database,
        "grant select, insert, update, delete on all tables in schema public to ROLE;
         grant usage, create on schema public to ROLE; drop table events_default;
         create table events_default partition of events default;
         grant select, insert, update, delete on events_default to ROLE",
    )
    .await;
    drop_months(&database).await;
    let program = program(folder.path());
    let more = ["--listen", "127.0.0.1:0", "--store", &role.url];
    let logged = Logged::start(program, folder.path(), &more);
    let said = logged.line("partitions were not made ahead").await;
    assert!(said["reason"].as_str().unwrap().contains("must be owner of table events"), "{said}");
    assert!(
        said["hint"].as_str().unwrap().contains("`trtc-callbacks doctor` says which"),
        "{said}"
    );
    let ready = logged.line("ready for callbacks").await;
    let url = format!("http://{}", ready["listen"].as_str().unwrap());
    done(folder.path(), &["send", "Room.CallbackAfterDestroyRoom", "--to", &url]);
    // There is a place for it all the same.
    assert_eq!(database.count("select count(*) from events_default").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_privilege_is_logged_with_a_hint() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let role = Role::new(&database, "grant usage, create on schema public to ROLE;").await;
    done(folder.path(), &["migrate", "--store", &role.url]);
    let more = ["--listen", "127.0.0.1:0", "--store", &role.url];
    let logged = Logged::start(program(folder.path()), folder.path(), &more);
    let ready = logged.line("ready for callbacks").await;
    role.has(&database, "alter table events owner to postgres; revoke all on events from ROLE")
        .await;
    let url = format!("http://{}", ready["listen"].as_str().unwrap());
    done(folder.path(), &["send", "Room.CallbackAfterDestroyRoom", "--to", &url]);
    let said = logged.line("the store does not take events").await;
    assert_eq!(said["reason"], "the store is not available: permission denied for table events");
    assert!(
        said["hint"].as_str().unwrap().contains("`trtc-callbacks doctor` says which"),
        "{said}"
    );
    // What is mended needs no restart.
    role.has(&database, "alter table events owner to ROLE").await;
    crate::support::eventually("the spool is drained", || async { database.rows().await == 1 })
        .await;
}

async fn drop_months(database: &Database) {
    database
        .execute(
            "do $$ declare part text; begin
                 for part in select inhrelid::regclass from pg_inherits
                     where inhparent = 'events'::regclass and inhrelid <> 'events_default'::regclass
                 loop execute 'drop table ' || part; end loop;
             end $$",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_tables_says_how_to_make_them() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty.db");
    let url = format!("sqlite://{}?mode=rwc", file.display());
    sqlx::SqliteConnection::connect(&url).await.unwrap().close().await.unwrap();
    for store in [database.url.clone(), format!("sqlite://{}", file.display())] {
        let said = failed(folder.path(), &["events", "--store", &store], 1);
        assert!(said.contains("the store has no tables yet: "), "{said}");
        assert!(said.contains("\nhint: `trtc-callbacks migrate` makes them"), "{said}");
    }
}

#[test]
fn a_wrong_port_is_reported_plainly() {
    let folder = tempfile::tempdir().unwrap();
    let url = "postgres://u:s3cret@127.0.0.1:1/x";
    let said = failed(folder.path(), &["migrate", "--store", url], 1);
    assert!(said.contains("nothing listens there: Connection refused"), "{said}");
    assert!(said.contains("\nhint: see that it runs, and that `store.url`"), "{said}");
    let serving = Serving::start_without_store(folder.path(), &["--store", url]);
    let said = serving.next_error(|line| line["reason"].is_string());
    assert!(said["message"].as_str().unwrap().starts_with("the store is not ready"), "{said}");
    assert!(said["reason"].as_str().unwrap().contains("nothing listens there"), "{said}");
    assert!(said["hint"].as_str().unwrap().contains("right host and port"), "{said}");
    serving.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_name_of_the_url_is_kept() {
    let database = Database::postgres().await;
    let url = format!("{}?application_name=billing", database.url);
    let server = Server::start_with(settings(&database, &[("TRTC_STORE__URL", &url)])).await;
    let names = "select distinct application_name from pg_stat_activity
                 where datname = current_database() and pid <> pg_backend_pid()
                 and application_name not in ('billing', 'billing settler')";
    assert_eq!(database.texts(names).await, Vec::<String>::new());
    let ours = "select application_name from pg_stat_activity
                where datname = current_database() and application_name = 'billing' limit 1";
    assert_eq!(database.texts(ours).await, ["billing"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_version_are_explained() {
    for database in [Database::sqlite(), Database::postgres().await] {
        let folder = tempfile::tempdir().unwrap();
        done(folder.path(), &["migrate", "--store", &database.url]);
        for (sql, said) in [
            (
                "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 values (9999, 'later', true, '', 0)",
                "a newer version of trtc-callbacks has changed the store's tables (migration 9999)\n\
                 hint: run the newer version",
            ),
            (
                "delete from _sqlx_migrations where version = 9999;
                 update _sqlx_migrations set checksum = '' where version = 1",
                "migration 1 was applied to the store in another form than this version has\nhint: ",
            ),
            (
                "update _sqlx_migrations set success = false where version = 1",
                "migration 1 of the store's tables broke off half-way\nhint: ",
            ),
        ] {
            database.execute(sql).await;
            let heard = failed(folder.path(), &["migrate", "--store", &database.url], 1);
            assert!(heard.contains(said), "{heard}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_another_version_made_fail_the_doctor() {
    let database = Database::postgres().await;
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["migrate", "--store", &database.url]);
    database.execute("update _sqlx_migrations set checksum = '' where version = 1").await;
    let (code, checks) = examined(folder.path(), &["--store", &database.url]);
    assert_check(&checks, "migrations", "fail", "number 1 was applied in another form");
    assert_eq!(code, 1);
}
