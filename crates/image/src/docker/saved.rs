//! What is in the engine, read back with `docker save`.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use serde::Deserialize;
use tar::EntryType;

use super::{DockerError, last_words, run};
use crate::assemble::{self, Image};
use crate::digest::Digest;
use crate::error::Error;
use crate::layer;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

/// An image of the engine, with the layers compressed as our own are.
pub(super) fn read_back(id: &str) -> Result<Image, Error> {
    let output = run(&["save", id])?;
    if !output.status.success() {
        return Err(DockerError::Failed { command: format!("save {id}"), reason: last_words(&output) }.into());
    }
    let mut files = saved_files(&output.stdout).map_err(|error| DockerError::Saved(error.to_string()))?;
    let mut take = |path: &str| files.remove(path).ok_or_else(|| DockerError::Saved(format!("no `{path}`")));
    let images: Vec<Saved> =
        serde_json::from_slice(&take("manifest.json")?).map_err(|error| DockerError::Saved(error.to_string()))?;
    let [image] = images.as_slice() else {
        return Err(DockerError::Saved(format!("{} images", images.len())).into());
    };
    let configuration = take(&image.config)?;
    let mut layers = Vec::new();
    for path in &image.layers {
        layers.push(layer::compress(&take(path)?).map_err(Error::Pack)?);
    }
    if Digest::of(&configuration).as_str() != id {
        return Err(DockerError::Saved(format!("the configuration is not {id}")).into());
    }
    assemble::of_parts(layers, configuration)
}

/// Every file of the archive by path; an old engine writes a layer it has written before as a link to it.
fn saved_files(archive: &[u8]) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        match entry.header().entry_type() {
            EntryType::Regular => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                files.insert(path, content);
            }
            EntryType::Symlink => {
                let target = entry.link_name()?.map(|target| target.to_string_lossy().into_owned()).unwrap_or_default();
                let target = target.trim_start_matches("../");
                if let Some(content) = files.get(target).cloned() {
                    files.insert(path, content);
                }
            }
            _ => {}
        }
    }
    Ok(files)
}
