//! Models behind OpenAI's chat completions protocol: OpenAI itself, vLLM, Ollama, LiteLLM and others.

mod transport;
mod wire;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::try_unfold;
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use self::transport::Transport;
use super::sse::Events;
use super::{End, Finish, LanguageModel, ModelError, ModelFuture, Piece, Pieces, Prompt, Tokens};
use crate::causes::with_causes;

pub use transport::{Endpoint, InvalidEndpoint};

/// One model of an OpenAI-compatible endpoint.
#[derive(Clone)]
pub struct OpenAi {
    transport: Arc<Transport>,
    model: String,
}

impl OpenAi {
    /// A model of an endpoint; models of one endpoint share its connections.
    pub fn new(endpoint: &Endpoint, model: &str) -> Self {
        Self { transport: endpoint.transport(), model: model.to_owned() }
    }
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenAi").field("model", &self.model).finish_non_exhaustive()
    }
}

impl LanguageModel for OpenAi {
    fn ask<'a>(&'a self, prompt: &'a Prompt) -> ModelFuture<'a, Result<Pieces, ModelError>> {
        Box::pin(async move {
            let body = wire::request(&self.model, prompt, self.transport.is_openai_itself());
            let response = self.transport.post("chat/completions", body).await?;
            if response.status() != StatusCode::OK {
                return Err(refusal(response).await);
            }
            let kind = response.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
            if !kind.starts_with(b"text/event-stream") {
                return Err(ModelError::Unreadable("not an event stream".to_owned()));
            }
            let reader = Reader { body: response.into_body(), events: Events::default(), finish: None, tokens: None };
            Ok(Box::pin(try_unfold(Some(reader), |reader| async move {
                let Some(mut reader) = reader else { return Ok(None) };
                let piece = reader.next().await?;
                let rest = matches!(piece, Piece::Text(_)).then_some(reader);
                Ok(Some((piece, rest)))
            })) as Pieces)
        })
    }

    fn warm_up(&self) -> ModelFuture<'_, Result<(), ModelError>> {
        // Any answer will do: what is wanted is the connection.
        Box::pin(async { self.transport.get("models").await.map(drop) })
    }
}

/// Reads an answer's events.
struct Reader {
    body: Incoming,
    events: Events,
    finish: Option<Finish>,
    tokens: Option<Tokens>,
}

impl Reader {
    async fn next(&mut self) -> Result<Piece, ModelError> {
        loop {
            while let Some(data) = self.events.next().map_err(|_| unreadable("an event is too long"))? {
                if data == b"[DONE]" {
                    return self.end();
                }
                if let Some(text) = self.take(&data)? {
                    return Ok(Piece::Text(text));
                }
            }
            match self.body.frame().await {
                None => return self.end(),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.events.feed(&bytes);
                    }
                }
                Some(Err(error)) => return Err(ModelError::Cut(with_causes(&error))),
            }
        }
    }

    /// Notes what an event says; returns its text, if it has any.
    fn take(&mut self, data: &[u8]) -> Result<Option<String>, ModelError> {
        let chunk: wire::Chunk = serde_json::from_slice(data).map_err(|_| unreadable("an event is not as expected"))?;
        if let Some(error) = chunk.error {
            return Err(match error.code().as_str() {
                "rate_limit_exceeded" | "429" => ModelError::Throttled { retry_after: None },
                code => ModelError::Cut(format!("the endpoint reported {code}")),
            });
        }
        if let Some(usage) = chunk.usage {
            self.tokens = Some(Tokens { input: usage.prompt_tokens, output: usage.completion_tokens });
        }
        let Some(choice) = chunk.choices.into_iter().next() else { return Ok(None) };
        if let Some(reason) = choice.finish_reason {
            self.finish = Some(match reason.as_str() {
                "length" => Finish::Length,
                "content_filter" => Finish::Filtered,
                _ => Finish::Stop,
            });
        }
        Ok(choice.delta.and_then(|delta| delta.content).filter(|text| !text.is_empty()))
    }

    /// The stream is over: properly only if the model had said why.
    fn end(&self) -> Result<Piece, ModelError> {
        match self.finish {
            Some(finish) => Ok(Piece::End(End { finish, tokens: self.tokens })),
            None => Err(ModelError::Cut("the stream ended early".to_owned())),
        }
    }
}

/// What a status other than 200 means.
async fn refusal(response: http::Response<Incoming>) -> ModelError {
    let status = response.status();
    let retry_after = transport::retry_after(response.headers());
    let body = transport::read(response.into_body()).await.unwrap_or_else(|_| Bytes::new());
    let code = wire::error_code(&body);
    let told = format!("{} {code}", status.as_u16()).trim_end().to_owned();
    match status {
        // No money left is no matter of a moment.
        StatusCode::TOO_MANY_REQUESTS if code == "insufficient_quota" => ModelError::Refused(told),
        StatusCode::TOO_MANY_REQUESTS => ModelError::Throttled { retry_after },
        StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => ModelError::Failed(told),
        status if status.is_server_error() => ModelError::Failed(told),
        _ => ModelError::Refused(told),
    }
}

fn unreadable(what: &str) -> ModelError {
    ModelError::Unreadable(what.to_owned())
}
