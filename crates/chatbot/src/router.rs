//! The whole route table, with what each route needs.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, on};
use http::{Method, StatusCode};

use crate::access::Access::{self, Public, Tenant};
use crate::access::guard;
use crate::app::App;
use crate::cors::preflight;
use crate::observe::observe;
use crate::problem::Problem;
use crate::routes::{chat, conversations, handoff, operations, widget, widget_assets};
use crate::tenant::Scope::{Agent, Chat};

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, with parameters in braces.
    pub path: &'static str,
    /// What a caller needs.
    pub access: Access,
}

/// The service.
pub fn router(app: Arc<App>) -> Router {
    table(&app)
        .router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&app), preflight))
        .layer(from_fn_with_state(Arc::clone(&app), observe))
        .with_state(app)
}

/// Every route, for tests and documentation.
pub fn routes(app: &Arc<App>) -> Vec<Route> {
    table(app).routes
}

fn table(app: &Arc<App>) -> Table {
    Table { app: Arc::clone(app), router: Router::new(), routes: Vec::new() }
        .post("/v1/chat", Tenant(Chat), chat::chat)
        .post("/chat", Tenant(Chat), chat::chat)
        .get("/v1/conversations/{id}", Tenant(Chat), conversations::show)
        .delete("/v1/conversations/{id}", Tenant(Chat), conversations::delete)
        .get("/v1/conversations/{id}/messages", Tenant(Chat), conversations::messages)
        .get("/v1/conversations/{id}/messages/{message_id}/events", Tenant(Chat), conversations::events)
        .post("/v1/conversations/{id}/messages/{message_id}/cancel", Tenant(Chat), conversations::cancel)
        .post("/v1/conversations/{id}/messages/{message_id}/feedback", Tenant(Chat), conversations::feedback)
        .post("/v1/conversations/{id}/handoff", Tenant(Chat), handoff::request)
        .post("/v1/conversations/{id}/replies", Tenant(Agent), handoff::reply)
        .post("/v1/conversations/{id}/state", Tenant(Agent), handoff::state)
        .post("/v1/widget/sessions", Public, widget::sessions)
        .get("/widget.js", Public, widget_assets::widget)
        .get("/demo", Public, widget_assets::demo)
        .get("/demo.css", Public, widget_assets::demo_style)
        .get("/health", Public, operations::health)
        .get("/ready", Public, operations::ready)
        .get("/metrics", Public, operations::metrics)
        .get("/version", Public, operations::version)
}

/// Collects routes, each behind its guard.
struct Table {
    app: Arc<App>,
    router: Router<Arc<App>>,
    routes: Vec<Route>,
}

impl Table {
    fn get<T: 'static>(self, path: &'static str, access: Access, handler: impl Handler<T, Arc<App>>) -> Self {
        self.on(Method::GET, MethodFilter::GET, path, access, handler)
    }

    fn post<T: 'static>(self, path: &'static str, access: Access, handler: impl Handler<T, Arc<App>>) -> Self {
        self.on(Method::POST, MethodFilter::POST, path, access, handler)
    }

    fn delete<T: 'static>(self, path: &'static str, access: Access, handler: impl Handler<T, Arc<App>>) -> Self {
        self.on(Method::DELETE, MethodFilter::DELETE, path, access, handler)
    }

    fn on<T: 'static>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        access: Access,
        handler: impl Handler<T, Arc<App>>,
    ) -> Self {
        let guarded = on(filter, handler).layer(from_fn_with_state((Arc::clone(&self.app), access), guard));
        self.router = self.router.route(path, guarded);
        self.routes.push(Route { method, path, access });
        self
    }
}

async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "Nothing here",
        "POST /v1/chat asks a question; GET /version tells what runs.",
    )
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Method not allowed",
        "The Allow header names the methods of this path.",
    )
}
