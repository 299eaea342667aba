//! ECR: repositories, images and layers. The registry HTTP API in [`crate::registry`] is another door to the same records.

mod image_operations;
pub(crate) mod images;
pub(crate) mod layers;
mod records;
mod scans;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cloud::{ACCOUNT, Cloud};
use crate::error::ApiError;
use crate::ids;
use crate::services::paging::page;
use crate::services::{Service, parse, unsupported_operation};

use records::{ExclusionFilter, Image, Layer, Mutability, Repository, Token, key, repository};
use scans::Scan;

/// How long a registry password is good for, as on AWS.
const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateRepository" => create_repository(cloud, parse(input)?),
        "DescribeRepositories" => describe_repositories(cloud, parse(input)?),
        "DeleteRepository" => delete_repository(cloud, parse(input)?),
        "PutImageTagMutability" => put_image_tag_mutability(cloud, parse(input)?),
        "PutImageScanningConfiguration" => put_image_scanning_configuration(cloud, parse(input)?),
        "PutLifecyclePolicy" => put_lifecycle_policy(cloud, parse(input)?),
        "GetLifecyclePolicy" => get_lifecycle_policy(cloud, parse(input)?),
        "DeleteLifecyclePolicy" => delete_lifecycle_policy(cloud, parse(input)?),
        "TagResource" => tag_resource(cloud, parse(input)?),
        "UntagResource" => untag_resource(cloud, parse(input)?),
        "ListTagsForResource" => list_tags_for_resource(cloud, parse(input)?),
        "GetAuthorizationToken" => Ok(get_authorization_token(cloud)),
        "PutImage" => image_operations::put_image(cloud, parse(input)?).await,
        "BatchGetImage" => image_operations::batch_get_image(cloud, parse(input)?).await,
        "BatchDeleteImage" => image_operations::batch_delete_image(cloud, parse(input)?),
        "DescribeImages" => image_operations::describe_images(cloud, parse(input)?),
        "ListImages" => image_operations::list_images(cloud, parse(input)?),
        "StartImageScan" => scans::start(cloud, parse(input)?).await,
        "DescribeImageScanFindings" => scans::describe(cloud, parse(input)?).await,
        "InitiateLayerUpload" => layers::initiate_layer_upload(cloud, parse(input)?).await,
        "UploadLayerPart" => layers::upload_layer_part(cloud, parse(input)?).await,
        "CompleteLayerUpload" => layers::complete_layer_upload(cloud, parse(input)?).await,
        "BatchCheckLayerAvailability" => layers::batch_check_layer_availability(cloud, parse(input)?),
        "GetDownloadUrlForLayer" => layers::get_download_url_for_layer(cloud, parse(input)?),
        _ => Err(unsupported_operation(Service::Ecr, operation)),
    }
}

/// True for a password that was issued and has not expired.
pub(crate) fn admits(cloud: &Cloud, password: &str) -> bool {
    let issued = cloud.store().get::<Token>(password);
    issued.is_some_and(|token| cloud.clock().real_elapsed(token.issued_at) < TOKEN_LIFETIME)
}

/// True when the repository exists.
pub(crate) fn has_repository(cloud: &Cloud, name: &str) -> bool {
    repository(cloud, name).is_ok()
}

/// A password good for at least half of its lifetime: a new one only when the last has aged.
fn password(cloud: &Cloud) -> String {
    let tokens = cloud.store().all::<Token>();
    let fresh = tokens.iter().find(|(_, token)| cloud.clock().real_elapsed(token.issued_at) < TOKEN_LIFETIME / 2);
    if let Some((password, _)) = fresh {
        return password.clone();
    }
    let password = ids::alphanumeric(48);
    let _: Result<(), std::convert::Infallible> = cloud.store().write(|tx| {
        for (old, token) in &tokens {
            if cloud.clock().real_elapsed(token.issued_at) >= TOKEN_LIFETIME {
                tx.delete::<Token>(old);
            }
        }
        tx.put(&password, &Token { issued_at: cloud.clock().now() });
        Ok(())
    });
    password
}

fn get_authorization_token(cloud: &Cloud) -> Value {
    let password = password(cloud);
    let age = cloud.store().get::<Token>(&password).map(|token| cloud.clock().real_elapsed(token.issued_at));
    let left = TOKEN_LIFETIME.saturating_sub(age.unwrap_or_default());
    json!({"authorizationData": [{
        "authorizationToken": BASE64.encode(format!("AWS:{password}")),
        "expiresAt": cloud.clock().now().seconds() + left.as_secs_f64(),
        "proxyEndpoint": cloud.endpoint(),
    }]})
}

#[derive(Deserialize)]
struct Tag {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "Value")]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScanningConfiguration {
    #[serde(default)]
    scan_on_push: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateRepository {
    repository_name: String,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    image_tag_mutability: Mutability,
    #[serde(default)]
    image_tag_mutability_exclusion_filters: Vec<ExclusionFilter>,
    image_scanning_configuration: Option<ScanningConfiguration>,
    encryption_configuration: Option<Value>,
}

fn create_repository(cloud: &Cloud, input: CreateRepository) -> Result<Value, ApiError> {
    let name = input.repository_name;
    let created = Repository {
        name: name.clone(),
        created_at: cloud.clock().now(),
        mutability: input.image_tag_mutability,
        exclusions: input.image_tag_mutability_exclusion_filters,
        scan_on_push: input.image_scanning_configuration.is_some_and(|scanning| scanning.scan_on_push),
        encryption: input.encryption_configuration.unwrap_or_else(|| json!({"encryptionType": "AES256"})),
        lifecycle_policy: None,
        tags: input.tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
    };
    cloud.store().write(|tx| {
        if tx.get::<Repository>(&name).is_some() {
            return Err(ApiError::new(
                "RepositoryAlreadyExistsException",
                format!("The repository with name '{name}' already exists in the registry with id '{ACCOUNT}'"),
            ));
        }
        tx.put(&name, &created);
        Ok(())
    })?;
    Ok(json!({"repository": created.describe(cloud)}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeRepositories {
    repository_names: Option<Vec<String>>,
    next_token: Option<String>,
    max_results: Option<usize>,
}

fn describe_repositories(cloud: &Cloud, input: DescribeRepositories) -> Result<Value, ApiError> {
    let repositories = match input.repository_names {
        Some(names) => names.iter().map(|name| repository(cloud, name)).collect::<Result<Vec<_>, _>>()?,
        None => cloud.store().find(|_: &Repository| true),
    };
    let (repositories, next) =
        page(repositories, input.max_results.unwrap_or(100), input.next_token.as_deref(), "InvalidParameterException")?;
    let views: Vec<Value> = repositories.iter().map(|repository| repository.describe(cloud)).collect();
    Ok(json!({"repositories": views, "nextToken": next}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeleteRepository {
    repository_name: String,
    #[serde(default)]
    force: bool,
}

fn delete_repository(cloud: &Cloud, input: DeleteRepository) -> Result<Value, ApiError> {
    let name = input.repository_name;
    let deleted = repository(cloud, &name)?;
    cloud.store().write(|tx| {
        let images: Vec<Image> =
            tx.all::<Image>().into_iter().map(|(_, image)| image).filter(|image| image.repository == name).collect();
        if !images.is_empty() && !input.force {
            return Err(ApiError::new(
                "RepositoryNotEmptyException",
                format!(
                    "The repository with name '{name}' in registry with id '{ACCOUNT}' cannot be deleted because it still contains images"
                ),
            ));
        }
        for image in &images {
            tx.delete::<Image>(&key(&name, &image.digest));
            tx.delete::<Scan>(&key(&name, &image.digest));
        }
        let prefix = key(&name, "");
        for (layer, _) in tx.all::<Layer>() {
            if layer.starts_with(&prefix) {
                tx.delete::<Layer>(&layer);
            }
        }
        tx.delete::<Repository>(&name);
        Ok(())
    })?;
    Ok(json!({"repository": deleted.describe(cloud)}))
}

/// Changes a repository that must exist.
fn change(cloud: &Cloud, name: &str, change: impl FnOnce(&mut Repository)) -> Result<Repository, ApiError> {
    cloud.store().update(name, change).ok_or_else(|| records::no_repository(name))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PutMutability {
    repository_name: String,
    image_tag_mutability: Mutability,
    #[serde(default)]
    image_tag_mutability_exclusion_filters: Vec<ExclusionFilter>,
}

fn put_image_tag_mutability(cloud: &Cloud, input: PutMutability) -> Result<Value, ApiError> {
    let changed = change(cloud, &input.repository_name, |repository| {
        repository.mutability = input.image_tag_mutability;
        repository.exclusions = input.image_tag_mutability_exclusion_filters;
    })?;
    let mut output = json!({
        "registryId": ACCOUNT,
        "repositoryName": changed.name,
        "imageTagMutability": changed.mutability,
    });
    if !changed.exclusions.is_empty() {
        output["imageTagMutabilityExclusionFilters"] = json!(changed.exclusions);
    }
    Ok(output)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PutScanning {
    repository_name: String,
    image_scanning_configuration: ScanningConfiguration,
}

fn put_image_scanning_configuration(cloud: &Cloud, input: PutScanning) -> Result<Value, ApiError> {
    let scan_on_push = input.image_scanning_configuration.scan_on_push;
    change(cloud, &input.repository_name, |repository| repository.scan_on_push = scan_on_push)?;
    Ok(json!({
        "registryId": ACCOUNT,
        "repositoryName": input.repository_name,
        "imageScanningConfiguration": {"scanOnPush": scan_on_push},
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    repository_name: String,
    #[serde(default)]
    lifecycle_policy_text: String,
}

/// The policy is kept and given back; no image expires here.
fn put_lifecycle_policy(cloud: &Cloud, input: Policy) -> Result<Value, ApiError> {
    let text = input.lifecycle_policy_text;
    let rules = serde_json::from_str::<Value>(&text).ok().is_some_and(|policy| policy["rules"].is_array());
    if !rules {
        return Err(ApiError::new(
            "InvalidParameterException",
            "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: a JSON document with `rules` is expected'",
        ));
    }
    change(cloud, &input.repository_name, |repository| repository.lifecycle_policy = Some(text.clone()))?;
    Ok(policy_view(&input.repository_name, &text))
}

fn get_lifecycle_policy(cloud: &Cloud, input: Policy) -> Result<Value, ApiError> {
    let text = repository(cloud, &input.repository_name)?.lifecycle_policy;
    let text = text.ok_or_else(|| no_policy(&input.repository_name))?;
    Ok(policy_view(&input.repository_name, &text))
}

fn delete_lifecycle_policy(cloud: &Cloud, input: Policy) -> Result<Value, ApiError> {
    let mut removed = None;
    change(cloud, &input.repository_name, |repository| removed = repository.lifecycle_policy.take())?;
    let text = removed.ok_or_else(|| no_policy(&input.repository_name))?;
    Ok(policy_view(&input.repository_name, &text))
}

fn policy_view(name: &str, text: &str) -> Value {
    json!({"registryId": ACCOUNT, "repositoryName": name, "lifecyclePolicyText": text})
}

fn no_policy(name: &str) -> ApiError {
    ApiError::new(
        "LifecyclePolicyNotFoundException",
        format!(
            "Lifecycle policy does not exist for the repository with name '{name}' in the registry with id '{ACCOUNT}'"
        ),
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tagging {
    resource_arn: String,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    tag_keys: Vec<String>,
}

impl Tagging {
    fn repository_name(&self) -> Result<&str, ApiError> {
        self.resource_arn.split_once(":repository/").map(|(_, name)| name).ok_or_else(|| {
            ApiError::new("InvalidParameterException", format!("'{}' is not a repository's ARN", self.resource_arn))
        })
    }
}

fn tag_resource(cloud: &Cloud, input: Tagging) -> Result<Value, ApiError> {
    let name = input.repository_name()?.to_owned();
    change(cloud, &name, |repository| repository.tags.extend(input.tags.into_iter().map(|tag| (tag.key, tag.value))))?;
    Ok(json!({}))
}

fn untag_resource(cloud: &Cloud, input: Tagging) -> Result<Value, ApiError> {
    change(cloud, input.repository_name()?, |repository| {
        repository.tags.retain(|key, _| !input.tag_keys.contains(key));
    })?;
    Ok(json!({}))
}

fn list_tags_for_resource(cloud: &Cloud, input: Tagging) -> Result<Value, ApiError> {
    let tags: BTreeMap<String, String> = repository(cloud, input.repository_name()?)?.tags;
    let tags: Vec<Value> = tags.into_iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    Ok(json!({"tags": tags}))
}
