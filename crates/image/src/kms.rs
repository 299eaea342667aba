//! Keys in AWS KMS: `ECC_NIST_P256` for `SIGN_VERIFY`.

use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};
use sha2::{Digest as _, Sha256};

use crate::aws::{self, Failure};
use crate::key::{KeyError, VerificationKey};

/// A key in KMS.
pub struct Key {
    client: Client,
    id: String,
}

impl Key {
    /// Nothing is asked yet.
    pub async fn open(id: &str) -> Self {
        Self { client: Client::new(&aws::configuration().await), id: id.to_owned() }
    }

    /// Lets KMS sign a message; only its digest is sent.
    ///
    /// # Errors
    /// KMS refuses or cannot be reached.
    pub async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let action = "a signature";
        let answer = self
            .client
            .sign()
            .key_id(&self.id)
            .message(Blob::new(Sha256::digest(message).as_slice()))
            .message_type(MessageType::Digest)
            .signing_algorithm(SigningAlgorithmSpec::EcdsaSha256)
            .send()
            .await
            .map_err(|error| refused(action, &error))?;
        let signature = answer.signature.map(Blob::into_inner);
        signature.ok_or(KeyError::Service { action, reason: "the answer has no signature".to_owned() })
    }

    /// The public half.
    ///
    /// # Errors
    /// KMS refuses or cannot be reached, or the key is of another kind.
    pub async fn public(&self) -> Result<VerificationKey, KeyError> {
        let action = "the public key";
        let answer = self.client.get_public_key().key_id(&self.id).send().await;
        let answer = answer.map_err(|error| refused(action, &error))?;
        let der = answer.public_key.map(Blob::into_inner).unwrap_or_default();
        VerificationKey::from_der(&der).map_err(|reason| KeyError::Service { action, reason })
    }
}

fn refused<E, R>(action: &'static str, error: &SdkError<E, R>) -> KeyError
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug + 'static,
{
    match Failure::of(error) {
        Failure::Refused(reason) | Failure::Unreachable(reason) => KeyError::Service { action, reason },
    }
}
