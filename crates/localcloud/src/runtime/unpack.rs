//! Unpacks an image's layers into a folder, with suspicion: an image is input.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;

/// More than this is no chatbot image but a decompression bomb.
const MAX_UNPACKED_BYTES: u64 = 4 << 30;
const MAX_ENTRIES: usize = 200_000;

/// Why an image cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The image is malformed or asks for something dangerous.
    #[error("{0}")]
    Refused(String),
}

/// The part of an image configuration that running needs.
/// <https://github.com/opencontainers/image-spec/blob/main/config.md>
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ImageConfig {
    /// Entry point, environment and command.
    #[serde(default)]
    pub config: RunConfig,
}

/// `config` of an image configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `KEY=VALUE` pairs.
    pub env: Option<Vec<String>>,
    /// The program and its first arguments.
    pub entrypoint: Option<Vec<String>>,
    /// Default arguments.
    pub cmd: Option<Vec<String>>,
}

/// Unpacks gzip-compressed or plain tar layers, lowest first, into `root`. The folder appears whole or not at all.
pub fn unpack(layers: &[PathBuf], root: &Path) -> Result<(), UnpackError> {
    if root.exists() {
        return Ok(());
    }
    // Two tasks of one image may start at the same time: each unpacks into a folder of its own, the first one to end wins.
    let partial = root.with_extension(format!("partial-{:016x}", crate::ids::random()));
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| UnpackError::Io(path, error)
    };
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(at(&partial))?;
    let mut budget = Budget { bytes: MAX_UNPACKED_BYTES, entries: MAX_ENTRIES };
    for layer in layers {
        apply(layer, &partial, &mut budget)?;
    }
    match fs::rename(&partial, root) {
        Ok(()) => Ok(()),
        Err(_) if root.exists() => fs::remove_dir_all(&partial).map_err(at(&partial)),
        Err(error) => Err(UnpackError::Io(root.to_owned(), error)),
    }
}

struct Budget {
    bytes: u64,
    entries: usize,
}

fn apply(layer: &Path, root: &Path, budget: &mut Budget) -> Result<(), UnpackError> {
    let failed = |error| UnpackError::Io(layer.to_owned(), error);
    let mut magic = [0; 2];
    let compressed =
        File::open(layer).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == [0x1f, 0x8b];
    let file = File::open(layer).map_err(failed)?;
    let reader: Box<dyn Read> = if compressed { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    // The sizes in tar headers may lie, the stream cannot.
    let mut archive = tar::Archive::new(reader.take(budget.bytes));
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(false);
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        budget.entries = budget.entries.saturating_sub(1);
        budget.bytes = budget.bytes.saturating_sub(entry.size() + 512);
        if budget.entries == 0 || budget.bytes == 0 {
            return Err(UnpackError::Refused("the image unpacks to more than the endpoint allows".to_owned()));
        }
        let path = entry.path().map_err(failed)?.into_owned();
        let path = inside(&path)?;
        if path.as_os_str().is_empty() {
            continue;
        }
        if let Some(hidden) = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(".wh."))
        {
            whiteout(root, &path, hidden).map_err(failed)?;
            continue;
        }
        match entry.header().entry_type() {
            tar::EntryType::Block | tar::EntryType::Char | tar::EntryType::Fifo => {
                return Err(UnpackError::Refused(format!("the image holds a device file, {}", path.display())));
            }
            _ => {}
        }
        // Refuses what would be written through a link that leads out of the root.
        if !entry.unpack_in(root).map_err(failed)? {
            return Err(UnpackError::Refused(format!("the image holds a path outside its root, {}", path.display())));
        }
    }
    Ok(())
}

/// The path without a leading `/` or `./`; an error when it has `..`.
fn inside(path: &Path) -> Result<PathBuf, UnpackError> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(UnpackError::Refused(format!(
                    "the image holds a path outside its root, {}",
                    path.display()
                )));
            }
        }
    }
    Ok(clean)
}

/// A whiteout removes what lower layers put there.
/// <https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>
fn whiteout(root: &Path, path: &Path, hidden: &str) -> io::Result<()> {
    let folder = root.join(path.parent().unwrap_or(Path::new("")));
    // A link in the way could lead out of the root: then there is nothing of this image to remove.
    if !folder.canonicalize().is_ok_and(|folder| root.canonicalize().is_ok_and(|root| folder.starts_with(root))) {
        return Ok(());
    }
    let remove = |path: &Path| match fs::symlink_metadata(path) {
        Ok(kind) if kind.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    if hidden == ".wh..opq" {
        for entry in fs::read_dir(&folder)? {
            remove(&entry?.path())?;
        }
        return Ok(());
    }
    if matches!(hidden, "" | "." | "..") {
        return Ok(());
    }
    remove(&folder.join(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Entry<'a> = (&'a str, tar::EntryType, &'a str);

    fn layer(folder: &Path, name: &str, entries: &[Entry<'_>]) -> PathBuf {
        let path = folder.join(name);
        let encoder = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(encoder);
        for (name, kind, content) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_mode(0o755);
            let link = matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link);
            header.set_size(if link { 0 } else { content.len() as u64 });
            // Written raw: the builder's own checks would refuse the dangerous names.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            if link {
                header.set_link_name(content).unwrap();
            }
            header.set_cksum();
            builder.append(&header, if link { &b""[..] } else { content.as_bytes() }).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
        path
    }

    const FILE: tar::EntryType = tar::EntryType::Regular;

    #[test]
    fn upper_layers_replace_and_remove_what_lower_ones_put() {
        let folder = tempfile::tempdir().unwrap();
        let lower = layer(folder.path(), "1", &[("etc/a", FILE, "1"), ("etc/b", FILE, "1"), ("smartbot", FILE, "old")]);
        let upper = layer(folder.path(), "2", &[("etc/.wh.a", FILE, ""), ("smartbot", FILE, "new")]);
        let root = folder.path().join("root");
        unpack(&[lower, upper], &root).unwrap();
        assert!(!root.join("etc/a").exists());
        assert!(root.join("etc/b").exists());
        assert_eq!(fs::read_to_string(root.join("smartbot")).unwrap(), "new");
    }

    #[test]
    fn nothing_is_written_outside_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let target = outside.to_str().unwrap();
        let attacks: [&[Entry<'_>]; 3] = [
            &[("../outside/x", FILE, "x")],
            &[("link", tar::EntryType::Symlink, target), ("link/x", FILE, "x")],
            &[("fifo", tar::EntryType::Fifo, "")],
        ];
        for (number, entries) in attacks.iter().enumerate() {
            let layer = layer(folder.path(), &number.to_string(), entries);
            let root = folder.path().join(format!("root{number}"));
            assert!(unpack(&[layer], &root).is_err(), "attack {number}");
            assert!(!root.exists(), "a refused image leaves no root");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "attack {number}");
        }
    }

    #[test]
    fn a_whiteout_through_a_link_removes_nothing_outside() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        let link = ("link", tar::EntryType::Symlink, outside.to_str().unwrap());
        let layer = layer(folder.path(), "1", &[link, ("link/.wh.kept", FILE, "")]);
        let _ = unpack(&[layer], &folder.path().join("root"));
        assert!(outside.join("kept").exists());
    }
}
