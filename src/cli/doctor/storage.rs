//! What of a store's state is well, and what is to be done about the rest.

use crate::cli::doctor::report::Findings;
use crate::store::{
    COUNT_MAX, Examination, Kind, Migrations, PartitionSpan, PostgresState, SqliteState,
};
use protocol::UnixMillis;

/// How far the database's clock may be from ours, in ms.
const CLOCK_DIFFERENCE_MAX: u64 = 5000;

pub(crate) fn judge(
    url: &str,
    found: &Examination,
    now: UnixMillis,
    thorough: bool,
    findings: &mut Findings,
) {
    findings.ok("store", format!("{} at {url}", found.database));
    match &found.kind {
        Kind::Postgres(state) => postgres(found, state, now, findings),
        Kind::Sqlite(state) => sqlite(state, thorough, findings),
    }
    migrations(&found.migrations, findings);
    match &found.writable {
        Some(Ok(())) => findings.ok("writing", "an event was stored and rolled back"),
        Some(Err(reason)) => {
            let hint = "check that it is neither read-only nor full, and that the user may write";
            findings.fail("writing", format!("an event could not be stored: {reason}"), hint);
        }
        None => {}
    }
    match found.parked {
        Some(0) => findings.ok("dead letters", "none"),
        Some(parked) => {
            let hint = "their `reason` says what the store refused; docs/operate/outages.md says how to post them again";
            findings.warn("dead letters", counted(parked), hint);
        }
        None => {}
    }
}

fn migrations(found: &Migrations, findings: &mut Findings) {
    const CHECK: &str = "migrations";
    if let Some(broken) = found.broken {
        let hint = "check the database's log, and repair it by hand or restore a backup";
        return findings.fail(CHECK, format!("number {broken} was interrupted"), hint);
    }
    if !found.unknown.is_empty() {
        let hint = "run the newer version, or restore the backup from before it";
        let text = "a newer version has changed the tables: this one refuses to start";
        return findings.fail(CHECK, text, hint);
    }
    if let Some(altered) = found.altered.first() {
        let text = format!(
            "number {altered} was applied in another form than this version has: it refuses to start"
        );
        let hint = "run the version that made these tables, or begin with a new database";
        return findings.fail(CHECK, text, hint);
    }
    if found.pending.is_empty() {
        return findings.ok(CHECK, "all applied");
    }
    let hint = "`serve` applies them on its start, `trtc-callbacks migrate` at once";
    findings.warn(CHECK, format!("pending: {}", found.pending.join(", ")), hint);
}

fn postgres(found: &Examination, state: &PostgresState, now: UnixMillis, findings: &mut Findings) {
    if !state.version_fits {
        let text = format!("{} is too old", found.database);
        findings.fail("version", text, "use PostgreSQL 14 or newer");
    }
    if state.encoding != "UTF8" {
        let text = format!("{}, which cannot store all text", state.encoding);
        let hint = "create the database with `encoding 'UTF8' template template0`";
        findings.fail("encoding", text, hint);
    }
    match state.shares_sessions {
        Some(true) => {
            let text = "each transaction may get another session, and `store.direct_url` leads to the same database";
            findings.ok("pooler", text);
        }
        Some(false) => {
            let hint = "leave `store.direct_url` empty, which saves round trips, unless the pooler is about to share sessions";
            findings.warn("pooler", "`store.url` gives each connection a session of its own", hint);
        }
        None => {}
    }
    if state.standby {
        let hint = "name the primary in `store.url`, or all hosts with commas between them: the primary is found then";
        findings.fail("primary", "this is a standby, which is read-only", hint);
    }
    if state.unsafe_settings.is_empty() {
        findings.ok("durability", "fsync, full_page_writes and synchronous_commit are on");
    } else {
        let off = state.unsafe_settings.join(", ");
        let hint = "switch them on, or a power failure can lose events that were answered OK";
        findings.warn("durability", format!("off: {off}"), hint);
    }
    rights(state, findings);
    let difference = state.clock.0.abs_diff(now.0);
    if difference > CLOCK_DIFFERENCE_MAX {
        let text = format!("the database's clock is {} s from this machine's", difference / 1000);
        let hint = "synchronise both: signatures are checked and times are judged by this machine's, and receivers of forwarded events refuse signatures that are 5 min off";
        findings.warn("clock", text, hint);
    } else {
        findings.ok("clock", format!("{difference} ms from the database's"));
    }
    if state.without_partition.is_empty() {
        let present = match state.partition_span {
            PartitionSpan::Month => "present for this month and the next",
            PartitionSpan::Day => "present for today and tomorrow",
        };
        findings.ok("partitions", present);
    } else {
        let missing = state.without_partition.join(", ");
        let hint = "the server makes them every hour: its log says why it could not";
        findings.warn("partitions", format!("missing for {missing}"), hint);
    }
    match state.default_rows {
        0 => findings.ok("default partition", "empty"),
        rows => {
            let hint = "they are older than the first start, or came while no partition could be made; nothing is lost";
            findings.warn("default partition", counted(rows), hint);
        }
    }
}

/// Whether its role may do what the server does.
fn rights(state: &PostgresState, findings: &mut Findings) {
    for missing in &state.missing_rights {
        findings.error("rights", missing.clone(), "");
    }
    match &state.makes_partitions {
        Some(Ok(())) => findings.ok("making partitions", "one was created and rolled back"),
        Some(Err(reason)) => {
            let hint = "without one for its time an event is kept in `events_default`; grant what is missing";
            let text = format!("none could be created: {reason}");
            findings.fail("making partitions", text, hint);
        }
        None => {}
    }
    if state.read_only_by_default {
        let text = "`default_transaction_read_only` is on for this role or database: events go to the spool";
        let hint = "some providers switch it on when the disk is nearly full: see to that, then `alter role … reset` it";
        findings.fail("read-only", text, hint);
    }
}

fn sqlite(state: &SqliteState, thorough: bool, findings: &mut Findings) {
    if state.journal_mode == "wal" {
        findings.ok("journal", "wal");
    } else {
        let hint = "`serve` sets it on its start; leave it";
        findings.warn("journal", format!("{}, not wal", state.journal_mode), hint);
    }
    match &state.damage {
        Some(damage) => {
            let hint =
                "stop the server, keep the file, and restore a backup or `sqlite3 FILE .recover`";
            findings.fail("integrity", damage, hint);
        }
        None if thorough => findings.ok("integrity", "the whole file was read, nothing is damaged"),
        None => {}
    }
}

fn counted(rows: i64) -> String {
    if rows > COUNT_MAX { format!("more than {COUNT_MAX}") } else { rows.to_string() }
}
