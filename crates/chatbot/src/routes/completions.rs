//! OpenAI's protocol: `POST /v1/chat/completions` and `GET /v1/models`, so that what speaks to OpenAI
//! can speak to a tenant's bot.
//!
//! The caller keeps the conversation and sends all of it: the last message is the question, what comes
//! before it is context. System messages count for nothing here: what the bot says rests on the tenant's knowledge
//! and the tenant's own prompt. The reply is kept like any other; `smartbot` in the answer names it.

mod events;
mod wire;

use std::sync::Arc;

use axum::extract::{Extension, Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;

use self::wire::{Chunk, Completion, CompletionRequest, Model, ModelList, StreamOptions};
use super::chat::{finished, text};
use crate::access::Caller;
use crate::app::App;
use crate::body;
use crate::conversation::{Message, MessageId, Role, StoredMessage};
use crate::idempotency::{IDEMPOTENCY_KEY, IsReply};
use crate::observe::RequestId;
use crate::problem::Problem;
use crate::turn::{self, Asked, Turn};

/// The only model there is: the tenant's bot.
const MODEL: &str = "smartbot";
/// Where completions are.
pub const PATH: &str = "/v1/chat/completions";

/// Whether errors of a route are written as OpenAI writes them.
pub fn speaks_openai(route: &str) -> bool {
    route == PATH || route.starts_with("/v1/models")
}

/// Answers the last message, in OpenAI's protocol.
///
/// Body, answer and errors are those of OpenAI's chat completions; the model is `smartbot`. The caller sends
/// the whole conversation each time. System messages have no effect.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "openai",
    request_body = CompletionRequest,
    responses(
        (
            status = 200,
            description = "A chat completion, or with `stream` server-sent events: a `CompletionChunk` each, then `[DONE]`.",
            content((Completion<'_> = "application/json"), (Chunk<'_> = "text/event-stream")),
        ),
    ),
)]
pub async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Extension(request_id): Extension<RequestId>,
    request: Request,
) -> Result<Response, Problem> {
    let once = request.headers().contains_key(IDEMPOTENCY_KEY);
    let asked: CompletionRequest = body::json(request).await?;
    if asked.model != MODEL {
        return Err(no_model(&asked.model));
    }
    if asked.n.is_some_and(|n| n != 1) {
        return Err(Problem::invalid("unsupported_parameter", "n must be 1."));
    }
    let (told, question) = split(asked.messages)?;
    let question = Asked { conversation: None, told: &told, message: text(&question)?, locale: None };
    let turn = turn::take(&app, &caller, question).await?;
    let is_reply = once.then(|| IsReply::of(&turn));
    let response = respond(&app, turn, asked.stream, asked.stream_options, request_id).await;
    Ok(IsReply::mark(is_reply, response))
}

/// Answers a request that was sent again under its `Idempotency-Key`: with the reply as it stands now.
pub async fn again(app: &Arc<App>, turn: Turn, request: Request) -> Result<Response, Problem> {
    let request_id = request.extensions().get::<RequestId>().cloned().ok_or_else(Problem::internal)?;
    let asked: CompletionRequest = body::json(request).await?;
    Ok(respond(app, turn, asked.stream, asked.stream_options, request_id).await)
}

/// A turn's reply, in chunks or as one completion.
async fn respond(app: &Arc<App>, turn: Turn, stream: bool, options: StreamOptions, request_id: RequestId) -> Response {
    if stream {
        events::respond(app, turn, options.include_usage, request_id)
    } else {
        let message = finished(&turn.key, turn.reply).await;
        message.map(|message| body::answer(&wire::completion(turn.key.id, &message))).into_response()
    }
}

/// The models there are, in OpenAI's protocol: the tenant's bot.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "openai",
    responses((status = 200, description = "A list with one model.", body = ModelList<'_>)),
)]
pub async fn models(caller: Caller) -> Response {
    body::answer(&ModelList::new([Model::new(MODEL, caller.tenant.id().as_str())]))
}

/// A model by its name, in OpenAI's protocol.
#[utoipa::path(
    get,
    path = "/v1/models/{model}",
    tag = "openai",
    responses((status = 200, description = "The model.", body = Model<'_>)),
)]
pub async fn model(caller: Caller, Path(model): Path<String>) -> Result<Response, Problem> {
    if model == MODEL {
        Ok(body::answer(&Model::new(MODEL, caller.tenant.id().as_str())))
    } else {
        Err(no_model(&model))
    }
}

/// The lines before the question, and the question.
fn split(mut messages: Vec<wire::Message>) -> Result<(Vec<StoredMessage>, String), Problem> {
    let question = messages.pop().filter(|last| last.role == wire::Role::User);
    let question = question.ok_or_else(|| Problem::invalid("invalid_request", "The last message must be a user's."))?;
    let lines = messages.into_iter().filter_map(|message| {
        let role = match message.role {
            wire::Role::User => Role::User,
            wire::Role::Assistant => Role::Assistant,
            wire::Role::System | wire::Role::Developer => return None,
        };
        Some((role, message.content.map(wire::Content::text)?))
    });
    let told = (1..)
        .zip(lines)
        .map(|(seq, (role, text))| StoredMessage { seq, message: Message::new(MessageId::default(), role, text, 0) });
    Ok((told.collect(), question.content.map(wire::Content::text).unwrap_or_default()))
}

fn no_model(name: &str) -> Problem {
    // A name is echoed only when it looks like one.
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.:/".contains(*c)).take(64).collect();
    let detail = format!("There is no model {name:?}; the only one is {MODEL:?}.");
    Problem::new(StatusCode::NOT_FOUND, "model_not_found", "No such model", detail)
}
