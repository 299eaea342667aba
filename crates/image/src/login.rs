//! Who we are at a registry, for as long as the work there takes.

use crate::credentials::Credentials;
use crate::ecr::{self, EcrError};
use crate::error::Error;
use crate::registry::Repository;
use crate::settings::Settings;

/// Where a registry's password comes from.
#[derive(Debug)]
pub enum Login {
    /// The registry is open to everybody, or will tell that it is not.
    Anonymous,
    /// A password that stays.
    Password(Credentials),
    /// ECR, whose passwords expire.
    Ecr(ecr::Session),
}

impl Login {
    /// Who we are at a repository: at ECR with a password that AWS's API gives, elsewhere with what is configured for the
    /// registry. `ecr` says that it is ECR whatever its address tells; a name in the environment counts more than an address.
    ///
    /// # Errors
    /// ECR cannot be asked, or configured credentials cannot be used.
    pub async fn find(repository: &Repository, ecr: bool, settings: &Settings) -> Result<Self, Error> {
        if ecr || (repository.is_ecr() && settings.registry_username.is_none()) {
            return Ok(Self::Ecr(ecr::resolve(repository.name()).await?.1));
        }
        Ok(Credentials::find(repository.registry(), settings)?.into())
    }

    /// The credentials to use now.
    ///
    /// # Errors
    /// ECR gives no new ones.
    pub async fn credentials(&self) -> Result<Option<Credentials>, EcrError> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Password(credentials) => Ok(Some(credentials.clone())),
            Self::Ecr(session) => session.credentials().await.map(Some),
        }
    }
}

impl From<Option<Credentials>> for Login {
    fn from(credentials: Option<Credentials>) -> Self {
        credentials.map_or(Self::Anonymous, Self::Password)
    }
}
