//! The part of OpenAI's chat completions protocol that is spoken here.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{Prompt, Speaker};

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

/// The body of a request. OpenAI's newer models refuse `max_tokens`; other servers may know no other name.
pub(super) fn request(model: &str, prompt: &Prompt, openai_itself: bool) -> Bytes {
    let system = Message { role: "system", content: &prompt.system };
    let lines = prompt.lines.iter().map(|line| Message {
        role: match line.speaker {
            Speaker::Person => "user",
            Speaker::Assistant => "assistant",
        },
        content: &line.text,
    });
    let most = Some(prompt.max_tokens);
    let (max_tokens, max_completion_tokens) = if openai_itself { (None, most) } else { (most, None) };
    let request = Request {
        model,
        messages: std::iter::once(system).chain(lines).collect(),
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        max_tokens,
        max_completion_tokens,
    };
    // Strings and numbers only: this cannot fail.
    serde_json::to_vec(&request).unwrap_or_default().into()
}

/// One event of an answer.
#[derive(Deserialize)]
pub(super) struct Chunk {
    /// Empty in the event that tells the usage; servers also send events without any.
    #[serde(default)]
    pub(super) choices: Vec<Choice>,
    #[serde(default)]
    pub(super) usage: Option<Usage>,
    /// How a failure in the middle of an answer is told.
    #[serde(default)]
    pub(super) error: Option<ErrorObject>,
}

#[derive(Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    pub(super) delta: Option<Delta>,
    #[serde(default)]
    pub(super) finish_reason: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Delta {
    #[serde(default)]
    pub(super) content: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Usage {
    #[serde(default)]
    pub(super) prompt_tokens: u64,
    #[serde(default)]
    pub(super) completion_tokens: u64,
}

/// An error, as OpenAI and its imitators write it: the code is text, a number, or missing.
#[derive(Deserialize)]
pub(super) struct ErrorObject {
    #[serde(default)]
    code: serde_json::Value,
    #[serde(default, rename = "type")]
    kind: serde_json::Value,
}

impl ErrorObject {
    /// Its code, or else its type: short, visible ASCII, so that it may be logged.
    pub(super) fn code(&self) -> String {
        let text = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let code = text(&self.code).or_else(|| text(&self.kind)).unwrap_or_default();
        let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        code.chars().filter(fits).take(64).collect()
    }
}

/// The code in the body of a refusal; empty when there is none.
pub(super) fn error_code(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        error: ErrorObject,
    }
    serde_json::from_slice::<Envelope>(body).map(|envelope| envelope.error.code()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::error_code;

    #[test]
    fn an_errors_code_is_found_in_every_dialect() {
        for (body, code) in [
            (r#"{"error":{"code":"invalid_api_key","type":"x"}}"#, "invalid_api_key"),
            (r#"{"error":{"code":null,"type":"server_error"}}"#, "server_error"),
            (r#"{"error":{"code":503}}"#, "503"),
            (r#"{"error":{"message":"your question was: secret"}}"#, ""),
            (r#"{"error":{"code":"a secret\nquestion"}}"#, "asecretquestion"),
            ("<html>", ""),
        ] {
            assert_eq!(error_code(body.as_bytes()), code, "{body}");
        }
    }
}
