//! Who we are at a registry, for as long as the work there takes.

use crate::credentials::Credentials;
use crate::ecr::{self, EcrError};

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
