//! The whole route table, with what each route needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter};
use http::{Method, StatusCode};

use crate::access::Access::{self, Operator, Public, Tenant};
use crate::access::{Answered, Needs, guard};
use crate::app::App;
use crate::cors::preflight;
use crate::observe::observe;
use crate::openapi;
use crate::problem::Problem;
use crate::routes::{
    chat, completions, conversations, handoff, insights, keys, knowledge, operations, tenants, widget, widget_assets,
};
use crate::tenant::Scope::{Agent, Chat, Insights, Keys, Knowledge};

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path, with parameters in braces.
    pub path: &'static str,
    /// What its guard has to know.
    pub needs: Needs,
}

/// The service.
pub fn router(app: Arc<App>) -> Router {
    let paths = table().paths.into_iter();
    let router = paths.fold(Router::new(), |router, (path, methods)| {
        router.route(path, methods.fallback(move |state, request| method_not_allowed(path, state, request)))
    });
    router.fallback(not_found).with_state(app)
}

/// Every route, for tests and documentation.
pub fn routes() -> Vec<Route> {
    table().routes
}

fn table() -> Table {
    Table::default()
        .once("/v1/chat", Tenant(Chat), chat::chat)
        .once("/chat", Tenant(Chat), chat::chat)
        .get("/v1/conversations/{id}", Tenant(Chat), conversations::show)
        .delete("/v1/conversations/{id}", Tenant(Chat), conversations::delete)
        .get("/v1/conversations/{id}/messages", Tenant(Chat), conversations::messages)
        .get("/v1/conversations/{id}/messages/{message_id}/events", Tenant(Chat), conversations::events)
        .post("/v1/conversations/{id}/messages/{message_id}/cancel", Tenant(Chat), conversations::cancel)
        .post("/v1/conversations/{id}/messages/{message_id}/feedback", Tenant(Chat), conversations::feedback)
        .once("/v1/conversations/{id}/handoff", Tenant(Chat), handoff::request)
        .once("/v1/conversations/{id}/replies", Tenant(Agent), handoff::reply)
        .once("/v1/conversations/{id}/state", Tenant(Agent), handoff::state)
        .get("/v1/knowledge", Tenant(Knowledge), knowledge::show)
        .put("/v1/knowledge", Tenant(Knowledge), knowledge::put)
        .post("/v1/knowledge/search", Tenant(Knowledge), knowledge::search)
        .get("/v1/knowledge/versions", Tenant(Knowledge), knowledge::versions)
        .get("/v1/knowledge/versions/{version}", Tenant(Knowledge), knowledge::version)
        .post("/v1/knowledge/versions/{version}/activate", Tenant(Knowledge), knowledge::activate)
        .get("/v1/usage", Tenant(Insights), insights::usage)
        .get("/v1/analytics", Tenant(Insights), insights::analytics)
        .get("/v1/analytics/unanswered", Tenant(Insights), insights::unanswered)
        .get("/v1/keys", Tenant(Keys), keys::list)
        .post("/v1/keys", Tenant(Keys), keys::create)
        .delete("/v1/keys/{key_id}", Tenant(Keys), keys::revoke)
        .post("/v1/keys/{key_id}/rotate", Tenant(Keys), keys::rotate)
        .get("/v1/tenants", Operator, tenants::list)
        .get("/v1/tenants/{tenant_id}", Operator, tenants::show)
        .put("/v1/tenants/{tenant_id}", Operator, tenants::put)
        .delete("/v1/tenants/{tenant_id}", Operator, tenants::delete)
        .post("/v1/tenants/{tenant_id}/keys", Operator, keys::create_for)
        .once(completions::PATH, Tenant(Chat), completions::create)
        .get("/v1/models", Tenant(Chat), completions::models)
        .get("/v1/models/{model}", Tenant(Chat), completions::model)
        .post("/v1/widget/sessions", Public, widget::sessions)
        .get("/widget.js", Public, widget_assets::widget)
        .get("/demo", Public, widget_assets::demo)
        .get("/demo.css", Public, widget_assets::demo_style)
        .get("/health", Public, operations::health)
        .get("/ready", Public, operations::ready)
        .get("/metrics", Public, operations::metrics)
        .get("/version", Public, operations::version)
        .get("/openapi.json", Public, openapi::document)
}

/// Collects routes, each behind its guard.
#[derive(Default)]
struct Table {
    paths: BTreeMap<&'static str, MethodRouter<Arc<App>>>,
    routes: Vec<Route>,
}

impl Table {
    fn get<T>(self, path: &'static str, access: Access, handler: impl Answering<T>) -> Self {
        self.on(Method::GET, MethodFilter::GET, path, Needs { access, once: false }, handler)
    }

    fn post<T>(self, path: &'static str, access: Access, handler: impl Answering<T>) -> Self {
        self.on(Method::POST, MethodFilter::POST, path, Needs { access, once: false }, handler)
    }

    /// A `POST` that heeds `Idempotency-Key`.
    fn once<T>(self, path: &'static str, access: Access, handler: impl Answering<T>) -> Self {
        self.on(Method::POST, MethodFilter::POST, path, Needs { access, once: true }, handler)
    }

    fn put<T>(self, path: &'static str, access: Access, handler: impl Answering<T>) -> Self {
        self.on(Method::PUT, MethodFilter::PUT, path, Needs { access, once: false }, handler)
    }

    fn delete<T>(self, path: &'static str, access: Access, handler: impl Answering<T>) -> Self {
        self.on(Method::DELETE, MethodFilter::DELETE, path, Needs { access, once: false }, handler)
    }

    fn on<T>(
        mut self,
        method: Method,
        filter: MethodFilter,
        path: &'static str,
        needs: Needs,
        handler: impl Answering<T>,
    ) -> Self {
        let answer: Arc<Answer> = Arc::new(move |request, app| handler.clone().call(request, app));
        let methods = self.paths.remove(path).unwrap_or_default();
        self.paths.insert(path, methods.on(filter, Guarded { path, needs, answer }));
        self.routes.push(Route { method, path, needs });
        self
    }
}

/// What answers a request, whatever it takes from it.
type Answer = dyn Fn(Request, Arc<App>) -> Answered + Send + Sync;

/// A function that answers requests.
trait Answering<T>: Handler<T, Arc<App>, Future = Answered> {}

impl<T, H: Handler<T, Arc<App>, Future = Answered>> Answering<T> for H {}

/// A handler behind its guard. Not a layer, which would cost a request more than the guard itself does; and one type
/// for all handlers, or the guard would be compiled anew for each.
#[derive(Clone)]
struct Guarded {
    path: &'static str,
    needs: Needs,
    answer: Arc<Answer>,
}

impl Handler<(), Arc<App>> for Guarded {
    type Future = Answered;

    fn call(self, request: Request, app: Arc<App>) -> Answered {
        Box::pin(async move {
            let Self { path, needs, answer } = self;
            let state = Arc::clone(&app);
            let handle = move |request| answer(request, state);
            observe(&app, path, request, |request| guard(&app, needs, request, handle)).await
        })
    }
}

async fn not_found(State(app): State<Arc<App>>, request: Request) -> Response {
    let problem = Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "Nothing here",
        "POST /v1/chat asks a question; GET /version tells what runs.",
    );
    unrouted(&app, "unmatched", request, problem).await
}

async fn method_not_allowed(path: &'static str, State(app): State<Arc<App>>, request: Request) -> Response {
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Method not allowed",
        "The Allow header names the methods of this path.",
    );
    unrouted(&app, path, request, problem).await
}

/// A browser's question whether it may ask, or a request that nothing answers.
async fn unrouted(app: &App, route: &str, request: Request, problem: Problem) -> Response {
    let answer = |request| std::future::ready(preflight(app, &request).unwrap_or_else(|| problem.into_response()));
    observe(app, route, request, answer).await
}
