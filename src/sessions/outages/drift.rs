//! Registrations at the vendor that are not what is wanted, as the guard of this server found them.

use crate::registration::{RegistrationState, RegistrationStatus};
use crate::store::{Finding, SettlerConnection, StoreError};
use crate::telemetry::Metrics;
use protocol::UnixMillis;

const KIND: &str = "registration_drift";

/// Lists those that drifted, and takes back what is right again or not watched any more. Of what is not known yet, what
/// is listed stays.
pub(crate) async fn sweep(
    store: &mut SettlerConnection,
    book: &RegistrationStatus,
    now: UnixMillis,
    metrics: &Metrics,
) -> Result<(), StoreError> {
    let entries = book.entries();
    let listed = store.listed_of(KIND).await?;
    for drift in &listed {
        let watched = entries.iter().find(|entry| {
            entry.app.as_i64() == drift.sdk_app_id && entry.product.as_str() == drift.subject
        });
        if watched.is_none_or(|entry| matches!(entry.standing, RegistrationState::Right(_))) {
            store.resolve(drift.sdk_app_id, KIND, &drift.subject, drift.session, now).await?;
        }
    }
    for entry in &entries {
        let RegistrationState::Differs(since, detail) = &entry.standing else { continue };
        let (app, subject) = (entry.app.as_i64(), entry.product.as_str());
        let known = listed.iter().find(|drift| drift.sdk_app_id == app && drift.subject == subject);
        let (session, is_new) = known.map_or((since.0, true), |known| (known.session, false));
        if known.is_none_or(|known| known.detail != *detail) {
            put(store, app, subject, session, detail, now).await?;
        }
        if is_new {
            metrics.anomaly_found(KIND);
        }
    }
    list_repairs(store, book, metrics).await
}

/// Lists what this server found and put right: it is over, and nobody else knows of it.
pub(crate) async fn list_repairs(
    store: &mut SettlerConnection,
    book: &RegistrationStatus,
    metrics: &Metrics,
) -> Result<(), StoreError> {
    for repair in book.unlisted() {
        let (app, subject) = (repair.app.as_i64(), repair.product.as_str());
        let (session, at) = (repair.found_at.0, repair.repaired_at);
        let detail = format!("{}; put right by this server", repair.detail);
        put(store, app, subject, session, &detail, repair.found_at).await?;
        store.resolve(app, KIND, subject, session, at).await?;
        metrics.anomaly_found(KIND);
        book.listed(1);
    }
    Ok(())
}

async fn put(
    store: &mut SettlerConnection,
    app: i64,
    subject: &str,
    session: i64,
    detail: &str,
    now: UnixMillis,
) -> Result<(), StoreError> {
    let (subject, detail) = (subject.to_owned(), detail.to_owned());
    let happened_at = UnixMillis(session);
    let found = Finding { app, kind: KIND, subject, session, happened_at, detail };
    store.put(&found, now).await
}
