//! Models of Amazon Bedrock, through ConverseStream.

use std::fmt;
use std::sync::Arc;

use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::http::HttpResponse;
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::operation::converse_stream::ConverseStreamOutput;
use aws_sdk_bedrockruntime::types::error::ConverseStreamOutputError;
use aws_sdk_bedrockruntime::types::{
    ContentBlock, ContentBlockDelta, ConversationRole, ConverseStreamOutput as Event, InferenceConfiguration, Message,
    StopReason, SystemContentBlock, TokenUsage,
};
use futures_util::stream::try_unfold;
use tokio::sync::OnceCell;

use super::{End, Finish, LanguageModel, ModelError, ModelFuture, Piece, Pieces, Prompt, Speaker, Tokens};
use crate::aws::Aws;
use crate::causes::with_causes;
use crate::trace;

/// One model or inference profile of Bedrock.
pub struct Bedrock {
    aws: Arc<Aws>,
    model: String,
    client: OnceCell<Client>,
}

impl Bedrock {
    /// A model by its id, inference profile or ARN.
    pub fn new(aws: Arc<Aws>, model: &str) -> Self {
        Self { aws, model: model.to_owned(), client: OnceCell::new() }
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| async { Client::new(self.aws.config().await) }).await
    }
}

impl fmt::Debug for Bedrock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bedrock").field("model", &self.model).finish_non_exhaustive()
    }
}

impl LanguageModel for Bedrock {
    fn ask<'a>(&'a self, prompt: &'a Prompt) -> ModelFuture<'a, Result<Pieces, ModelError>> {
        Box::pin(async move {
            let messages = prompt.lines.iter().map(|line| {
                let role = match line.speaker {
                    Speaker::Person => ConversationRole::User,
                    Speaker::Assistant => ConversationRole::Assistant,
                };
                Message::builder().role(role).content(ContentBlock::Text(line.text.clone())).build()
            });
            let messages = messages.collect::<Result<_, _>>().map_err(|error| unreadable(&error.to_string()))?;
            let most = InferenceConfiguration::builder().max_tokens(prompt.max_tokens.try_into().unwrap_or(i32::MAX));
            let trace = trace::current();
            let answer = self
                .client()
                .await
                .converse_stream()
                .model_id(&self.model)
                .system(SystemContentBlock::Text(prompt.system.clone()))
                .set_messages(Some(messages))
                .inference_config(most.build())
                .customize()
                .mutate_request(move |request| {
                    if let Some(trace) = &trace {
                        request.headers_mut().insert("traceparent", trace.header());
                    }
                })
                .send()
                .await
                .map_err(|error| judge(&error))?;
            let reader = Reader { answer, finish: None };
            Ok(Box::pin(try_unfold(Some(reader), |reader| async move {
                let Some(mut reader) = reader else { return Ok(None) };
                let piece = reader.next().await?;
                let rest = matches!(piece, Piece::Text(_)).then_some(reader);
                Ok(Some((piece, rest)))
            })) as Pieces)
        })
    }

    fn warm_up(&self) -> ModelFuture<'_, Result<(), ModelError>> {
        Box::pin(async {
            // Free, and on the same endpoint. Any answer will do, a refusal too: what is wanted are the
            // credentials and the connection.
            match self.client().await.list_async_invokes().max_results(1).send().await {
                Ok(_) | Err(SdkError::ServiceError(_) | SdkError::ResponseError(_)) => Ok(()),
                Err(error) => Err(judge(&error)),
            }
        })
    }
}

/// Reads an answer's events.
struct Reader {
    answer: ConverseStreamOutput,
    finish: Option<Finish>,
}

impl Reader {
    async fn next(&mut self) -> Result<Piece, ModelError> {
        loop {
            let event = self.answer.stream.recv().await.map_err(|error| match error {
                SdkError::ServiceError(failed) => broke_off(failed.err()),
                other => ModelError::Cut(with_causes(&other)),
            })?;
            match event {
                Some(Event::ContentBlockDelta(block)) => {
                    if let Some(ContentBlockDelta::Text(text)) = block.delta
                        && !text.is_empty()
                    {
                        return Ok(Piece::Text(text));
                    }
                }
                Some(Event::MessageStop(stop)) => self.finish = Some(finish(&stop.stop_reason)),
                // The last event: what the answer cost.
                Some(Event::Metadata(metadata)) => {
                    return self.end(metadata.usage.as_ref().map(tokens));
                }
                Some(_) => {}
                None => return self.end(None),
            }
        }
    }

    /// The stream is over: properly only if the model had said why.
    fn end(&self, tokens: Option<Tokens>) -> Result<Piece, ModelError> {
        match self.finish {
            Some(finish) => Ok(Piece::End(End { finish, tokens })),
            None => Err(ModelError::Cut("the stream ended early".to_owned())),
        }
    }
}

fn finish(reason: &StopReason) -> Finish {
    match reason {
        StopReason::MaxTokens | StopReason::ModelContextWindowExceeded => Finish::Length,
        StopReason::ContentFiltered | StopReason::GuardrailIntervened => Finish::Filtered,
        _ => Finish::Stop,
    }
}

fn tokens(usage: &TokenUsage) -> Tokens {
    Tokens {
        input: usage.input_tokens.try_into().unwrap_or_default(),
        output: usage.output_tokens.try_into().unwrap_or_default(),
    }
}

/// What an exception in the middle of an answer means.
fn broke_off(error: &ConverseStreamOutputError) -> ModelError {
    let name = match error {
        ConverseStreamOutputError::ThrottlingException(_) => return ModelError::Throttled { retry_after: None },
        ConverseStreamOutputError::InternalServerException(_) => "InternalServerException",
        ConverseStreamOutputError::ModelStreamErrorException(_) => "ModelStreamErrorException",
        ConverseStreamOutputError::ServiceUnavailableException(_) => "ServiceUnavailableException",
        ConverseStreamOutputError::ValidationException(_) => "ValidationException",
        _ => "an unknown exception",
    };
    ModelError::Cut(format!("the model reported {name}"))
}

/// What a failure to get an answer at all means.
fn judge<E>(error: &SdkError<E, HttpResponse>) -> ModelError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(failed) => {
            let code = failed.err().code().unwrap_or("an unnamed exception").to_owned();
            match code.as_str() {
                "ThrottlingException" => ModelError::Throttled { retry_after: None },
                "InternalServerException"
                | "ServiceUnavailableException"
                | "ModelErrorException"
                | "ModelNotReadyException"
                | "ModelTimeoutException"
                | "ModelStreamErrorException" => ModelError::Failed(code),
                _ if failed.raw().status().is_server_error() => ModelError::Failed(code),
                _ => ModelError::Refused(code),
            }
        }
        SdkError::DispatchFailure(failed) if failed.is_io() || failed.is_timeout() => {
            ModelError::Unreachable(with_causes(error))
        }
        SdkError::TimeoutError(_) => ModelError::Unreachable(with_causes(error)),
        // No credentials, or a request that cannot be built.
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => ModelError::Refused(with_causes(error)),
        _ => ModelError::Failed(with_causes(error)),
    }
}

fn unreadable(what: &str) -> ModelError {
    ModelError::Unreadable(what.to_owned())
}
