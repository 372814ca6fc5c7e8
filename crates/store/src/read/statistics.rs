//! Reads anomalies and counts, and finds what an id names.

use uuid::Uuid;

use crate::error::StoreError;
use crate::model::read_models::{Anomaly, Count, SearchHit};
use crate::query::filters::{AnomalyFilter, CountBy, CountFilter, Step};
use crate::query::limits::{COUNTS_MAX, FOUND_MAX, OPEN_COUNTED_MAX};
use crate::read::apps::apps;
use crate::read::{events, rooms, rtc};
use crate::sql::builder::Reader;
use protocol::AppId;

pub(crate) async fn anomalies<R: Reader>(
    reader: &R,
    filter: &AnomalyFilter,
) -> Result<Vec<Anomaly>, StoreError> {
    let mut sql = reader.statement(
        "select a.sdk_app_id, a.kind, a.subject, a.session, @ms(a.happened_at) as happened_at,
                @ms(a.found_at) as found_at, @ms(a.resolved_at) as resolved_at, a.detail
         from anomalies a where true",
    );
    if let Some(app) = filter.app {
        sql.push(" and a.sdk_app_id = ").number(app.as_i64());
    }
    sql.when_text(" and a.kind = ", filter.kind.as_deref())
        .when_text(" and a.subject = ", filter.subject.as_deref())
        .when_time(" and a.happened_at >= ", filter.since)
        .when_time(" and a.happened_at < ", filter.until);
    match filter.resolved {
        Some(true) => sql.push(" and a.resolved_at is not null"),
        Some(false) => sql.push(" and a.resolved_at is null"),
        None => &mut sql,
    };
    if let Some((at, app, kind, subject, session)) = &filter.after {
        sql.push(" and (a.happened_at, a.sdk_app_id, a.kind, a.subject, a.session) < (").time(*at);
        sql.push(", ").number(*app).push(", ").text(kind);
        sql.push(", ").text(subject).push(", ").number(*session).push(")");
    }
    sql.push(
        " order by a.happened_at desc, a.sdk_app_id desc, a.kind desc, a.subject desc, a.session desc
          limit ",
    );
    sql.number(filter.limit.into());
    reader.fetch(sql).await
}

pub(crate) async fn open_anomalies<R: Reader>(
    reader: &R,
    app: Option<AppId>,
) -> Result<i64, StoreError> {
    let mut sql =
        reader.statement("select count(*) from (select 1 from anomalies where resolved_at is null");
    if let Some(app) = app {
        sql.push(" and sdk_app_id = ").number(app.as_i64());
    }
    sql.push(" limit ").number(OPEN_COUNTED_MAX).push(") a");
    let count: Option<(i64,)> = reader.fetch_one(sql).await?;
    Ok(count.map_or(0, |(count,)| count))
}

pub(crate) async fn counts<R: Reader>(
    reader: &R,
    filter: &CountFilter,
) -> Result<Vec<Count>, StoreError> {
    // Each event is counted in its minute and in its hour.
    let (span, width) = match filter.step {
        Step::Minute => ("c.at", " and c.width_s = 60"),
        Step::Hour => ("c.at", " and c.width_s = 3600"),
        Step::Day => ("@day(c.at)", " and c.width_s = 3600"),
    };
    let group = match filter.by {
        CountBy::Family => ", c.family",
        CountBy::Command => ", c.command",
        CountBy::Result => ", c.result",
    };
    let (since, until) = filter.spans();
    // What the two write differently is done once for each row that is given; sums of numbers with a fraction take less
    // time than those of whole ones, which PostgreSQL adds up without a bound, and are as exact up to 2^53.
    let mut sql = reader.statement(
        "select @ms(span) as at, group_name, case when events < 9.2e18 then cast(events as bigint) else 9223372036854775807 end as events,
                case when lag_ms < 9.2e18 then cast(lag_ms as bigint) else 9223372036854775807 end as lag_ms,
                lag_ms_max
         from (select ",
    );
    sql.push(span).push(" as span").push(group).push(
        " as group_name, sum(cast(c.events as double precision)) as events,
                sum(cast(c.lag_ms as double precision)) as lag_ms, max(c.lag_ms_max) as lag_ms_max
          from event_counts c where c.at >= ",
    );
    sql.time(since).push(" and c.at < ").time(until).push(width);
    if let Some(app) = filter.app {
        sql.push(" and c.sdk_app_id = ").number(app.as_i64());
    }
    if filter.by == CountBy::Result {
        sql.push(" and c.result <> ''");
    }
    sql.push(" group by 1, 2) as counts order by counts.span limit ").number(COUNTS_MAX.into());
    let mut counts: Vec<Count> = reader.fetch(sql).await?;
    counts.sort_unstable_by(|one, other| {
        (one.at, &one.group_name).cmp(&(other.at, &other.group_name))
    });
    Ok(counts)
}

pub(crate) async fn find<R: Reader>(reader: &R, text: &str) -> Result<Vec<SearchHit>, StoreError> {
    let mut found = Vec::new();
    // No column holds a NUL, and PostgreSQL takes none.
    if text.is_empty() || text.contains('\0') {
        return Ok(found);
    }
    if let Ok(id) = Uuid::parse_str(text)
        && events::event(reader, id).await?.is_some()
    {
        found.push(SearchHit::Event { id });
    }
    let apps = apps(reader, "calls").await?;
    let mut sql = reader.statement("select sdk_app_id from calls where sdk_app_id in ");
    sql.numbers(&apps).push(" and call_id = ").text(text).push(" order by sdk_app_id");
    for (sdk_app_id,) in reader.fetch::<(i64,)>(sql).await? {
        found.push(SearchHit::Call { sdk_app_id, call_id: text.to_owned() });
    }
    for (sdk_app_id, session) in rooms::latest(reader, text).await? {
        found.push(SearchHit::Room { sdk_app_id, room_id: text.to_owned(), session });
    }
    found.extend(rtc::rooms::find(reader, text).await?);
    let mut owners = rooms::owned(reader, text).await?;
    owners.extend(rtc::rooms::apps_of(reader, text).await?);
    for app in apps {
        for table in [
            "select sdk_app_id from call_members where sdk_app_id = ",
            "select sdk_app_id from room_marks where sdk_app_id = ",
        ] {
            let mut sql = reader.statement(table);
            sql.number(app).push(" and account = ").text(text).push(" limit 1");
            owners.extend(reader.fetch::<(i64,)>(sql).await?.into_iter().map(|(app,)| app));
        }
    }
    owners.sort_unstable();
    owners.dedup();
    let account = |sdk_app_id| SearchHit::Account { sdk_app_id, account: text.to_owned() };
    found.extend(owners.into_iter().map(account));
    found.truncate(usize::try_from(FOUND_MAX).unwrap_or(usize::MAX));
    Ok(found)
}
