//! What is used outside the process: language models, AWS.

use std::time::Duration;

use super::{Reader, Store};
use crate::model::{Endpoint, InvalidEndpoint, ModelName, Provider};

/// OpenAI's own API.
const OPENAI: &str = "https://api.openai.com/v1";

/// The language models, in the order they are asked unless a tenant says otherwise.
#[derive(Debug, Clone, Default)]
pub struct Models {
    /// Their names.
    pub names: Vec<ModelName>,
    /// Where those with `openai:` are, if there are any.
    pub openai: Option<Endpoint>,
}

/// Where AWS is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsSettings {
    /// `AWS_REGION`; the task has it on ECS.
    pub region: Option<String>,
    /// `AWS_ENDPOINT_URL`: what answers in AWS's place, default AWS.
    pub endpoint: Option<String>,
}

impl Reader<'_> {
    pub(super) fn models(&mut self) -> Models {
        let list = self.text("MODELS").unwrap_or_default();
        let mut names: Vec<ModelName> = Vec::new();
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name.parse::<ModelName>() {
                Ok(name) if names.contains(&name) => {
                    self.wrong("MODELS", format!("names {name} twice"), "name each model once");
                }
                Ok(name) => names.push(name),
                Err(error) => self.wrong(
                    "MODELS",
                    error.to_string(),
                    "for example openai:gpt-4o-mini,bedrock:apac.amazon.nova-lite-v1:0",
                ),
            }
        }
        let has = |provider| names.iter().any(|name: &ModelName| name.provider == provider);
        if has(Provider::Bedrock) && !cfg!(feature = "bedrock") {
            self.wrong("MODELS", "names a bedrock: model".to_owned(), "build with --features bedrock");
        }
        let (base, key) = (self.text("OPENAI_BASE_URL"), self.text("OPENAI_API_KEY"));
        // TLS is set up only where it is used: it costs milliseconds of the start.
        let openai = has(Provider::OpenAi).then(|| self.endpoint(base.as_deref().unwrap_or(OPENAI), key.as_deref()));
        Models { names, openai: openai.flatten() }
    }

    fn endpoint(&mut self, base: &str, key: Option<&str>) -> Option<Endpoint> {
        if base == OPENAI && key.is_none() {
            let hint = "set the key, or OPENAI_BASE_URL for an endpoint that wants none";
            self.wrong("OPENAI_API_KEY", "is not set, and OpenAI wants one".to_owned(), hint);
            return None;
        }
        Endpoint::new(base, key)
            .map_err(|error| match error {
                InvalidEndpoint::Address | InvalidEndpoint::Tls(_) => self.wrong(
                    "OPENAI_BASE_URL",
                    format!("{base:?}: {error}"),
                    "for example https://api.openai.com/v1 or http://127.0.0.1:11434/v1",
                ),
                InvalidEndpoint::Key => self.wrong("OPENAI_API_KEY", error.to_string(), "check for line breaks"),
            })
            .ok()
    }

    pub(super) fn table(&mut self, name: Option<String>, retention: Duration) -> Store {
        if !cfg!(feature = "dynamodb") {
            let problem = "\"dynamodb\" is not supported by this build".to_owned();
            self.wrong("CONVERSATION_STORE", problem, "use embedded, or build with --features dynamodb");
        }
        if self.text("SESSION_SECRET").is_none() {
            let problem = "is not set, and tasks that share a table must share it".to_owned();
            self.wrong("SESSION_SECRET", problem, "set it to 32 or more random characters");
        }
        let name = name.unwrap_or_else(|| {
            let problem = "is not set, and CONVERSATION_STORE is dynamodb".to_owned();
            self.wrong("CONVERSATIONS_TABLE", problem, "name a table with the keys pk and sk, both text");
            String::new()
        });
        Store::Table { name, retention }
    }

    /// `needed` says by what.
    pub(super) fn aws(&mut self, needed: Option<&str>) -> AwsSettings {
        let settings = AwsSettings { region: self.line("AWS_REGION"), endpoint: self.text("AWS_ENDPOINT_URL") };
        if let (Some(by), None) = (needed, &settings.region) {
            self.wrong("AWS_REGION", format!("is not set, and {by} needs it"), "for example ap-northeast-1");
        }
        let is_address = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if settings.endpoint.as_ref().is_some_and(|url| !is_address(url)) {
            let hint = "an http:// or https:// address, or unset it for AWS itself";
            self.wrong("AWS_ENDPOINT_URL", "is no address".to_owned(), hint);
        }
        settings
    }
}
