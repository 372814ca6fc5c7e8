//! The API's own description (`OpenAPI`), made from the code.

use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::path::Paths;
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::OpenApiRouter;

use crate::access::Scope;
use crate::http::api::endpoints::events::feed::WAIT_MAX;
use crate::http::api::params;
use crate::http::api::webhooks::webhooks;
use crate::http::problem::Problem;
use crate::store;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "trtc-callbacks",
        description = "Calls, rooms, live rooms and events, built from the callbacks of Tencent RTC. Times are RFC 3339 in \
                       UTC. Lists are paginated: pass the `next` of a page as `cursor` to get the following page. With \
                       `format=csv` or `format=ndjson`, or an equivalent `Accept` header, the response is the whole \
                       list. In a path, an id that is `.` or `..` is written with a leading `~`: `~.`. A `since` later \
                       than `until` is rejected, and so is a `cursor` of another list.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(Problem, store::Step, store::CountBy, store::TopAccount, store::RtcRole)),
    security(("token" = []), ("session" = [])),
)]
struct Description;

/// The document of the API whose endpoints below `/api/v1` these are.
pub(crate) fn document<S: Clone + Send + Sync + 'static>(endpoints: OpenApiRouter<S>) -> Value {
    let api = OpenApiRouter::with_openapi(Description::openapi()).nest("/api/v1", endpoints);
    // Strings, numbers and lists: writing them cannot fail.
    let mut document = serde_json::to_value(api.into_openapi()).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({
        "token": {"type": "http", "scheme": "bearer", "description": "`ops.token`, or one of `[[ops.tokens]]`. Its scope is `metrics`, `read`, `export` or `admin`, each with those before it. Lists as CSV and NDJSON need `export`."},
        "session": {"type": "apiKey", "in": "cookie", "name": "trtc_session", "description": "The session cookie set by /sign-in, with the scope of the token that was given there"},
    });
    document["webhooks"] = webhooks();
    let problem = json!({
        "description": "Error",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for operation in paths.filter_map(|(_, item)| item.get_mut("get")) {
        operation["responses"]["default"] = problem.clone();
        let summary = operation["summary"].as_str().unwrap_or("").trim_end_matches('.');
        operation["responses"]["200"]["description"] = summary.into();
        let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap_or("").to_owned();
            parameter["schema"] = parameter_schema(&name, &parameter["schema"]);
        }
        let scope = operation["security"][0]["token"][0].as_str().unwrap_or("").to_owned();
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
        let also = if exports { ", or `export` for CSV and NDJSON" } else { "" };
        let mut forbidden = problem.clone();
        forbidden["description"] = format!("The token lacks the scope `{scope}`{also}").into();
        operation["responses"]["403"] = forbidden;
    }
    document
}

/// The operations with the scope that their route needs.
pub(crate) fn with_scope(mut paths: Paths, scope: Scope) -> Paths {
    for operation in paths.paths.values_mut().filter_map(|item| item.get.as_mut()) {
        let of = |name: &str| SecurityRequirement::new(name, [scope.as_str()]);
        operation.security = Some(vec![of("token"), of("session")]);
    }
    paths
}

/// The schema of a parameter, exactly as strict as the server. That of a condition is so already.
fn parameter_schema(name: &str, schema: &Value) -> Value {
    let longest = params::TEXT_CHARS_MAX;
    match name {
        "app" => json!({"type": "integer", "format": "int64", "minimum": 1, "maximum": i64::MAX}),
        "limit" => json!({"type": "integer", "minimum": 1, "maximum": params::LIMIT_MAX}),
        "session" => json!({"type": "string", "pattern": "^(latest|-?[0-9]{1,18})$"}),
        "cursor" => json!({"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "maxLength": longest}),
        "after" => json!({"type": "string", "pattern": "^(now|[0-9]{1,18})$"}),
        "wait" => json!({"type": "integer", "minimum": 0, "maximum": WAIT_MAX}),
        _ if is_text(schema) => json!({"type": "string", "minLength": 1, "maxLength": longest}),
        _ => schema.clone(),
    }
}

/// Whether any text fits.
fn is_text(schema: &Value) -> bool {
    let types = &schema["type"];
    let is_narrow = ["format", "enum", "pattern"].iter().any(|key| !schema[*key].is_null());
    !is_narrow && (*types == "string" || *types == json!(["string", "null"]))
}
