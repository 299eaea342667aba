//! One file that holds the image for everybody: an OCI layout (`skopeo`, `podman load`) with Docker's `manifest.json` beside it
//! (`docker load`, of old engines too, which refuse a plain layout).

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tar::{EntryType, Header};

use crate::assemble::{Blob, Image};
use crate::error::Error;
use crate::layout;
use crate::tag::Tag;

/// One entry of Docker's `manifest.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Loadable {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Writes the archive, and makes the folder it is in. `name` is what `docker load` and `podman load` call the image:
/// `name:tag` for each tag. The same image gives the same bytes.
///
/// # Errors
/// The file cannot be written; an older one is then still there.
pub fn write(file: &Path, image: &Image, name: &str, tags: &[Tag]) -> Result<(), Error> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    let mut partial = file.as_os_str().to_owned();
    partial.push(format!(".{}.tmp", std::process::id()));
    let partial = PathBuf::from(partial);
    let written =
        fill(&partial, image, name, tags).and_then(|()| fs::rename(&partial, file).map_err(Error::io("write", file)));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&partial);
    }
    written
}

fn fill(path: &Path, image: &Image, name: &str, tags: &[Tag]) -> Result<(), Error> {
    let blob_path = |blob: &Blob| format!("blobs/sha256/{}", blob.digest().hex());
    let Some((config, layers)) = image.blobs.split_last() else {
        return Err(Error::Pack(io::Error::other("an image without a configuration")));
    };
    let loadable = [Loadable {
        config: blob_path(config),
        repo_tags: tags.iter().map(|tag| format!("{name}:{tag}")).collect(),
        layers: layers.iter().map(blob_path).collect(),
    }];
    // Without what is attached: engines load images, and old ones take every entry of the index for one.
    let mut documents = layout::documents(image, Some(name), tags, &[])?;
    documents.push(("manifest.json", serde_json::to_vec(&loadable).map_err(Error::Serialize)?));

    let file = File::create(path).map_err(Error::io("create", path))?;
    let mut archive = tar::Builder::new(BufWriter::new(file));
    let pack = |archive: &mut tar::Builder<BufWriter<File>>| -> io::Result<()> {
        for directory in ["blobs/", "blobs/sha256/"] {
            append(archive, directory, EntryType::Directory, &[])?;
        }
        let mut blobs: Vec<&Blob> = image.blobs.iter().chain([&image.manifest]).collect();
        blobs.sort_by_key(|blob| blob.digest());
        blobs.dedup_by_key(|blob| blob.digest());
        for blob in blobs {
            append(archive, &blob_path(blob), EntryType::Regular, &blob.bytes)?;
        }
        for (name, content) in &documents {
            append(archive, name, EntryType::Regular, content)?;
        }
        archive.finish()
    };
    pack(&mut archive)
        .and_then(|()| archive.into_inner())
        .and_then(|mut file| file.flush())
        .map_err(Error::io("write", path))
}

fn append<W: io::Write>(archive: &mut tar::Builder<W>, path: &str, kind: EntryType, content: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_path(path)?;
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(content.len() as u64);
    header.set_cksum();
    archive.append(&header, content)
}
