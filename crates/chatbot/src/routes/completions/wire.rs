//! OpenAI's chat completions, as far as they mean something here.

use serde::{Deserialize, Serialize};

use super::MODEL;
use crate::conversation::{ConversationId, FinishReason, Message as Reply};
use crate::engine::{Citation, Outcome};

/// A request. What it holds beside this (temperature, tools, …) has no meaning for answers from knowledge.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    pub(super) model: String,
    pub(super) messages: Vec<Message>,
    #[serde(default)]
    pub(super) stream: bool,
    #[serde(default)]
    pub(super) stream_options: StreamOptions,
    #[serde(default)]
    pub(super) n: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub(super) include_usage: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) role: Role,
    #[serde(default)]
    pub(super) content: Option<Content>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    System,
    Developer,
    User,
    Assistant,
}

/// Text, or parts of which those that are text count.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
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
#[derive(Debug, Serialize)]
pub(super) struct Completion<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'static str,
    choices: [Choice<'a>; 1],
    usage: Usage,
    smartbot: Extension<'a>,
}

#[derive(Debug, Serialize)]
struct Choice<'a> {
    index: u32,
    message: Said<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Debug, Serialize)]
struct Said<'a> {
    role: &'static str,
    content: &'a str,
    refusal: Option<()>,
}

/// Tokens of language models; an answer from the knowledge takes none.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
}

/// What OpenAI's protocol has no place for.
#[derive(Debug, Serialize)]
pub(super) struct Extension<'a> {
    conversation_id: &'a ConversationId,
    message_id: &'a str,
    outcome: Option<Outcome>,
    citations: &'a [Citation],
}

/// One event of a streamed reply.
#[derive(Debug, Serialize)]
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

#[derive(Debug, Serialize)]
struct ChunkChoice<'a> {
    index: u32,
    delta: Delta<'a>,
    finish_reason: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

/// A list of models.
#[derive(Debug, Serialize)]
pub(super) struct ModelList<'a> {
    object: &'static str,
    data: [Model<'a>; 1],
}

/// A model.
#[derive(Debug, Serialize)]
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
pub(super) fn completion<'a>(conversation: &'a ConversationId, reply: &'a Reply) -> Completion<'a> {
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
    pub(super) fn end(conversation: &'a ConversationId, reply: &'a Reply) -> Self {
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

fn extension<'a>(conversation_id: &'a ConversationId, reply: &'a Reply) -> Extension<'a> {
    let provenance = reply.provenance.as_ref();
    Extension {
        conversation_id,
        message_id: &reply.id,
        outcome: provenance.map(|provenance| provenance.outcome),
        citations: provenance.map_or(&[][..], |provenance| &provenance.citations),
    }
}
