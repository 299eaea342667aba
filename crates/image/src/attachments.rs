//! What is attached to an image when it is built: bills of materials and provenance.

use std::collections::BTreeMap;

use crate::assemble::{Blob, Image};
use crate::dependencies::Dependencies;
use crate::error::Error;
use crate::provenance::{self, Build};
use crate::registry::Artifact;
use crate::sbom::{self, Format, Subject};

/// The annotation by which a list of referrers shows what a statement is about.
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// The bills of materials of an image, one in each format.
///
/// # Errors
/// JSON cannot be written.
pub fn bills(image: &Image, dependencies: &Dependencies, subject: &Subject<'_>) -> Result<Vec<Artifact>, Error> {
    let bill = |format: Format| {
        let content = Blob::new(format.media_type(), sbom::write(format, dependencies, subject)?);
        Artifact::new(format.media_type(), &image.manifest.descriptor, content, BTreeMap::new())
    };
    Format::ALL.into_iter().map(bill).collect()
}

/// The provenance of an image.
///
/// # Errors
/// JSON cannot be written.
pub fn provenance(image: &Image, build: &Build<'_>) -> Result<Artifact, Error> {
    let content = Blob::new(provenance::MEDIA_TYPE, provenance::write(build)?);
    let annotations = BTreeMap::from([(PREDICATE_TYPE.to_owned(), provenance::PREDICATE.to_owned())]);
    Artifact::new(provenance::MEDIA_TYPE, &image.manifest.descriptor, content, annotations)
}

/// The provenance statement that is attached to an image.
#[must_use]
pub fn statement(image: &Image) -> Option<&[u8]> {
    let is_provenance =
        |artifact: &&Artifact| artifact.descriptor.artifact_type.as_deref() == Some(provenance::MEDIA_TYPE);
    image.artifacts.iter().find(is_provenance)?.blobs.first().map(|content| content.bytes.as_ref())
}
