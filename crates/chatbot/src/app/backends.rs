//! What the configuration names outside the process.

#[cfg(any(feature = "bedrock", feature = "dynamodb"))]
use std::sync::Arc;
use std::time::Duration;

use super::Opened;
#[cfg(any(feature = "bedrock", feature = "dynamodb"))]
use crate::aws::Aws;
#[cfg(feature = "dynamodb")]
use crate::aws::Table;
use crate::config::Config;
#[cfg(feature = "dynamodb")]
use crate::config::Store;
#[cfg(feature = "dynamodb")]
use crate::conversation::DynamoStore;
#[cfg(feature = "dynamodb")]
use crate::idempotency::{DynamoRecords, Records};
#[cfg(feature = "dynamodb")]
use crate::ledger::DynamoBooks;
#[cfg(feature = "bedrock")]
use crate::model::Bedrock;
use crate::model::{LanguageModel, ModelName, Models, OpenAi, Patience, Provider};
use crate::tenant::{Registry, TenantsError};
#[cfg(feature = "dynamodb")]
use crate::webhook::{DynamoOutbox, Outbox};

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

    /// The tenants of the table.
    pub(super) fn tenants(&self) -> Result<Registry, TenantsError> {
        #[cfg(feature = "dynamodb")]
        if let Store::Table { name, .. } = &self.config.store {
            return Registry::of_table(Arc::new(Table::new(Arc::clone(&self.aws), name)));
        }
        // Reading the configuration has refused it.
        Err(TenantsError::NoFile)
    }

    /// Everything in a table; `None` for what reading the configuration has refused.
    #[cfg_attr(not(feature = "dynamodb"), expect(unused_variables, reason = "only the feature has tables"))]
    pub(super) fn table(&self, name: &str, retention: Duration) -> Option<Opened> {
        #[cfg(feature = "dynamodb")]
        {
            let table = Arc::new(Table::new(Arc::clone(&self.aws), name));
            Some(Opened {
                store: Box::new(DynamoStore::new(Arc::clone(&table), retention)),
                books: Box::new(DynamoBooks::new(Arc::clone(&table))),
                records: Records::Table(DynamoRecords::new(Arc::clone(&table))),
                outbox: Outbox::Table(DynamoOutbox::new(table)),
                directory: None,
            })
        }
        #[cfg(not(feature = "dynamodb"))]
        None
    }
}
