//! Kinds that Kubernetes does not know by itself: ArgoCD's Application and the External Secrets Operator's secret.

use std::collections::BTreeMap;

use environment::{Environment, EnvironmentName, Project, SourceProvider};
use serde::Serialize;

use crate::overlay_path;

/// What names a resource.
#[derive(Debug, Serialize)]
pub(crate) struct Metadata {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'static str>,
}

/// ArgoCD keeps the cluster as a directory of the repository says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Application {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: ApplicationSpec,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApplicationSpec {
    project: &'static str,
    source: ApplicationSource,
    destination: Destination,
    sync_policy: SyncPolicy,
    revision_history_limit: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApplicationSource {
    #[serde(rename = "repoURL")]
    repo_url: String,
    target_revision: String,
    path: String,
}

#[derive(Debug, Serialize)]
struct Destination {
    server: &'static str,
    namespace: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SyncPolicy {
    automated: Automated,
    sync_options: Vec<&'static str>,
    managed_namespace_metadata: NamespaceMetadata,
    retry: Retry,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Automated {
    prune: bool,
    self_heal: bool,
}

#[derive(Debug, Serialize)]
struct NamespaceMetadata {
    labels: BTreeMap<&'static str, &'static str>,
}

#[derive(Debug, Serialize)]
struct Retry {
    limit: i64,
}

impl Application {
    pub(crate) fn name(&self) -> &str {
        &self.metadata.name
    }
}

/// The application of an environment: production has the plain name.
pub(crate) fn application(project: &Project, environment: &Environment) -> Application {
    let name = format!("{}-{}", project.name, Project::SERVICE);
    let name = match environment.name {
        EnvironmentName::Production => name,
        EnvironmentName::Staging => format!("{name}-{}", environment.name),
    };
    Application {
        api_version: "argoproj.io/v1alpha1",
        kind: "Application",
        metadata: Metadata { name, namespace: Some("argocd") },
        spec: ApplicationSpec {
            project: "default",
            source: ApplicationSource {
                repo_url: repository_url(project, environment),
                target_revision: project.source.branch.clone(),
                path: overlay_path(environment.name),
            },
            destination: Destination { server: "https://kubernetes.default.svc", namespace: environment.name.as_str() },
            sync_policy: SyncPolicy {
                automated: Automated { prune: true, self_heal: true },
                sync_options: vec!["CreateNamespace=true", "PruneLast=true", "ServerSideApply=true"],
                managed_namespace_metadata: NamespaceMetadata {
                    labels: BTreeMap::from([
                        // Pods are ready only when the load balancer says so too: no request meets one too early.
                        ("elbv2.k8s.aws/pod-readiness-gate-inject", "enabled"),
                        ("pod-security.kubernetes.io/enforce", "restricted"),
                    ]),
                },
                retry: Retry { limit: 5 },
            },
            revision_history_limit: 10,
        },
    }
}

fn repository_url(project: &Project, environment: &Environment) -> String {
    let repository = &project.source.repository;
    match project.source.provider {
        SourceProvider::CodeStarSourceConnection => format!("https://github.com/{repository}"),
        SourceProvider::CodeCommit => {
            format!("https://git-codecommit.{}.amazonaws.com/v1/repos/{repository}", environment.region(project))
        }
    }
}

/// A secret of the cluster, kept as one of AWS's stores has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExternalSecret {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: ExternalSecretSpec,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalSecretSpec {
    refresh_interval: &'static str,
    secret_store_ref: StoreReference,
    target: Target,
    data: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct StoreReference {
    kind: &'static str,
    name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    name: &'static str,
    creation_policy: &'static str,
    deletion_policy: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    secret_key: String,
    remote_ref: RemoteReference,
}

#[derive(Debug, Serialize)]
struct RemoteReference {
    key: String,
}

/// The secret that the chatbot's variables come from: `Owner` of the secret's manager, `Merge` for what is added.
pub(crate) fn external_secrets(environment: &Environment) -> Vec<(&'static str, ExternalSecret)> {
    let of = |name: &'static str, store, policy, entries: &BTreeMap<String, String>| {
        let entry = |(variable, key): (&String, &String)| Entry {
            secret_key: variable.clone(),
            remote_ref: RemoteReference { key: key.clone() },
        };
        let secret = ExternalSecret {
            api_version: "external-secrets.io/v1",
            kind: "ExternalSecret",
            metadata: Metadata { name: name.to_owned(), namespace: None },
            spec: ExternalSecretSpec {
                refresh_interval: "1h",
                secret_store_ref: StoreReference { kind: "ClusterSecretStore", name: store },
                target: Target { name: Project::SERVICE, creation_policy: policy, deletion_policy: "Retain" },
                data: entries.iter().map(entry).collect(),
            },
        };
        (name, secret)
    };
    let mut found = Vec::new();
    if !environment.secrets.is_empty() {
        found.push(of("externalsecret", "aws-secrets-manager", "Owner", &environment.secrets));
    }
    if !environment.parameters.is_empty() {
        let policy = if environment.secrets.is_empty() { "Owner" } else { "Merge" };
        found.push(of("externalparameters", "aws-parameter-store", policy, &environment.parameters));
    }
    found
}
