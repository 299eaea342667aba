//! An image on disk: the OCI image layout that skopeo, umoci and this builder's push read.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::assemble::{Blob, Image};
use crate::digest::Digest;
use crate::error::Error;
use crate::oci::{Descriptor, ENGINE_NAME, Index, LayoutVersion, Manifest, REF_NAME};
use crate::registry::Artifact;
use crate::tag::Tag;

/// Writes the layout, one index entry for each tag. An older layout at the same place is replaced as a whole.
///
/// # Errors
/// The directory holds something that is not a layout, or cannot be written.
pub fn write(directory: &Path, image: &Image, tags: &[Tag]) -> Result<(), Error> {
    let occupied = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
    if occupied && !directory.join("oci-layout").is_file() {
        return Err(Error::NotALayout(directory.to_owned()));
    }
    let mut staging = directory.as_os_str().to_owned();
    staging.push(format!(".{}.tmp", std::process::id()));
    let staging = PathBuf::from(staging);
    let written = fill(&staging, image, tags).and_then(|()| {
        if directory.exists() {
            fs::remove_dir_all(directory).map_err(Error::io("replace", directory))?;
        }
        fs::rename(&staging, directory).map_err(Error::io("write", directory))
    });
    if written.is_err() {
        // The first error is the one to report; what is left behind only wears `.tmp`.
        let _ = fs::remove_dir_all(&staging);
    }
    written
}

fn fill(directory: &Path, image: &Image, tags: &[Tag]) -> Result<(), Error> {
    let blobs = directory.join("blobs").join("sha256");
    fs::create_dir_all(&blobs).map_err(Error::io("create", &blobs))?;
    let attached = image.artifacts.iter().flat_map(|artifact| artifact.blobs.iter().chain([&artifact.manifest]));
    for blob in image.blobs.iter().chain([&image.manifest]).chain(attached) {
        let path = blobs.join(blob.digest().hex());
        fs::write(&path, &blob.bytes).map_err(Error::io("write", &path))?;
    }
    for (name, content) in documents(image, None, tags, &image.artifacts)? {
        let path = directory.join(name);
        fs::write(&path, content).map_err(Error::io("write", &path))?;
    }
    Ok(())
}

/// The files of a layout beside its blobs. `name` is what engines call the image; `artifacts` are those it lists.
pub(crate) fn documents(
    image: &Image,
    name: Option<&str>,
    tags: &[Tag],
    artifacts: &[Artifact],
) -> Result<Vec<(&'static str, Vec<u8>)>, Error> {
    // An image without a name is listed too.
    let annotations = |tag: &Tag| {
        let full = name.map(|name| (ENGINE_NAME.to_owned(), format!("docker.io/library/{name}:{tag}")));
        [(REF_NAME.to_owned(), tag.to_string())].into_iter().chain(full).collect()
    };
    let mut manifests: Vec<Descriptor> = tags
        .iter()
        .map(|tag| Descriptor { annotations: annotations(tag), ..image.manifest.descriptor.clone() })
        .collect();
    if manifests.is_empty() {
        manifests.push(image.manifest.descriptor.clone());
    }
    manifests.extend(artifacts.iter().map(|artifact| artifact.descriptor.clone()));
    let version = LayoutVersion { image_layout_version: "1.0.0".to_owned() };
    Ok(vec![
        ("index.json", serde_json::to_vec(&Index::new(manifests)).map_err(Error::Serialize)?),
        ("oci-layout", serde_json::to_vec(&version).map_err(Error::Serialize)?),
    ])
}

/// Reads a layout that holds one image, and checks every byte against its digest.
///
/// # Errors
/// A file is missing, is not what its digest says, or the layout holds several images.
pub fn read(directory: &Path) -> Result<(Image, Vec<Tag>), Error> {
    if !directory.join("oci-layout").is_file() {
        return Err(Error::NoLayout(directory.to_owned()));
    }
    let path = directory.join("index.json");
    let index = Index::parse(&fs::read(&path).map_err(Error::io("read", &path))?)
        .map_err(|source| Error::Document { path: path.clone(), source })?;
    let (attached, images): (Vec<Descriptor>, Vec<Descriptor>) =
        index.manifests.into_iter().partition(|entry| entry.artifact_type.is_some());
    let Some(first) = images.first() else { return Err(Error::ImageCount { path, count: 0 }) };
    let digests: std::collections::BTreeSet<&Digest> = images.iter().map(|entry| &entry.digest).collect();
    if digests.len() > 1 {
        return Err(Error::ImageCount { path, count: digests.len() });
    }
    let mut tags = Vec::new();
    for name in images.iter().filter_map(|entry| entry.annotations.get(REF_NAME)) {
        tags.push(name.parse()?);
    }
    let (manifest, blobs) = read_manifest(directory, first)?;
    let mut artifacts = Vec::new();
    for descriptor in attached {
        let (manifest, blobs) = read_manifest(directory, &descriptor)?;
        artifacts.push(Artifact { manifest, blobs, descriptor });
    }
    Ok((Image { manifest, blobs, artifacts }, tags))
}

/// A manifest and what it points at.
fn read_manifest(directory: &Path, descriptor: &Descriptor) -> Result<(Blob, Vec<Blob>), Error> {
    let manifest = read_blob(directory, descriptor)?;
    let parsed = Manifest::parse(&manifest.bytes)
        .map_err(|source| Error::Document { path: blob_path(directory, manifest.digest()), source })?;
    let blobs = parsed.layers.iter().chain([&parsed.config]).map(|part| read_blob(directory, part));
    Ok((manifest, blobs.collect::<Result<_, _>>()?))
}

fn read_blob(directory: &Path, descriptor: &Descriptor) -> Result<Blob, Error> {
    let path = blob_path(directory, &descriptor.digest);
    let bytes = Bytes::from(fs::read(&path).map_err(Error::io("read", &path))?);
    let blob = Blob::new(&descriptor.media_type, bytes);
    if *blob.digest() != descriptor.digest || blob.descriptor.size != descriptor.size {
        return Err(Error::Damaged { path, actual: blob.digest().clone() });
    }
    Ok(blob)
}

fn blob_path(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join("blobs").join("sha256").join(digest.hex())
}
