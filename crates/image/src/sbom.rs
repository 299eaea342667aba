//! Software bills of materials: what a binary is made of, in the two formats that tools read.

mod cyclonedx;
mod spdx;

use serde::Serialize;

use crate::dependencies::Dependencies;
use crate::digest::Digest;
use crate::error::Error;

/// A format of a bill of materials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// CycloneDX 1.6, JSON.
    Cyclonedx,
    /// SPDX 2.3, JSON.
    Spdx,
}

impl Format {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Cyclonedx, Self::Spdx];

    /// The type of the document, and of the artifact that carries it.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Cyclonedx => "application/vnd.cyclonedx+json",
            Self::Spdx => "application/spdx+json",
        }
    }
}

/// The image that a bill of materials is about.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its digest.
    pub digest: &'a Digest,
    /// When its commit was made, RFC 3339: two builds of one commit give one document.
    pub created: &'a str,
}

/// Writes the document. The same arguments give the same bytes.
///
/// # Errors
/// JSON cannot be written.
pub fn write(format: Format, dependencies: &Dependencies, subject: &Subject<'_>) -> Result<Vec<u8>, Error> {
    match format {
        Format::Cyclonedx => json(&cyclonedx::document(dependencies, subject)),
        Format::Spdx => json(&spdx::document(dependencies, subject)),
    }
}

fn json(document: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut text = serde_json::to_vec_pretty(document).map_err(Error::Serialize)?;
    text.push(b'\n');
    Ok(text)
}

/// The image's own package URL.
fn image_purl(subject: &Subject<'_>) -> String {
    format!("pkg:oci/{}@sha256%3A{}", subject.name, subject.digest.hex())
}
