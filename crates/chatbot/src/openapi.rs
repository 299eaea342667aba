//! `GET /openapi.json`: the service described by itself.
//!
//! Paths and bodies are derived from the handlers and their types; what follows from the route table (who may
//! call, path parameters, refusals) is added from it, so that it cannot be another.

use std::sync::OnceLock;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header;
use serde_json::{Value, json};
use utoipa::OpenApi;

use crate::access::Access;
use crate::router::{Route, routes};
use crate::routes::completions::speaks_openai;
use crate::routes::{
    chat, completions, conversations, handoff, insights, keys, knowledge, operations, tenants, widget, widget_assets,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "SmartBot",
        description = "Answers a company's customers from what the company knows, in Japanese and English.\n\n\
            Failures are `application/problem+json` with a stable `code`. Requests with a body may carry an \
            `Idempotency-Key` where its header is listed.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        chat::chat,
        completions::create,
        completions::models,
        completions::model,
        conversations::show,
        conversations::delete,
        conversations::messages,
        conversations::events,
        conversations::cancel,
        conversations::feedback,
        handoff::request,
        handoff::reply,
        handoff::state,
        knowledge::show,
        knowledge::put,
        knowledge::search,
        knowledge::versions,
        knowledge::version,
        knowledge::activate,
        insights::usage,
        insights::analytics,
        insights::unanswered,
        keys::list,
        keys::create,
        keys::revoke,
        keys::rotate,
        tenants::list,
        tenants::show,
        tenants::put,
        tenants::delete,
        keys::create_for,
        widget::sessions,
        widget_assets::widget,
        widget_assets::demo,
        widget_assets::demo_style,
        operations::health,
        operations::ready,
        operations::metrics,
        operations::version,
        document,
    )
)]
struct Described;

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "operations",
    responses((status = 200, description = "OpenAPI 3.1.", content_type = "application/json", body = Value)),
)]
pub async fn document() -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| build(&routes()).to_string().into());
    ([(header::CONTENT_TYPE, "application/json")], text.clone()).into_response()
}

fn build(routes: &[Route]) -> Value {
    let described = Described::openapi();
    let mut document = serde_json::to_value(described).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({
        "key": {"type": "http", "scheme": "bearer", "description": "A secret key `sb_live_…`, or the token of a widget session `sbw_…`."},
        "operator": {"type": "http", "scheme": "bearer", "description": "The operator's key."},
    });
    document["components"]["schemas"]["Problem"] = problem();
    document["components"]["schemas"]["OpenAiError"] = openai_error();
    // The same handler under an older name.
    let mut alias = document["paths"]["/v1/chat"].clone();
    alias["post"]["operationId"] = json!("alias");
    alias["post"]["deprecated"] = json!(true);
    document["paths"]["/chat"] = alias;
    for route in routes {
        let operation = &mut document["paths"][route.path][route.method.as_str().to_ascii_lowercase()];
        if operation.is_object() {
            complete(operation, route);
        }
    }
    document
}

/// Adds what the route table knows.
fn complete(operation: &mut Value, route: &Route) {
    // Handlers are named within their module; generated clients have one room for all.
    if let (Some(tag), Some(name)) = (operation["tags"][0].as_str(), operation["operationId"].as_str())
        && tag != name
    {
        operation["operationId"] = format!("{tag}_{name}").into();
    }
    let mut parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    for name in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
        parameters.push(json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    }
    if route.needs.once {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header", "required": false, "schema": {"type": "string", "maxLength": 255},
        }));
    }
    if let Access::Tenant(_) = route.needs.access {
        parameters.push(json!({
            "name": "X-End-User", "in": "header", "required": false, "schema": {"type": "string", "maxLength": 64},
            "description": "With a secret key: the person it is asked for.",
        }));
    }
    operation["parameters"] = Value::Array(parameters);
    let (media, schema) = match speaks_openai(route.path) {
        true => ("application/json", "#/components/schemas/OpenAiError"),
        false => ("application/problem+json", "#/components/schemas/Problem"),
    };
    let refusal = |about: &str| json!({"description": about, "content": {media: {"schema": {"$ref": schema}}}});
    operation["responses"]["default"] = refusal("What went wrong.");
    // What a handler says of a refusal has the same shape.
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        if status.starts_with(['4', '5']) {
            *response = refusal(response["description"].as_str().unwrap_or_default());
        }
    }
    match route.needs.access {
        Access::Public => operation["security"] = json!([]),
        Access::Operator => operation["security"] = json!([{"operator": []}]),
        Access::Tenant(scope) => {
            operation["security"] = json!([{"key": []}]);
            operation["responses"]["401"] = refusal("Who asks is not known.");
            operation["responses"]["403"] = refusal(&format!("The key has no scope {:?}.", scope.name()));
            operation["responses"]["429"] = refusal("Too fast, or the month is used up; `Retry-After` tells.");
        }
    }
}

fn problem() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "detail", "request_id"],
        "properties": {
            "type": text, "title": text, "status": {"type": "integer"}, "code": text, "detail": text, "request_id": text,
            "errors": {"type": "array", "items": {}},
        },
    })
}

fn openai_error() -> Value {
    let text = json!({"type": "string"});
    let error = json!({
        "type": "object",
        "required": ["message", "type", "code", "request_id"],
        "properties": {"message": text, "type": text, "param": {"type": "null"}, "code": text, "request_id": text},
    });
    json!({"type": "object", "required": ["error"], "properties": {"error": error}})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::Method;

    use super::*;

    /// `POST`s that say everything by their path.
    const WITHOUT_BODY: [&str; 2] =
        ["/v1/conversations/{id}/messages/{message_id}/cancel", "/v1/knowledge/versions/{version}/activate"];
    /// Statuses that come without a body.
    const EMPTY: [&str; 2] = ["202", "204"];

    #[test]
    fn every_route_is_described_whole_and_nothing_else() {
        let routes = routes();
        let document = build(&routes);
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut ids = BTreeSet::new();
        for route in &routes {
            let operation = &document["paths"][route.path][route.method.as_str().to_ascii_lowercase()];
            let what = format!("{} {}", route.method, route.path);
            assert!(operation.is_object(), "{what}: add #[utoipa::path] to its handler and the handler to `Described`");
            assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{what} has no summary");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{what} has the id of another operation");
            parameters(operation, route, &what);
            let takes_body = matches!(route.method, Method::POST | Method::PUT) && !WITHOUT_BODY.contains(&route.path);
            assert_eq!(!operation["requestBody"].is_null(), takes_body, "{what}: its request body");
            if takes_body {
                has_schemas(&operation["requestBody"], &format!("{what}: its request body"));
            }
            responses(operation, route, &what);
            let secured = match route.needs.access {
                Access::Public => json!([]),
                Access::Operator => json!([{"operator": []}]),
                Access::Tenant(_) => json!([{"key": []}]),
            };
            assert_eq!(operation["security"], secured, "{what}");
        }
        let operations = document["paths"].as_object().unwrap().values().map(|path| path.as_object().unwrap().len());
        assert_eq!(operations.sum::<usize>(), routes.len());
        // Everything referred to exists.
        let text = document.to_string();
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
        }
    }

    fn parameters(operation: &Value, route: &Route, what: &str) {
        let parameters = operation["parameters"].as_array().unwrap();
        let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
        assert_eq!(in_path, route.path.matches('{').count(), "{what}");
        let once = parameters.iter().any(|parameter| parameter["name"] == "Idempotency-Key");
        assert_eq!(once, route.needs.once, "{what}: Idempotency-Key");
        assert!(parameters.iter().all(|parameter| parameter["schema"].is_object()), "{what}: a parameter's schema");
    }

    fn responses(operation: &Value, route: &Route, what: &str) {
        let refusals = if speaks_openai(route.path) { "application/json" } else { "application/problem+json" };
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{what} never succeeds");
        for (status, response) in responses {
            let what = format!("{what}: {status}");
            assert!(!response["description"].as_str().unwrap_or_default().is_empty(), "{what} is not described");
            if !EMPTY.contains(&status.as_str()) {
                has_schemas(response, &what);
            }
            if !status.starts_with('2') {
                assert!(response["content"][refusals].is_object(), "{what} is no {refusals}");
            }
        }
        assert!(responses.contains_key("default"), "{what} has no word on failures");
        if let Access::Tenant(_) = route.needs.access {
            assert!(["401", "403", "429"].iter().all(|status| responses.contains_key(*status)), "{what}");
        }
    }

    fn has_schemas(described: &Value, what: &str) {
        let content = described["content"].as_object().unwrap_or_else(|| panic!("{what} has no content"));
        for (media, content) in content {
            assert!(content["schema"].is_object(), "{what} has no schema for {media}");
        }
    }
}
