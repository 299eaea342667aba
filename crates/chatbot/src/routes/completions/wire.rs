//! OpenAI's chat completions, as far as they mean something here.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::MODEL;
use crate::conversation::{ConversationId, FinishReason, Message as Reply, MessageId, Provenance};
use crate::engine::{Citation, Outcome};

/// A request. What it holds beside this (temperature, tools, …) has no meaning for answers from knowledge.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct CompletionRequest {
    /// `smartbot`.
    pub(super) model: String,
    /// The conversation; the last message is the question.
    pub(super) messages: Vec<Message>,
    /// True for server-sent events.
    #[serde(default)]
    pub(super) stream: bool,
    #[serde(default)]
    pub(super) stream_options: StreamOptions,
    /// How many answers: 1.
    #[serde(default)]
    pub(super) n: Option<u32>,
}

/// How a completion is streamed.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
pub(super) struct StreamOptions {
    /// True for one more chunk that tells the usage.
    #[serde(default)]
    pub(super) include_usage: bool,
}

/// One message of the conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CompletionMessage)]
pub(super) struct Message {
    pub(super) role: Role,
    #[serde(default)]
    pub(super) content: Option<Content>,
}

/// Who says it. What `system` and `developer` say has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CompletionRole)]
pub(super) enum Role {
    System,
    Developer,
    User,
    Assistant,
}

/// Text, or parts of which those that are text count.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = CompletionContent)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A part of a message.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CompletionPart)]
pub(super) struct Part {
    #[serde(default)]
    text: Option<String>,
}

impl Content {
    pub(super) fn text(self) -> String {
        match self {
            Content::Text(text) => text,
            Content::Parts(parts) => parts.into_iter().filter_map(|part| part.text).collect::<Vec<_>>().join("\n"),
        }
    }
}

/// A complete reply.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Completion<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'static str,
    choices: [Choice<'a>; 1],
    usage: Usage,
    smartbot: Extension<'a>,
}

/// The answer: always one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CompletionChoice)]
struct Choice<'a> {
    index: u32,
    message: Said<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

/// What is said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CompletionAnswer)]
struct Said<'a> {
    role: &'static str,
    content: &'a str,
    refusal: Option<()>,
}

/// Tokens of language models; an answer from the knowledge takes none.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = CompletionUsage)]
pub(super) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

/// What OpenAI's protocol has no place for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CompletionExtension)]
pub(super) struct Extension<'a> {
    conversation_id: ConversationId,
    message_id: MessageId,
    outcome: Option<Outcome>,
    citations: &'a [Citation],
    suggestions: Vec<&'a str>,
}

/// One event of a streamed reply.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CompletionChunk)]
pub(super) struct Chunk<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'static str,
    /// One, and none in the event that tells the usage.
    choices: Vec<ChunkChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    smartbot: Option<Extension<'a>>,
}

/// More of the answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CompletionChunkChoice)]
struct ChunkChoice<'a> {
    index: u32,
    delta: Delta<'a>,
    finish_reason: Option<&'static str>,
}

/// What is new.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = CompletionDelta)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

/// A list of models.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelList<'a> {
    object: &'static str,
    data: [Model<'a>; 1],
}

/// A model.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Model<'a> {
    id: &'static str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

impl<'a> ModelList<'a> {
    pub(super) fn new(data: [Model<'a>; 1]) -> Self {
        Self { object: "list", data }
    }
}

impl<'a> Model<'a> {
    pub(super) fn new(id: &'static str, owned_by: &'a str) -> Self {
        Self { id, object: "model", created: 0, owned_by }
    }
}

/// The whole of a reply.
pub(super) fn completion<'a>(conversation: ConversationId, reply: &'a Reply) -> Completion<'a> {
    let message = Said { role: "assistant", content: &reply.text, refusal: None };
    Completion {
        id: id(reply),
        object: "chat.completion",
        created: reply.at_ms / 1000,
        model: MODEL,
        choices: [Choice { index: 0, message, logprobs: None, finish_reason: finish_reason(reply) }],
        usage: usage(reply),
        smartbot: extension(conversation, reply),
    }
}

impl<'a> Chunk<'a> {
    /// The first event: who speaks.
    pub(super) fn start(reply: &Reply) -> Self {
        Self::new(reply, Delta { role: Some("assistant"), content: Some("") }, None)
    }

    /// More text.
    pub(super) fn text(reply: &Reply, text: &'a str) -> Self {
        Self::new(reply, Delta { role: None, content: Some(text) }, None)
    }

    /// The end, with where the reply comes from.
    pub(super) fn end(conversation: ConversationId, reply: &'a Reply) -> Self {
        let end = Self::new(reply, Delta::default(), Some(finish_reason(reply)));
        Self { smartbot: Some(extension(conversation, reply)), ..end }
    }

    /// What it cost, for those who ask.
    pub(super) fn usage(reply: &Reply) -> Self {
        let usage = Some(usage(reply));
        Self { choices: Vec::new(), usage, ..Self::new(reply, Delta::default(), None) }
    }

    fn new(reply: &Reply, delta: Delta<'a>, finish_reason: Option<&'static str>) -> Self {
        Self {
            id: id(reply),
            object: "chat.completion.chunk",
            created: reply.at_ms / 1000,
            model: MODEL,
            choices: vec![ChunkChoice { index: 0, delta, finish_reason }],
            usage: None,
            smartbot: None,
        }
    }
}

fn id(reply: &Reply) -> String {
    format!("chatcmpl-{}", reply.id)
}

fn usage(reply: &Reply) -> Usage {
    let used = reply.provenance.as_ref().map(|provenance| provenance.usage).unwrap_or_default();
    let (prompt_tokens, completion_tokens) =
        (used.input_tokens.unwrap_or_default(), used.output_tokens.unwrap_or_default());
    Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
}

fn finish_reason(reply: &Reply) -> &'static str {
    match reply.provenance.as_ref().map(|provenance| provenance.finish_reason) {
        Some(FinishReason::Length) => "length",
        _ => "stop",
    }
}

fn extension<'a>(conversation_id: ConversationId, reply: &'a Reply) -> Extension<'a> {
    let provenance = reply.provenance.as_deref();
    Extension {
        conversation_id,
        message_id: reply.id,
        outcome: provenance.map(|provenance| provenance.outcome),
        citations: provenance.map_or(&[][..], |provenance| &provenance.citations),
        suggestions: provenance.map(Provenance::suggestions).unwrap_or_default(),
    }
}
