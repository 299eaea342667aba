//! `GET /openapi.json`: the service described by itself.
//!
//! Paths and bodies are derived from the handlers and their types; what follows from the route table (who may
//! call, path parameters, refusals) is added from it, so that it cannot be another.

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header;
use serde_json::{Value, json};
use utoipa::OpenApi;

use crate::access::Access;
use crate::app::App;
use crate::router::{Route, routes};
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
    responses((status = 200, description = "OpenAPI 3.1.")),
)]
pub async fn document(State(app): State<Arc<App>>) -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| build(&routes(&app)).to_string().into());
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
    // The same handler under an older name.
    let mut alias = document["paths"]["/v1/chat"].clone();
    alias["post"]["operationId"] = json!("chat_alias");
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
    let refusal = |about: &str| json!({"description": about, "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}});
    operation["responses"]["default"] = refusal("What went wrong.");
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Config;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let config = Config::read(&BTreeMap::from([("CONVERSATION_STORE", "memory")])).unwrap();
        let routes = routes(&App::open(&config).unwrap());
        let document = build(&routes);
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        for route in &routes {
            let operation = &document["paths"][route.path][route.method.as_str().to_ascii_lowercase()];
            let what = format!("{} {}", route.method, route.path);
            assert!(operation.is_object(), "{what}: add #[utoipa::path] to its handler and the handler to `Described`");
            assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{what} has no summary");
            assert_eq!(
                operation["parameters"].as_array().unwrap().iter().filter(|p| p["in"] == "path").count(),
                route.path.matches('{').count(),
                "{what}"
            );
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
}
