//! What the configuration names outside the process.

#[cfg(any(feature = "bedrock", feature = "dynamodb"))]
use std::sync::Arc;
use std::time::Duration;

#[cfg(any(feature = "bedrock", feature = "dynamodb"))]
use crate::aws::Aws;
use crate::config::Config;
use crate::conversation::ConversationStore;
#[cfg(feature = "dynamodb")]
use crate::conversation::DynamoStore;
#[cfg(feature = "bedrock")]
use crate::model::Bedrock;
use crate::model::{LanguageModel, ModelName, Models, OpenAi, Patience, Provider};

/// Opens clients; those for AWS share credentials and connections.
#[derive(Debug)]
pub(super) struct Backends<'a> {
    config: &'a Config,
    #[cfg(any(feature = "bedrock", feature = "dynamodb"))]
    aws: Arc<Aws>,
}

impl<'a> Backends<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        Self {
            config,
            #[cfg(any(feature = "bedrock", feature = "dynamodb"))]
            aws: Arc::new(Aws::new(config.aws.clone())),
        }
    }

    /// The models, in their default order.
    pub(super) fn models(&self) -> Models {
        let names = self.config.models.names.iter();
        let models = names.filter_map(|name| Some((name.clone(), self.model(name)?)));
        Models::new(models, Patience::default())
    }

    /// `None` for what reading the configuration has refused.
    fn model(&self, name: &ModelName) -> Option<Box<dyn LanguageModel>> {
        match name.provider {
            Provider::OpenAi => Some(Box::new(OpenAi::new(self.config.models.openai.as_ref()?, &name.id))),
            #[cfg(feature = "bedrock")]
            Provider::Bedrock => Some(Box::new(Bedrock::new(Arc::clone(&self.aws), &name.id))),
            #[cfg(not(feature = "bedrock"))]
            Provider::Bedrock => None,
        }
    }

    /// The conversations in a table; `None` for what reading the configuration has refused.
    #[cfg_attr(not(feature = "dynamodb"), expect(unused_variables, reason = "only the feature has tables"))]
    pub(super) fn table(&self, name: &str, retention: Duration) -> Option<Box<dyn ConversationStore>> {
        #[cfg(feature = "dynamodb")]
        return Some(Box::new(DynamoStore::new(Arc::clone(&self.aws), name, retention)));
        #[cfg(not(feature = "dynamodb"))]
        return None;
    }
}
