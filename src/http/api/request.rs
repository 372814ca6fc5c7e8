//! A request of the API, read as every endpoint reads it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::de::DeserializeOwned;

use crate::http::access::audit::Reader;
use crate::http::api::list::{self, Answered};
use crate::http::api::params::{ListQuery, PageRequest, TEXT_CHARS_MAX};
use crate::http::ops::state::Ops;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::store::Filter;
use protocol::UnixMillis;

/// A request, and what answers it.
pub(crate) struct ApiRequest {
    pub(crate) ops: Arc<Ops>,
    pub(crate) headers: HeaderMap,
    pub(crate) now: UnixMillis,
    uri: Uri,
    reader: Reader,
}

impl FromRequestParts<Arc<Ops>> for ApiRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, ops: &Arc<Ops>) -> Result<Self, Problem> {
        let reader = Reader::of(parts).ok_or_else(Problem::unauthorized)?;
        let (ops, now) = (ops.clone(), ops.clock.now());
        Ok(Self { ops, headers: parts.headers.clone(), now, uri: parts.uri.clone(), reader })
    }
}

impl ApiRequest {
    /// Its parameters, which are those of `filter` and no others.
    pub(crate) fn read<F: Filter>(&self, filter: F) -> Result<F, Problem> {
        let query = Query::read(self.uri.query());
        if let Some(name) = query.longer_than(TEXT_CHARS_MAX) {
            let hint = format!("give at most {TEXT_CHARS_MAX} characters");
            return Err(Problem::parameter(name, format!("`{name}` is too long"), &hint));
        }
        Ok(query.filter(filter, &[], self.now)?)
    }

    /// The same, and those of every list.
    pub(crate) fn list<F: Filter>(&self, filter: F) -> Result<(F, PageRequest), Problem> {
        let (filter, list) = self.read((filter, ListQuery::default()))?;
        Ok((filter, self.page(list)?))
    }

    /// The part of a list that it asks for. Its parameters are known ones: they have been read.
    pub(crate) fn page(&self, list: ListQuery) -> Result<PageRequest, Problem> {
        let filters = Query::read(self.uri.query()).names(&["limit", "cursor", "format"]);
        PageRequest::read(list, &self.headers, self.reader.clone(), filters)
    }

    /// Answers with the part of a list that it asks for.
    pub(crate) async fn answer<F: Filter + Answered>(
        &self,
        filter: F,
    ) -> Result<Response, Problem> {
        let (filter, page) = self.list(filter)?;
        list::answer(&self.ops.reading, &page, filter).await
    }
}

/// What stands in the path.
pub(crate) struct PathOf<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathOf<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(path)| Self(path)).map_err(|rejection| Problem::path(&rejection))
    }
}
