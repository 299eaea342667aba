//! What ECR remembers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::cloud::{ACCOUNT, Cloud};
use crate::error::ApiError;
use crate::store::Record;

/// A repository; its key is its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Repository {
    pub(crate) name: String,
    pub(crate) created_at: Timestamp,
    pub(crate) mutability: Mutability,
    /// Tags for which the opposite of `mutability` holds.
    pub(crate) exclusions: Vec<ExclusionFilter>,
    pub(crate) scan_on_push: bool,
    /// AWS's `EncryptionConfiguration`; recorded, and without effect here.
    pub(crate) encryption: Value,
    pub(crate) lifecycle_policy: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Record for Repository {
    const TABLE: &'static str = "ecr/repository";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Mutability {
    #[default]
    Mutable,
    Immutable,
    MutableWithExclusion,
    ImmutableWithExclusion,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExclusionFilter {
    filter_type: String,
    filter: String,
}

impl Repository {
    /// False when the tag, once given, stays with its image.
    pub(crate) fn may_move(&self, tag: &str) -> bool {
        let excluded = self.exclusions.iter().any(|exclusion| wildcard(&exclusion.filter, tag));
        match self.mutability {
            Mutability::Mutable => true,
            Mutability::Immutable => false,
            Mutability::MutableWithExclusion => !excluded,
            Mutability::ImmutableWithExclusion => excluded,
        }
    }

    pub(crate) fn describe(&self, cloud: &Cloud) -> Value {
        let mut view = json!({
            "repositoryArn": cloud.arn("ecr", format_args!("repository/{}", self.name)),
            "registryId": ACCOUNT,
            "repositoryName": self.name,
            "repositoryUri": format!("{}/{}", cloud.settings().listen, self.name),
            "createdAt": self.created_at,
            "imageTagMutability": self.mutability,
            "imageScanningConfiguration": {"scanOnPush": self.scan_on_push},
            "encryptionConfiguration": self.encryption,
        });
        if !self.exclusions.is_empty() {
            view["imageTagMutabilityExclusionFilters"] = json!(self.exclusions);
        }
        view
    }
}

/// A manifest in a repository; its key is `repository@digest`. The manifest itself is a blob.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Image {
    pub(crate) repository: String,
    pub(crate) digest: String,
    pub(crate) media_type: String,
    pub(crate) artifact_type: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) pushed_at: Timestamp,
    pub(crate) size: u64,
    /// Manifests of an index.
    pub(crate) members: Vec<String>,
}

impl Record for Image {
    const TABLE: &'static str = "ecr/image";
}

/// That a repository has a blob; its key is `repository@digest`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Layer {
    pub(crate) size: u64,
}

impl Record for Layer {
    const TABLE: &'static str = "ecr/layer";
}

/// A blob on its way in; its key is its id, which also is its file's name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Upload {
    pub(crate) repository: String,
    pub(crate) started_at: Timestamp,
}

impl Record for Upload {
    const TABLE: &'static str = "ecr/upload";
}

/// A password for the registry; its key is the password.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) issued_at: Timestamp,
}

impl Record for Token {
    const TABLE: &'static str = "ecr/token";
}

/// The key of an image or layer.
pub(crate) fn key(repository: &str, digest: &str) -> String {
    format!("{repository}@{digest}")
}

pub(crate) fn repository(cloud: &Cloud, name: &str) -> Result<Repository, ApiError> {
    cloud.store().get(name).ok_or_else(|| no_repository(name))
}

pub(crate) fn no_repository(name: &str) -> ApiError {
    ApiError::new(
        "RepositoryNotFoundException",
        format!("The repository with name '{name}' does not exist in the registry with id '{ACCOUNT}'"),
    )
}

/// `*` stands for any run of characters.
fn wildcard(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| wildcard(after, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_runs() {
        for (pattern, text, expected) in [
            ("v*", "v1.2", true),
            ("v*", "1", false),
            ("*-rc*", "v1-rc2", true),
            ("a*b", "acb", true),
            ("a*b", "ac", false),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
        }
    }
}
