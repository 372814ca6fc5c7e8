//! The API's own description (`OpenAPI`), made from the code.

use std::sync::LazyLock;

use axum::http::Uri;
use axum::response::Response;
use serde_json::{Value, json};
use utoipa::OpenApi;

use super::api_list;
use super::api_problem::Problem;
use super::api_query::{Asked, NoQuery};
use super::{api_calls, api_events, api_figures, api_query, api_rooms, api_stream};
use crate::store;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "trtc-callbacks",
        description = "Calls, rooms, lives and events, as the callbacks of Tencent RTC tell of them. Times are RFC 3339 \
                       in UTC. Lists are read in pages: give `next` of one as `cursor` of the next. With `format=csv` \
                       or `format=ndjson`, or such an `Accept`, the whole list comes at once. In a path, an id \
                       that is `.` or `..` has a `~` before it: `~.`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        document,
        api_events::events,
        api_events::event,
        api_stream::stream,
        api_calls::calls,
        api_calls::call,
        api_calls::user_calls,
        api_calls::user_visits,
        api_rooms::rooms,
        api_rooms::room,
        api_rooms::visits,
        api_rooms::lives,
        api_rooms::live,
        api_rooms::live_visits,
        api_rooms::gifts,
        api_figures::anomalies,
        api_figures::statistics,
        api_figures::search,
    ),
    components(schemas(Problem, api_query::Form, store::Step, store::CountBy, store::TopAccount)),
    security(("token" = []), ("session" = [])),
)]
struct Description;

/// The document, as it is served.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    // Strings, numbers and lists: writing them cannot fail.
    let mut document = serde_json::to_value(Description::openapi()).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({
        "token": {"type": "http", "scheme": "bearer", "description": "The token set as `ops.token`"},
        "session": {"type": "apiKey", "in": "cookie", "name": "trtc_session", "description": "As /sign-in gives it"},
    });
    let problem = json!({
        "description": "There is no such answer, and why",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for operation in paths.filter_map(|(_, path)| path.get_mut("get")) {
        operation["responses"]["default"] = problem.clone();
        let parameters = operation["parameters"].as_array();
        let exports =
            parameters.is_some_and(|all| all.iter().any(|parameter| parameter["name"] == "format"));
        if let Some(content) =
            operation["responses"]["200"]["content"].as_object_mut().filter(|_| exports)
        {
            for kind in ["text/csv", "application/x-ndjson"] {
                content.insert(kind.to_owned(), json!({"schema": {"type": "string"}}));
            }
        }
    }
    document
});

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "document", responses((status = 200, body = Object)))]
pub(super) async fn document(uri: Uri) -> Result<Response, Problem> {
    Asked::parse(uri.query())?.only::<NoQuery>()?;
    api_list::json(&*DOCUMENT)
}

/// The members of a schema, in its order: the columns of a table of such rows.
pub(super) fn columns(schema: &str) -> Vec<String> {
    let mut columns = Vec::new();
    add_columns(&DOCUMENT["components"]["schemas"][schema], &mut columns);
    columns
}

fn add_columns(schema: &Value, columns: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return add_columns(&DOCUMENT["components"]["schemas"][name], columns);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        add_columns(part, columns);
    }
    columns.extend(
        schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()),
    );
}
