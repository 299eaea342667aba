//! ECR: where the repository is, and a token for it. The SDK finds region, credentials and endpoint in the environment
//! (`AWS_ENDPOINT_URL` among them), so nothing here knows which endpoint answers.

use std::time::{Duration, SystemTime};

use aws_sdk_ecr::Client;
use aws_sdk_ecr::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecr::operation::describe_repositories::DescribeRepositoriesError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Mutex;

use crate::aws::{self, Failure};
use crate::credentials::Credentials;
use crate::error::{Error, Kind};
use crate::registry::Repository;

/// What ECR's API refused.
#[derive(Debug, thiserror::Error)]
pub enum EcrError {
    /// No region.
    #[error("no AWS region is configured")]
    NoRegion,
    /// The repository does not exist.
    #[error("ECR has no repository `{name}` in {region}")]
    UnknownRepository {
        /// The repository.
        name: String,
        /// The region.
        region: String,
    },
    /// The endpoint cannot be reached.
    #[error("cannot reach ECR for {operation}: {reason}")]
    Unreachable {
        /// What was asked.
        operation: &'static str,
        /// Why.
        reason: String,
    },
    /// An error answer.
    #[error("ECR refused {operation}: {reason}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// The service's code and message.
        reason: String,
    },
    /// An answer that lacks what it must have.
    #[error("ECR answered {operation} without {what}")]
    Incomplete {
        /// What was asked.
        operation: &'static str,
        /// What is missing.
        what: &'static str,
    },
}

impl EcrError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoRegion => {
                "set AWS_REGION, for example `AWS_REGION=ap-northeast-1`; or name the environment whose registry is meant: \
                 `cargo xtask … --environment staging`"
                    .to_owned()
            }
            Self::UnknownRepository { .. } => {
                "the registry stack creates it: `cargo xtask deploy staging` does that first".to_owned()
            }
            Self::Unreachable { .. } => {
                "check the network, AWS_ENDPOINT_URL and AWS_PROFILE; `cargo xtask local up` starts the embedded endpoint"
                    .to_owned()
            }
            Self::Refused { .. } => {
                "check who you are (`aws sts get-caller-identity`) and the permissions ecr:DescribeRepositories and \
                 ecr:GetAuthorizationToken"
                    .to_owned()
            }
            Self::Incomplete { .. } => "the endpoint does not speak ECR's API: check AWS_ENDPOINT_URL".to_owned(),
        }
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoRegion | Self::UnknownRepository { .. } => Kind::Configuration,
            Self::Unreachable { .. } => Kind::Unreachable,
            Self::Refused { .. } | Self::Incomplete { .. } => Kind::Failure,
        }
    }
}

/// A password for ECR that is renewed before it expires: a push may take longer than what is left of a token's 12 hours.
#[derive(Debug)]
pub struct Session {
    client: Client,
    token: Mutex<Token>,
}

#[derive(Debug, Clone)]
struct Token {
    credentials: Credentials,
    renew_at: SystemTime,
}

/// What ECR documents for a token whose answer names no end.
const VALIDITY: Duration = Duration::from_secs(12 * 60 * 60);

impl Session {
    /// The password, a new one if the last tenth of the old one's time has begun.
    ///
    /// # Errors
    /// ECR refuses or cannot be reached.
    pub async fn credentials(&self) -> Result<Credentials, EcrError> {
        let mut token = self.token.lock().await;
        if SystemTime::now() >= token.renew_at {
            *token = fetch(&self.client).await?;
        }
        Ok(token.credentials.clone())
    }
}

/// Asks ECR for the repository's address and for a password to push there.
///
/// # Errors
/// No region or credentials, no such repository, no answer.
pub async fn resolve(name: &str) -> Result<(Repository, Session), Error> {
    let config = aws::configuration().await;
    let Some(region) = config.region().map(ToString::to_string) else { return Err(EcrError::NoRegion.into()) };
    let client = Client::new(&config);

    let operation = "DescribeRepositories";
    let described = client.describe_repositories().repository_names(name).send().await.map_err(|error| {
        if error.as_service_error().is_some_and(DescribeRepositoriesError::is_repository_not_found_exception) {
            return EcrError::UnknownRepository { name: name.to_owned(), region: region.clone() };
        }
        explain(operation, &error)
    })?;
    let address = described.repositories().first().and_then(|repository| repository.repository_uri());
    let repository: Repository = address.ok_or(EcrError::Incomplete { operation, what: "a repositoryUri" })?.parse()?;
    let token = fetch(&client).await?;
    Ok((repository, Session { client, token: Mutex::new(token) }))
}

/// A client for ECR's operations.
///
/// # Errors
/// No region is configured.
pub async fn client() -> Result<Client, EcrError> {
    let config = aws::configuration().await;
    if config.region().is_some() { Ok(Client::new(&config)) } else { Err(EcrError::NoRegion) }
}

async fn fetch(client: &Client) -> Result<Token, EcrError> {
    let operation = "GetAuthorizationToken";
    let asked = SystemTime::now();
    let answer = client.get_authorization_token().send().await.map_err(|error| explain(operation, &error))?;
    let data = answer.authorization_data().first().ok_or(EcrError::Incomplete { operation, what: "a token" })?;
    let pair = data.authorization_token().and_then(|token| STANDARD.decode(token).ok());
    let pair = pair.and_then(|bytes| String::from_utf8(bytes).ok());
    let (username, password) = pair
        .as_deref()
        .and_then(|text| text.split_once(':'))
        .ok_or(EcrError::Incomplete { operation, what: "a usable token" })?;
    let expires = data.expires_at().and_then(|time| u64::try_from(time.secs()).ok());
    let expires = expires.map_or(asked + VALIDITY, |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
    let lifetime = expires.duration_since(asked).unwrap_or_default();
    let credentials = Credentials { username: username.to_owned(), password: password.to_owned() };
    Ok(Token { credentials, renew_at: asked + lifetime.mul_f64(0.9) })
}

pub(crate) fn explain<E, R>(operation: &'static str, error: &SdkError<E, R>) -> EcrError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug + 'static,
{
    match Failure::of(error) {
        Failure::Refused(reason) => EcrError::Refused { operation, reason },
        Failure::Unreachable(reason) => EcrError::Unreachable { operation, reason },
    }
}
