use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cli::args::{ConfigArgs, StoreArgs, app_id};
use crate::cli::output::{progress_bar, say};
use crate::cli::prompt;
use crate::cli::tencent::rtc_repair::compare::{Session, Stored};
use crate::cli::tencent::rtc_repair::credentials::cloud_key;
use crate::cli::tencent::rtc_repair::listing::{Listed, Listing};
use crate::cli::tencent::rtc_repair::report::Report;
use crate::clock::Clock;
use crate::settings::Settings;
use crate::store::{self, RepairConnection, StoreOptions};
use crate::tencent_api::{CloudClient, Endpoint, HISTORY, Limits, Span, UserStay};
use protocol::diagnostic::{Diagnostic, Hint};
use protocol::{AppId, UnixMillis};

/// How much time around that of the loss is asked for: a session that was hit may have begun before.
const AROUND: Duration = Duration::from_mins(15);
/// How old an event must be to be lost: an exit by timeout comes about 98 s after the loss, and the vendor tries for a minute.
const STILL_COMING: Duration = Duration::from_mins(4);
/// How many sessions the vendor may refuse before the repair ends.
const FAILED_MAX: u64 = 20;
/// How much later than the oldest that the vendor knows a repair may begin: its last requests are some time after the first.
const TO_OLDEST: Duration = Duration::from_mins(15);
const CONFIRM_HINT: &str = "give `--yes`, or `--dry-run` to add nothing";

/// Add RTC Engine sessions and stays whose events were lost
///
/// The vendor drops an RTC Engine event after one minute without an answer. This
/// command asks the vendor's monitoring for the sessions of rooms and the stays
/// of users in that time, and adds those that the store does not have, marked as
/// repaired. What users published cannot be repaired. The server may keep
/// running. The same repair again adds nothing.
///
/// The vendor charges for these calls, DescribeRoomInfo and DescribeUserInfo,
/// since 2024-04-01: the app needs a paid edition of the monitoring dashboard.
/// They are signed with an API key of the cloud account: TENCENTCLOUD_SECRET_ID
/// and TENCENTCLOUD_SECRET_KEY, each also with _FILE, or `[rtc_repair]` in the
/// configuration. At most 20 requests are sent per second.
///
/// Example:
///   trtc-callbacks rtc-repair --since 2h --dry-run
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct RtcRepair {
    /// When events began to be lost: a moment (2026-01-31T12:00Z) or an age (2h)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: String,
    /// When events came again [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<String>,
    /// SDKAppID of the app [default: every one configured]
    #[arg(long, value_name = "ID", visible_alias = "sdk-app-id")]
    app: Option<String>,
    /// Ask for the users of every session, not only where some seem to be missing
    #[arg(long)]
    all_stays: bool,
    /// Ask and compare, but add nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Print the report as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// A repair under way.
struct Repair<'a> {
    options: StoreOptions,
    url: String,
    client: CloudClient,
    span: Span,
    clock: &'a Clock,
    args: &'a RtcRepair,
    report: Report,
}

/// What is to be done for one app.
struct Work {
    app: AppId,
    /// The sessions whose users are to be asked for. All others are complete.
    sessions: Vec<Session>,
    /// At least how many requests that takes.
    requests: usize,
}

/// Any time that can be read; which one an age means is known later.
fn time(text: &str) -> Result<String, Diagnostic> {
    let read = UnixMillis::parse(text, UnixMillis::default());
    read.map(|_| text.to_owned()).ok_or_else(|| {
        let problem = "neither a moment nor an age".to_owned();
        Diagnostic::new(problem, "give 2026-01-31T12:00Z, or 2h for two hours ago")
    })
}

impl RtcRepair {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let named = app_id(self.app.as_deref())?;
        let mut sources = self.config.sources(Some(&self.store), None)?;
        sources.app = named.map(|app| app.to_string());
        let settings = Settings::load(&sources)?;
        let apps = apps(&settings, named)?;
        if self.is_confirmed() {
            prompt::require_terminal(CONFIRM_HINT)?;
        }
        let span = self.span(clock.now())?;
        let key = cloud_key(&settings.rtc_repair)?;
        let (place, now) = (&settings.rtc_repair, clock.clone());
        let endpoint = Endpoint::parse(&place.host)?;
        let client =
            CloudClient::new(endpoint, &place.region, key, Limits::default(), move || now.now())?;
        if !settings.ingest.read_models {
            say(
                "warning: `ingest.read_models` is false: what `rebuild` has not computed yet counts as missing",
            );
        }
        let mut repair = Repair {
            options: settings.store_options().to_read(),
            url: store::display_url(&settings.store.url),
            client,
            span,
            clock,
            args: &self,
            report: Report { dry_run: self.dry_run, ..Report::default() },
        };
        let done = repair.run(&apps).await;
        repair.report.requests = repair.client.requests();
        let added = repair.report.added;
        if let Err(error) = done {
            let text = format!("added {added} to {}; run it again to go on", repair.url);
            return Err(if added > 0 { error.context(text) } else { error });
        }
        repair.report.print(self.json)?;
        match repair.report.sessions_failed {
            0 => Ok(()),
            failed => bail!(Diagnostic::new(
                format!("the users of {failed} sessions could not be asked for"),
                "see the errors above"
            )),
        }
    }

    /// Whether it asks before it adds anything.
    fn is_confirmed(&self) -> bool {
        !self.yes && !self.dry_run
    }

    /// The time that is asked for: what the vendor knows of it.
    fn span(&self, now: UnixMillis) -> Result<Span> {
        let read = |text: &str| UnixMillis::parse(text, now).context("read a time");
        let since = read(&self.since)?;
        let until = self.until.as_deref().map(read).transpose()?.unwrap_or(now).min(now);
        if since >= until {
            bail!(Diagnostic::new(
                "`--since` is not before `--until` and the present moment",
                "give the time in which events were lost, `--since 2h` for example"
            ));
        }
        let oldest = now.minus(HISTORY);
        if since < oldest {
            bail!(Diagnostic::new(
                format!("`--since` is before {oldest}"),
                "the vendor knows the last 14 days, or 7 with some packages: give a later time"
            ));
        }
        let from = since.minus(AROUND).max(oldest.plus(TO_OLDEST));
        Ok(Span { from_s: from.as_secs(), until_s: until.plus(AROUND).min(now).as_secs() })
    }
}

fn apps(settings: &Settings, named: Option<AppId>) -> Result<Vec<AppId>> {
    if let Some(app) = named {
        return Ok(vec![app]);
    }
    let apps: Vec<AppId> = settings.apps()?.ids().collect();
    if apps.is_empty() {
        bail!(Diagnostic::new(
            "no app is configured",
            "name one with `--app`, or set TRTC_SDK_APP_ID"
        ));
    }
    Ok(apps)
}

impl Repair<'_> {
    async fn run(&mut self, apps: &[AppId]) -> Result<()> {
        let mut all = Vec::new();
        for app in apps {
            all.push(self.plan(*app).await?);
        }
        self.confirm(&all)?;
        let sessions: usize = all.iter().map(|work| work.sessions.len()).sum();
        let bar = progress_bar(
            Some(sessions as u64),
            "{bar:30} {pos}/{len} sessions  {elapsed} elapsed, {eta} left",
        );
        for work in &all {
            for session in &work.sessions {
                self.session(work.app, session).await?;
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Lists the sessions of an app, and finds out of which the users are to be asked for.
    async fn plan(&mut self, app: AppId) -> Result<Work> {
        let listing = Listing { client: &self.client, app, span: self.span };
        let Listed { rows, unreadable } = listing.sessions().await?;
        self.report.unreadable += unreadable;
        let mut work = Work { app, sessions: Vec::new(), requests: 0 };
        let mut connection = self.connect().await?;
        let before = self.before();
        for session in Session::list(rows) {
            self.report.creates.found += 1;
            self.report.dismissals.found += u64::from(session.life.destroyed_s.is_some());
            let Some(stored) = self.stored(&mut connection, app, &session).await? else {
                self.report.sessions_skipped += 1;
                continue;
            };
            if self.args.all_stays || stored.lacks_stays(before) {
                let listing = Listing { client: &self.client, app, span: self.span };
                work.requests += listing.parts(&session).count();
                work.sessions.push(session);
            }
        }
        connection.close().await;
        Ok(work)
    }

    /// Adds what is missing of a session.
    async fn session(&mut self, app: AppId, session: &Session) -> Result<()> {
        let Some(Listed { rows: stays, unreadable }) = self.stays(app, session).await? else {
            self.report.sessions_skipped += 1;
            return Ok(());
        };
        // A list of many pages takes longer than a database keeps an idle connection.
        let mut connection = self.connect().await?;
        let Some(stored) = self.stored(&mut connection, app, session).await? else {
            self.report.sessions_skipped += 1;
            return Ok(());
        };
        let before = self.before();
        let mut missing = stored.missing_boundaries(before);
        missing.extend(stored.missing_stays(&stays, before));
        let report = &mut self.report;
        report.sessions_asked += 1;
        report.unreadable += unreadable;
        report.enters.found += stays.len() as u64;
        report.exits.found += stays.iter().filter(|stay| stay.left_s.is_some()).count() as u64;
        report.count(&missing);
        if !self.args.dry_run {
            let (room, kind) = (&session.life.room_id, stored.room_id_kind);
            report.added += connection.add(app, room, kind, &missing, self.clock.now()).await?;
        }
        connection.close().await;
        Ok(())
    }

    /// The stays in a session; `None` where there are too many. A session that the vendor refuses keeps no other.
    async fn stays(&mut self, app: AppId, session: &Session) -> Result<Option<Listed<UserStay>>> {
        let listing = Listing { client: &self.client, app, span: self.span };
        match listing.stays(session).await {
            Err(error)
                if error.is_about_what_was_asked() && self.report.sessions_failed < FAILED_MAX =>
            {
                say(&format!("error: {}", error.diagnostic()));
                self.report.sessions_failed += 1;
                // What is known of the session itself is added all the same.
                Ok(Some(Listed::nothing()))
            }
            stays => Ok(stays?),
        }
    }

    /// What the store has of a session; `None` where that is too much.
    async fn stored<'b>(
        &self,
        connection: &mut RepairConnection,
        app: AppId,
        session: &'b Session,
    ) -> Result<Option<Stored<'b>>> {
        let (from, until) = session.window(self.clock.now());
        let facts = connection.facts(app, &session.life.room_id, from, until).await?;
        Ok(facts.map(|facts| Stored::new(session, facts)))
    }

    /// What happened before this moment does not come any more.
    fn before(&self) -> UnixMillis {
        self.clock.now().minus(STILL_COMING)
    }

    async fn connect(&self) -> Result<RepairConnection> {
        let connection = RepairConnection::open(&self.options).await;
        connection.with_context(|| format!("open the store {}", self.url))
    }

    fn confirm(&self, all: &[Work]) -> Result<()> {
        let asked: usize = all.iter().map(|work| work.sessions.len()).sum();
        let requests: usize = all.iter().map(|work| work.requests).sum();
        if asked == 0 || !self.args.is_confirmed() {
            return Ok(());
        }
        say(&format!(
            "{} knows {} sessions; asking for the users of {asked} of them takes {requests} requests or more, and what is missing \
             will be added to {}",
            self.client.host(),
            self.report.creates.found,
            self.url
        ));
        prompt::confirm(CONFIRM_HINT)
    }
}
