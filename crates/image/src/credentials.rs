//! Who we are at a registry: REGISTRY_USERNAME and REGISTRY_PASSWORD, or Docker's own configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::settings::Settings;

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password or token; never printed.
    pub password: String,
}

/// Credentials that were configured but cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Only one of the two variables.
    #[error("only one of REGISTRY_USERNAME and REGISTRY_PASSWORD is set")]
    Half,
    /// Docker's configuration cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Docker's configuration is not JSON of the known form.
    #[error("{} is not a Docker configuration", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// An entry without a usable name and password.
    #[error("the entry for {registry} in {} holds no name and password", path.display())]
    Entry {
        /// The registry.
        registry: String,
        /// The file.
        path: PathBuf,
    },
    /// An identity token needs a browser's login flow.
    #[error("the entry for {registry} in {} is an identity token, which this builder does not support", path.display())]
    IdentityToken {
        /// The registry.
        registry: String,
        /// The file.
        path: PathBuf,
    },
    /// A credential helper failed.
    #[error("the credential helper `docker-credential-{helper}` failed for {registry}: {reason}")]
    Helper {
        /// The helper.
        helper: String,
        /// The registry.
        registry: String,
        /// Why.
        reason: String,
    },
}

impl CredentialError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Half => "set both, or neither",
            Self::Read { .. } | Self::Parse { .. } | Self::Entry { .. } => {
                "log in again with `docker login`, or set REGISTRY_USERNAME and REGISTRY_PASSWORD"
            }
            Self::IdentityToken { .. } => "set REGISTRY_USERNAME and REGISTRY_PASSWORD",
            Self::Helper { .. } => "install the helper or log in again, or set REGISTRY_USERNAME and REGISTRY_PASSWORD",
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    auths: BTreeMap<String, DockerAuth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DockerAuth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

impl Credentials {
    /// The credentials for a registry, or none: it may be open to everybody.
    ///
    /// # Errors
    /// Something is configured for this registry and cannot be used.
    pub fn find(registry: &str, settings: &Settings) -> Result<Option<Self>, CredentialError> {
        match (&settings.registry_username, &settings.registry_password) {
            (Some(username), Some(password)) => {
                return Ok(Some(Self { username: username.clone(), password: password.clone() }));
            }
            (None, None) => {}
            _ => return Err(CredentialError::Half),
        }
        let Some(path) = settings.docker_config.as_ref().map(|directory| directory.join("config.json")) else {
            return Ok(None);
        };
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CredentialError::Read { path, source }),
        };
        let config: DockerConfig =
            serde_json::from_slice(&text).map_err(|source| CredentialError::Parse { path: path.clone(), source })?;
        let names = key_names(registry);
        if let Some(helper) = names.iter().find_map(|name| config.cred_helpers.get(name)) {
            return ask_helper(helper, &names[0]).map(Some);
        }
        let entry = names.iter().find_map(|name| config.auths.get(name));
        match (entry, &config.creds_store) {
            // With a store the entry under `auths` is there and empty.
            (Some(entry), Some(store)) if entry.auth.is_none() && entry.username.is_none() => {
                ask_helper(store, &names[0]).map(Some)
            }
            (Some(entry), _) => decode(entry, registry, path).map(Some),
            (None, _) => Ok(None),
        }
    }
}

/// The names under which Docker may have filed a registry.
fn key_names(registry: &str) -> Vec<String> {
    if registry == "docker.io" {
        return vec!["https://index.docker.io/v1/".to_owned(), registry.to_owned()];
    }
    vec![
        registry.to_owned(),
        format!("https://{registry}"),
        format!("http://{registry}"),
        format!("https://{registry}/v2/"),
    ]
}

fn decode(entry: &DockerAuth, registry: &str, path: PathBuf) -> Result<Credentials, CredentialError> {
    if entry.identitytoken.as_deref().is_some_and(|token| !token.is_empty()) {
        return Err(CredentialError::IdentityToken { registry: registry.to_owned(), path });
    }
    if let (Some(username), Some(password)) = (&entry.username, &entry.password) {
        return Ok(Credentials { username: username.clone(), password: password.clone() });
    }
    let decoded = entry
        .auth
        .as_deref()
        .and_then(|auth| STANDARD.decode(auth.trim()).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = decoded.as_deref().map(|text| text.trim_end_matches('\0')).and_then(|text| text.split_once(':'));
    let Some((username, password)) = pair else {
        return Err(CredentialError::Entry { registry: registry.to_owned(), path });
    };
    Ok(Credentials { username: username.to_owned(), password: password.to_owned() })
}

fn ask_helper(helper: &str, registry: &str) -> Result<Credentials, CredentialError> {
    let failed =
        |reason: String| CredentialError::Helper { helper: helper.to_owned(), registry: registry.to_owned(), reason };
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input says why on its own output, below.
        let _ = stdin.write_all(registry.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        // Helpers report on stdout; only a failure's text is shown, never an answer.
        return Err(failed(String::from_utf8_lossy(&output.stdout).trim().to_owned()));
    }
    let answer: HelperAnswer = serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
    Ok(Credentials { username: answer.username, password: answer.secret })
}
