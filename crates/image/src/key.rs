//! Signing keys: ECDSA on P-256 with SHA-256, in PEM files that openssl and cosign read and write.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{DerSignature, SigningKey, VerifyingKey};
use p256::elliptic_curve::Generate as _;
use p256::pkcs8::{DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use p256::{PublicKey, SecretKey};

use crate::digest::Digest;
use crate::error::Error;

/// A private key in this process.
pub struct PrivateKey(SigningKey);

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerificationKey(VerifyingKey);

const PRIVATE: &str = "private";
const PUBLIC: &str = "public";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a key of the kind that is used.
    #[error("{} holds no {kind} key for ECDSA on P-256: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// `private` or `public`.
        kind: &'static str,
        /// Why.
        reason: String,
    },
    /// A key pair that is there already.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// No random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
    /// A key that cannot be written as PEM.
    #[error("the key cannot be encoded: {0}")]
    Encode(String),
    /// A key that is not in this process.
    #[error("the key service refused {action}: {reason}")]
    Service {
        /// What was asked.
        action: &'static str,
        /// Why not.
        reason: String,
    },
    /// A key that this build cannot reach.
    #[error("`{0}` is a key in AWS KMS, and this build knows none")]
    WithoutService(String),
}

impl KeyError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unusable { kind: PUBLIC, .. } => {
                "give the other half, which `image keygen` writes into a file that ends in .pub"
            }
            Self::Unusable { .. } => {
                "make a pair with `image keygen`, or with `openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 \
                 -topk8 -nocrypt`; a key with a password must be decrypted first"
            }
            Self::Exists(_) => "a key that signed something is not replaced; give another name, or move it away",
            Self::Random(_) | Self::Encode(_) => "try on another machine",
            Self::Service { .. } => {
                "check the key's id, that it is ECC_NIST_P256 for SIGN_VERIFY, and the permissions kms:Sign and \
                 kms:GetPublicKey"
            }
            Self::WithoutService(_) => "build with `--features kms`",
        }
    }
}

impl PrivateKey {
    /// A new key.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        SigningKey::try_generate().map(Self).map_err(|error| KeyError::Random(error.to_string()))
    }

    /// Reads a private key: PKCS#8 (`PRIVATE KEY`) or SEC1 (`EC PRIVATE KEY`), not encrypted.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        // `openssl ecparam -genkey` writes the curve in a block of its own before the key.
        let text = text.find("-----BEGIN EC PRIVATE KEY-----").map_or(text.as_str(), |start| &text[start..]);
        let key = SecretKey::from_pem(text).map_err(|error| KeyError::Unusable {
            path: path.to_owned(),
            kind: PRIVATE,
            reason: error.to_string(),
        })?;
        Ok(Self(key.into()))
    }

    /// Signs a message. The same key and message give the same signature (RFC 6979).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.0.sign(message);
        signature.as_bytes().to_vec()
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn public(&self) -> VerificationKey {
        VerificationKey(*self.0.verifying_key())
    }

    /// Writes the pair: `<path>` for its owner alone, `<path>.pub` for everybody.
    ///
    /// # Errors
    /// One of the files exists, or cannot be written.
    pub fn write_pair(&self, path: &Path) -> Result<PathBuf, Error> {
        let mut public_path = path.as_os_str().to_owned();
        public_path.push(".pub");
        let public_path = PathBuf::from(public_path);
        let encode = |error: &dyn std::fmt::Display| KeyError::Encode(error.to_string());
        let private = self.0.to_pkcs8_pem(LineEnding::LF).map_err(|error| encode(&error))?;
        create(path, 0o600, private.as_bytes())?;
        create(&public_path, 0o644, self.public().to_pem()?.as_bytes())?;
        Ok(public_path)
    }
}

impl VerificationKey {
    /// Reads a public key in PEM (`PUBLIC KEY`).
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let key = PublicKey::from_public_key_pem(&text).map_err(|error| KeyError::Unusable {
            path: path.to_owned(),
            kind: PUBLIC,
            reason: error.to_string(),
        })?;
        Ok(Self(key.into()))
    }

    /// Reads a public key in DER, as KMS answers.
    ///
    /// # Errors
    /// It is none on this curve.
    pub fn from_der(der: &[u8]) -> Result<Self, String> {
        PublicKey::from_public_key_der(der).map(|key| Self(key.into())).map_err(|error| error.to_string())
    }

    /// The key as a PEM file.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        self.0.to_public_key_pem(LineEnding::LF).map_err(|error| KeyError::Encode(error.to_string()))
    }

    /// What names the key: the digest of its DER form.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn id(&self) -> Result<Digest, KeyError> {
        let der = self.0.to_public_key_der().map_err(|error| KeyError::Encode(error.to_string()))?;
        Ok(Digest::of(der.as_bytes()))
    }

    /// Whether the signature, in DER, is this key's over the message.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        DerSignature::from_bytes(signature).is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}

/// Creates a file that must not exist, so that no key is ever lost or written into somebody's link.
fn create(path: &Path, mode: u32, content: &[u8]) -> Result<(), Error> {
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(KeyError::Exists(path.to_owned()).into());
        }
        other => other.map_err(Error::io("create", path))?,
    };
    file.write_all(content).map_err(Error::io("write", path))
}
