use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which model, and who runs it: `bedrock:<model or inference profile id>` or `openai:<model>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName {
    /// Who runs it.
    pub provider: Provider,
    /// Its name there.
    pub id: String,
}

/// Who runs models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Amazon Bedrock.
    Bedrock,
    /// Any endpoint that speaks OpenAI's protocol.
    OpenAi,
}

/// Text that names no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no model: write bedrock:<id> or openai:<id>")]
pub struct InvalidModelName(String);

impl Provider {
    /// The word before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bedrock => "bedrock",
            Self::OpenAi => "openai",
        }
    }
}

impl FromStr for ModelName {
    type Err = InvalidModelName;

    fn from_str(text: &str) -> Result<Self, InvalidModelName> {
        let invalid = || InvalidModelName(text.to_owned());
        // Ids hold colons themselves (Bedrock versions, ARNs); only the first one is ours.
        let (provider, id) = text.split_once(':').ok_or_else(invalid)?;
        let provider = match provider {
            "bedrock" => Provider::Bedrock,
            "openai" => Provider::OpenAi,
            _ => return Err(invalid()),
        };
        // It becomes a metric's label and part of a path.
        if id.is_empty() || id.len() > 200 || !id.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') {
            return Err(invalid());
        }
        Ok(Self { provider, id: id.to_owned() })
    }
}

impl TryFrom<String> for ModelName {
    type Error = InvalidModelName;

    fn try_from(text: String) -> Result<Self, InvalidModelName> {
        text.parse()
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.provider.as_str(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::{ModelName, Provider};

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in ["bedrock:apac.anthropic.claude-sonnet-4-20250514-v1:0", "openai:gpt-4o-mini", "openai:org/model"] {
            assert_eq!(text.parse::<ModelName>().expect(text).to_string(), text);
        }
        assert_eq!("bedrock:a:b".parse::<ModelName>().map(|name| name.provider), Ok(Provider::Bedrock));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "gpt-4o", "openai:", "azure:x", "openai:a b", "openai:a\"b", &format!("openai:{}", "x".repeat(201))]
        {
            assert!(text.parse::<ModelName>().is_err(), "{text}");
        }
    }
}
