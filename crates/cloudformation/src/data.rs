//! What outlives every version of the service: the environment's key, conversations, secrets, parameters and logs
//! of its network.

use environment::{ConversationStore, Encryption, Environment, ManagedSecret, Project};
use serde_json::{Value as Json, json};

use crate::buckets::{Private, Requests, flow_logs, load_balancer_logs};
use crate::keys;
use crate::names::Names;
use crate::resources::dynamodb::Table;
use crate::resources::dynamodb::table::{
    AttributeDefinition, AttributeDefinitionAttributeType as AttributeType, PointInTimeRecoverySpecification,
    SSESpecification, SSESpecificationSSEType, TableBillingMode, TimeToLiveSpecification,
};
use crate::resources::kms::Key;
use crate::resources::secretsmanager::rotation_schedule::RotationRules;
use crate::resources::secretsmanager::secret::GenerateSecretString;
use crate::resources::secretsmanager::{RotationSchedule, Secret};
use crate::resources::ssm::Parameter;
use crate::resources::ssm::parameter::ParameterType;
use crate::stack::tags;
use crate::sub;
use crate::template::{Handle, Resource, Template};
use crate::value::{ACCOUNT, Intrinsic, REGION};

/// Days that logs of requests and connections are kept.
const ACCESS_LOG_DAYS: i64 = 365;

/// Attribute after whose time, in seconds since 1970, an item goes: the chatbot writes it (`conversation/dynamodb/item.rs`).
const EXPIRY: &str = "expires";

/// What other stacks need of this one, by import.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Imports<'a> {
    names: Names<'a>,
    environment: &'a Environment,
}

impl<'a> Imports<'a> {
    pub(crate) const fn new(names: Names<'a>, environment: &'a Environment) -> Self {
        Imports { names, environment }
    }

    /// The key that encrypts what the environment stores, if it is ours.
    pub(crate) fn key(self) -> Option<Intrinsic> {
        let ours = self.environment.encryption() == Encryption::CustomerManaged;
        ours.then(|| self.import("Key"))
    }

    /// The conversations table, if conversations are kept in one.
    pub(crate) fn table(self) -> Option<Intrinsic> {
        let kept = self.environment.chat.conversation_store == ConversationStore::Dynamodb;
        kept.then(|| self.import("ConversationsArn"))
    }

    /// The bucket that load balancers record their requests in.
    pub(crate) fn access_logs(self) -> Option<Intrinsic> {
        self.environment.access_logs().then(|| self.import("LogBucketName"))
    }

    /// The bucket that the VPC records its connections in.
    pub(crate) fn flow_logs(self) -> Option<Intrinsic> {
        self.environment.flow_logs().then(|| self.import("LogBucketArn"))
    }

    fn import(self, output: &str) -> Intrinsic {
        Intrinsic::ImportValue(export(self.names, output))
    }
}

fn export(names: Names<'_>, output: &str) -> String {
    format!("{}-{output}", names.data_stack())
}

/// The template; none when the environment keeps nothing.
pub(crate) fn template(project: &Project, environment: &Environment) -> Option<Json> {
    let names = Names::new(project, environment.name);
    let description = format!("{}: data of {}", project.name, environment.name);
    let mut template = Template::new(description, tags(project, Some(environment)));
    let key = (environment.encryption() == Encryption::CustomerManaged).then(|| {
        let description = format!("What {} of {} stores", environment.name, project.name);
        let key = keys::add(&mut template, "Key", &names.environment_wide(), description);
        template.export("Key", "The key of what the environment stores", &key.arn(), &export(names, "Key"));
        key
    });
    if environment.chat.conversation_store == ConversationStore::Dynamodb {
        conversations(&mut template, environment, names, key.as_ref());
    }
    for (secret, number) in environment.data.secrets.iter().zip(1..) {
        add_secret(&mut template, secret, number, key.as_ref());
    }
    for ((name, value), number) in environment.data.parameters.iter().zip(1..) {
        let parameter =
            Parameter { name: Some(name.as_str().into()), ..Parameter::new(ParameterType::String, value.as_str()) };
        template.add(format!("Parameter{number}"), parameter);
    }
    if environment.access_logs() || environment.flow_logs() {
        log_bucket(&mut template, environment, names);
    }
    (!template.is_empty()).then(|| template.finish())
}

/// One table: a conversation's items share the partition key `pk`, messages are in the order of `sk`.
fn conversations(template: &mut Template, environment: &Environment, names: Names<'_>, key: Option<&Handle<Key>>) {
    let table = Table {
        table_name: Some(names.conversations_table().into()),
        attribute_definitions: Some(["pk", "sk"].map(|name| AttributeDefinition::new(name, AttributeType::S)).into()),
        billing_mode: Some(TableBillingMode::PayPerRequest.into()),
        time_to_live_specification: Some(TimeToLiveSpecification {
            attribute_name: Some(EXPIRY.into()),
            ..TimeToLiveSpecification::new(true)
        }),
        point_in_time_recovery_specification: Some(PointInTimeRecoverySpecification {
            point_in_time_recovery_enabled: Some(true.into()),
            ..PointInTimeRecoverySpecification::default()
        }),
        sse_specification: key.map(|key| SSESpecification {
            kms_master_key_id: Some(key.arn().into()),
            sse_type: Some(SSESpecificationSSEType::Kms.into()),
            ..SSESpecification::new(true)
        }),
        deletion_protection_enabled: Some(environment.protection.termination.into()),
        ..Table::new(json!([
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ]))
    };
    let table = template.add("Conversations", Resource::new(table).retained());
    template.export("ConversationsArn", "The conversations", &table.arn(), &export(names, "ConversationsArn"));
}

/// A secret that nobody ever typed, with a new value at every rotation.
fn add_secret(template: &mut Template, secret: &ManagedSecret, number: u32, key: Option<&Handle<Key>>) {
    let random = GenerateSecretString {
        password_length: Some(i64::from(secret.length).into()),
        exclude_punctuation: Some(true.into()),
        ..GenerateSecretString::default()
    };
    let resource = Secret {
        name: Some(secret.name.as_str().into()),
        kms_key_id: key.map(|key| key.arn().into()),
        generate_secret_string: Some(random),
        ..Secret::default()
    };
    let handle = template.add(format!("Secret{number}"), Resource::new(resource).retained());
    let days = i64::try_from(secret.rotation.every.as_days().unwrap_or(1)).unwrap_or(i64::MAX);
    let schedule = RotationSchedule {
        rotation_lambda_arn: Some(secret.rotation.function.as_str().into()),
        rotation_rules: Some(RotationRules { automatically_after_days: Some(days.into()), ..RotationRules::default() }),
        // The value is random and unused so far; what reads it gets it by name when it starts.
        rotate_immediately_on_update: Some(false.into()),
        ..RotationSchedule::new(handle.reference())
    };
    template.add(format!("Secret{number}Rotation"), schedule);
}

fn log_bucket(template: &mut Template, environment: &Environment, names: Names<'_>) {
    let bucket = Private {
        name: sub![names.environment_wide(), "-logs-", ACCOUNT, "-", REGION],
        days: ACCESS_LOG_DAYS,
        // Load balancers cannot write to a bucket with a key of ours.
        key: None,
        requests: Requests::Fed,
    };
    let bucket = bucket.add(template, "LogBucket", |bucket| {
        let mut statements = Vec::new();
        if environment.access_logs() {
            statements.push(load_balancer_logs(bucket));
        }
        if environment.flow_logs() {
            statements.extend(flow_logs(bucket));
        }
        statements
    });
    if environment.access_logs() {
        let exported = export(names, "LogBucketName");
        template.export("LogBucketName", "Where requests are recorded", &bucket.reference(), &exported);
    }
    if environment.flow_logs() {
        let exported = export(names, "LogBucketArn");
        template.export("LogBucketArn", "Where connections are recorded", &bucket.arn(), &exported);
    }
}
