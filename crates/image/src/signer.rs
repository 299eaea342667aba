//! Who signs: a key in a file, or one in AWS KMS that never leaves it.

use std::path::Path;

use crate::error::Error;
use crate::key::{KeyError, PrivateKey, VerificationKey};
#[cfg(feature = "kms")]
use crate::kms;

/// How cosign, too, writes the address of a key in KMS: `awskms:///alias/name`, an id or an ARN.
const KMS: &str = "awskms:///";

/// A key that can sign.
pub enum Signer {
    /// In a file.
    File(PrivateKey),
    /// In AWS KMS.
    #[cfg(feature = "kms")]
    Kms(kms::Key),
}

impl Signer {
    /// Opens a private key: a PEM file, or `awskms:///ID`.
    ///
    /// # Errors
    /// There is no such key, or this build knows no KMS.
    pub async fn open(key: &str) -> Result<Self, Error> {
        match key.strip_prefix(KMS) {
            None => PrivateKey::read(Path::new(key)).map(Self::File),
            #[cfg(feature = "kms")]
            Some(id) => Ok(Self::Kms(kms::Key::open(id).await)),
            #[cfg(not(feature = "kms"))]
            Some(_) => Err(KeyError::WithoutService(key.to_owned()).into()),
        }
    }

    /// Signs a message; the signature is DER.
    ///
    /// # Errors
    /// KMS refuses or cannot be reached.
    pub async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match self {
            Self::File(key) => Ok(key.sign(message)),
            #[cfg(feature = "kms")]
            Self::Kms(key) => key.sign(message).await,
        }
    }

    /// The key that verifies.
    ///
    /// # Errors
    /// KMS refuses or cannot be reached.
    pub async fn public(&self) -> Result<VerificationKey, KeyError> {
        match self {
            Self::File(key) => Ok(key.public()),
            #[cfg(feature = "kms")]
            Self::Kms(key) => key.public().await,
        }
    }
}

/// Opens a public key: a PEM file, or `awskms:///ID`.
///
/// # Errors
/// There is no such key, or this build knows no KMS.
pub async fn verification_key(key: &str) -> Result<VerificationKey, Error> {
    if key.starts_with(KMS) {
        Ok(Signer::open(key).await?.public().await?)
    } else {
        VerificationKey::read(Path::new(key))
    }
}
