//! Secrets Manager: secrets with versions and their stages. Values lie in the endpoint's own state, readable by its owner;
//! they are for tests on one machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::ids;
use crate::services::paging::page;
use crate::services::{Service, parse, unsupported_operation};
use crate::store::Record;

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";
const DAY_MILLIS: u64 = 24 * 3600 * 1000;

/// A secret; its key is its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Secret {
    name: String,
    /// The random end of its ARN.
    suffix: String,
    description: Option<String>,
    key_id: Option<String>,
    created_at: Timestamp,
    changed_at: Timestamp,
    deleted_at: Option<Timestamp>,
    versions: Vec<Version>,
    tags: BTreeMap<String, String>,
}

impl Record for Secret {
    const TABLE: &'static str = "secretsmanager/secret";
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Version {
    id: String,
    stages: Vec<String>,
    text: Option<String>,
    binary: Option<String>,
    created_at: Timestamp,
}

impl Secret {
    fn arn(&self, cloud: &Cloud) -> String {
        cloud.arn("secretsmanager", format_args!("secret:{}-{}", self.name, self.suffix))
    }

    /// Adds a version as the current one; the one before it stays as the previous, older ones without a stage go.
    fn add(&mut self, value: NewValue, at: Timestamp) -> String {
        let id = value.client_request_token.unwrap_or_else(ids::uuid);
        for version in &mut self.versions {
            version.stages.retain(|stage| stage != PREVIOUS);
            for stage in &mut version.stages {
                if stage == CURRENT {
                    PREVIOUS.clone_into(stage);
                }
            }
        }
        self.versions.retain(|version| !version.stages.is_empty() && version.id != id);
        self.versions.push(Version {
            id: id.clone(),
            stages: vec![CURRENT.to_owned()],
            text: value.secret_string,
            binary: value.secret_binary,
            created_at: at,
        });
        self.changed_at = at;
        id
    }

    fn stages(&self) -> BTreeMap<&str, &[String]> {
        self.versions.iter().map(|version| (version.id.as_str(), version.stages.as_slice())).collect()
    }

    fn tags(&self) -> Vec<Value> {
        self.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
    }
}

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateSecret" => create_secret(cloud, parse(input)?),
        "DescribeSecret" => describe_secret(cloud, parse(input)?),
        "GetSecretValue" => get_secret_value(cloud, parse(input)?),
        "PutSecretValue" => put_secret_value(cloud, parse(input)?),
        "UpdateSecret" => update_secret(cloud, parse(input)?),
        "ListSecrets" => list_secrets(cloud, parse(input)?),
        "DeleteSecret" => delete_secret(cloud, parse(input)?),
        "TagResource" => tag_resource(cloud, parse(input)?),
        _ => Err(unsupported_operation(Service::SecretsManager, operation)),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NewValue {
    client_request_token: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
}

impl NewValue {
    fn is_some(&self) -> bool {
        self.secret_string.is_some() || self.secret_binary.is_some()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: Option<String>,
    value: Option<String>,
}

fn pairs(tags: Vec<Tag>) -> impl Iterator<Item = (String, String)> {
    tags.into_iter().filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Create {
    name: String,
    description: Option<String>,
    kms_key_id: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(flatten)]
    value: NewValue,
}

fn create_secret(cloud: &Cloud, input: Create) -> Result<Value, ApiError> {
    let at = cloud.clock().now();
    let mut secret = Secret {
        name: input.name.clone(),
        suffix: ids::alphanumeric(6),
        description: input.description,
        key_id: input.kms_key_id,
        created_at: at,
        changed_at: at,
        deleted_at: None,
        versions: vec![],
        tags: pairs(input.tags).collect(),
    };
    let version = input.value.is_some().then(|| secret.add(input.value, at));
    cloud.store().write(|tx| {
        if let Some(existing) = tx.get::<Secret>(&input.name) {
            return Err(match existing.deleted_at {
                None => ApiError::new(
                    "ResourceExistsException",
                    format!("The operation failed because the secret {} already exists.", input.name),
                ),
                Some(_) => scheduled_for_deletion(),
            });
        }
        tx.put(&input.name, &secret);
        Ok(())
    })?;
    Ok(json!({"ARN": secret.arn(cloud), "Name": secret.name, "VersionId": version}))
}

fn scheduled_for_deletion() -> ApiError {
    ApiError::new(
        "InvalidRequestException",
        "You can't perform this operation on the secret because it was marked for deletion.",
    )
}

/// A secret by name or ARN, with the ARN's random end or without.
fn find(cloud: &Cloud, id: &str) -> Result<Secret, ApiError> {
    let named = id.split_once(":secret:").map_or(id, |(_, name)| name);
    let secret = cloud.store().get::<Secret>(named).or_else(|| {
        let (name, suffix) = named.rsplit_once('-')?;
        cloud.store().get::<Secret>(name).filter(|secret| secret.suffix == suffix)
    });
    secret.ok_or_else(|| ApiError::new("ResourceNotFoundException", "Secrets Manager can't find the specified secret."))
}

fn find_alive(cloud: &Cloud, id: &str) -> Result<Secret, ApiError> {
    let secret = find(cloud, id)?;
    if secret.deleted_at.is_some() { Err(scheduled_for_deletion()) } else { Ok(secret) }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Id {
    secret_id: String,
}

fn describe_secret(cloud: &Cloud, input: Id) -> Result<Value, ApiError> {
    let secret = find(cloud, &input.secret_id)?;
    Ok(json!({
        "ARN": secret.arn(cloud),
        "Name": secret.name,
        "Description": secret.description,
        "KmsKeyId": secret.key_id,
        "LastChangedDate": secret.changed_at,
        "DeletedDate": secret.deleted_at,
        "CreatedDate": secret.created_at,
        "Tags": secret.tags(),
        "VersionIdsToStages": secret.stages(),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Get {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

fn get_secret_value(cloud: &Cloud, input: Get) -> Result<Value, ApiError> {
    let secret = find_alive(cloud, &input.secret_id)?;
    let stage = input.version_stage.as_deref().or(if input.version_id.is_none() { Some(CURRENT) } else { None });
    let matches = |version: &&Version| {
        input.version_id.as_ref().is_none_or(|id| *id == version.id)
            && stage.is_none_or(|stage| version.stages.iter().any(|existing| existing == stage))
    };
    let version = secret.versions.iter().find(matches).ok_or_else(|| {
        ApiError::new(
            "ResourceNotFoundException",
            format!(
                "Secrets Manager can't find the specified secret value for {}",
                stage.map_or_else(|| "the version".to_owned(), |stage| format!("staging label: {stage}"))
            ),
        )
    })?;
    Ok(json!({
        "ARN": secret.arn(cloud),
        "Name": secret.name,
        "VersionId": version.id,
        "SecretString": version.text,
        "SecretBinary": version.binary,
        "VersionStages": version.stages,
        "CreatedDate": version.created_at,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutValue {
    secret_id: String,
    version_stages: Option<Vec<String>>,
    #[serde(flatten)]
    value: NewValue,
}

fn put_secret_value(cloud: &Cloud, input: PutValue) -> Result<Value, ApiError> {
    if input.version_stages.as_ref().is_some_and(|stages| stages != &[CURRENT.to_owned()]) {
        return Err(ApiError::unsupported("PutSecretValue with stages other than AWSCURRENT"));
    }
    if !input.value.is_some() {
        return Err(ApiError::new("InvalidRequestException", "You must provide either SecretString or SecretBinary."));
    }
    let name = find_alive(cloud, &input.secret_id)?.name;
    let (secret, version) = add_value(cloud, &name, input.value)?;
    Ok(json!({"ARN": secret.arn(cloud), "Name": name, "VersionId": version, "VersionStages": [CURRENT]}))
}

fn add_value(cloud: &Cloud, name: &str, value: NewValue) -> Result<(Secret, String), ApiError> {
    let at = cloud.clock().now();
    let mut id = String::new();
    let secret = cloud.store().update::<Secret>(name, |secret| id = secret.add(value, at));
    secret
        .map(|secret| (secret, id))
        .ok_or_else(|| ApiError::new("ResourceNotFoundException", "Secrets Manager can't find the specified secret."))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Update {
    secret_id: String,
    description: Option<String>,
    kms_key_id: Option<String>,
    #[serde(flatten)]
    value: NewValue,
}

fn update_secret(cloud: &Cloud, input: Update) -> Result<Value, ApiError> {
    let secret = find_alive(cloud, &input.secret_id)?;
    cloud.store().update::<Secret>(&secret.name, |secret| {
        secret.description = input.description.or(secret.description.take());
        secret.key_id = input.kms_key_id.or(secret.key_id.take());
    });
    let version = match input.value.is_some() {
        true => Some(add_value(cloud, &secret.name, input.value)?.1),
        false => None,
    };
    Ok(json!({"ARN": secret.arn(cloud), "Name": secret.name, "VersionId": version}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    #[serde(default)]
    include_planned_deletion: bool,
    max_results: Option<usize>,
    next_token: Option<String>,
    filters: Option<Value>,
}

fn list_secrets(cloud: &Cloud, input: List) -> Result<Value, ApiError> {
    if input.filters.is_some() {
        return Err(ApiError::unsupported("ListSecrets with Filters"));
    }
    let secrets = cloud.store().find(|secret: &Secret| input.include_planned_deletion || secret.deleted_at.is_none());
    let (secrets, next) =
        page(secrets, input.max_results.unwrap_or(100), input.next_token.as_deref(), "InvalidNextTokenException")?;
    let view = |secret: &Secret| {
        json!({
            "ARN": secret.arn(cloud),
            "Name": secret.name,
            "Description": secret.description,
            "LastChangedDate": secret.changed_at,
            "DeletedDate": secret.deleted_at,
            "CreatedDate": secret.created_at,
            "Tags": secret.tags(),
            "SecretVersionsToStages": secret.stages(),
        })
    };
    Ok(json!({"SecretList": secrets.iter().map(view).collect::<Vec<_>>(), "NextToken": next}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Delete {
    secret_id: String,
    recovery_window_in_days: Option<u64>,
    #[serde(default)]
    force_delete_without_recovery: bool,
}

/// Without force the secret stays, unusable; it is not restored here, and not removed when the window has passed.
fn delete_secret(cloud: &Cloud, input: Delete) -> Result<Value, ApiError> {
    let secret = find(cloud, &input.secret_id)?;
    let now = cloud.clock().now();
    if input.force_delete_without_recovery {
        cloud.store().delete::<Secret>(&secret.name);
        return Ok(json!({"ARN": secret.arn(cloud), "Name": secret.name, "DeletionDate": now}));
    }
    let window = input.recovery_window_in_days.unwrap_or(30);
    cloud.store().update::<Secret>(&secret.name, |secret| secret.deleted_at = Some(now));
    let date = Timestamp(now.millis() + window * DAY_MILLIS);
    Ok(json!({"ARN": secret.arn(cloud), "Name": secret.name, "DeletionDate": date}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tagging {
    secret_id: String,
    tags: Vec<Tag>,
}

fn tag_resource(cloud: &Cloud, input: Tagging) -> Result<Value, ApiError> {
    let name = find_alive(cloud, &input.secret_id)?.name;
    cloud.store().update::<Secret>(&name, |secret| secret.tags.extend(pairs(input.tags)));
    Ok(Value::Null)
}
