//! The layers: tar archives that depend on their content alone, compressed with a pinned deflate. Compressing is most of what
//! a build does beside cargo, so a layer that was packed before is taken from a cache.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use crate::digest::Digest;
use crate::error::Error;
use crate::rootfs::{self, Entry, Node};

/// A compressed layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The gzip file.
    pub blob: Bytes,
    /// The digest of the archive before compression, as the configuration lists it.
    pub diff_id: Digest,
}

/// Goes into every key of the cache: another one for each change of how layers are packed.
const PACKING: &str = "ustar, times 0, zlib-rs 6; 1";

/// The layers of an image, lowest first: what rarely changes, and the binary. `cache` is a directory for packed layers.
///
/// # Errors
/// A layer cannot be packed.
pub fn of_binary(binary: Vec<u8>, cache: Option<&Path>) -> Result<Vec<Layer>, Error> {
    [rootfs::base(), rootfs::program(binary)]
        .iter()
        .map(|entries| match cache {
            Some(cache) => pack_cached(entries, cache),
            None => pack(entries).map_err(Error::Pack),
        })
        .collect()
}

/// Packs the entries.
///
/// Every time in the archive is 0, not the commit's: a commit that does not change the binary then gives the same layer,
/// and a push uploads nothing but its configuration.
///
/// # Errors
/// A path does not fit into a ustar header.
pub fn pack(entries: &[Entry]) -> io::Result<Layer> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_ustar();
        let content: &[u8] = match &entry.node {
            Node::Directory => {
                header.set_entry_type(EntryType::Directory);
                &[]
            }
            Node::File(content) => {
                header.set_entry_type(EntryType::Regular);
                content
            }
        };
        header.set_path(entry.path)?;
        header.set_mode(entry.mode);
        header.set_uid(entry.owner);
        header.set_gid(entry.owner);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content)?;
    }
    compress(&archive.into_inner()?)
}

/// Compresses an archive as it is.
pub(crate) fn compress(archive: &[u8]) -> io::Result<Layer> {
    // Level 6 and zlib-rs: another backend or level gives other bytes and another digest. 255 is "unknown system".
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(6));
    gzip.write_all(archive)?;
    Ok(Layer { blob: gzip.finish()?.into(), diff_id: Digest::of(archive) })
}

/// Packs the entries, or takes what was packed of the same entries before. Two files: the layer, named by its own digest,
/// and one named by the key that says `diff_id` and that digest; whatever does not fit together is packed anew.
fn pack_cached(entries: &[Entry], cache: &Path) -> Result<Layer, Error> {
    let note = cache.join(key(entries));
    if let Some(layer) = recall(&note, cache) {
        return Ok(layer);
    }
    let layer = pack(entries).map_err(Error::Pack)?;
    let digest = Digest::of(&layer.blob);
    fs::create_dir_all(cache).map_err(Error::io("create", cache))?;
    replace(&cache.join(digest.hex()), &layer.blob)?;
    replace(&note, format!("{} {digest}", layer.diff_id).as_bytes())?;
    Ok(layer)
}

fn recall(note: &Path, cache: &Path) -> Option<Layer> {
    let text = fs::read_to_string(note).ok()?;
    let (diff_id, digest) = text.split_once(' ')?;
    let (diff_id, digest): (Digest, Digest) = (diff_id.parse().ok()?, digest.parse().ok()?);
    let blob = fs::read(cache.join(digest.hex())).ok()?;
    (Digest::of(&blob) == digest).then(|| Layer { blob: blob.into(), diff_id })
}

fn key(entries: &[Entry]) -> String {
    let mut hash = Sha256::new();
    hash.update(PACKING);
    for entry in entries {
        let (kind, content): (u8, &[u8]) = match &entry.node {
            Node::Directory => (0, &[]),
            Node::File(content) => (1, content),
        };
        hash.update((entry.path.len() as u64).to_be_bytes());
        hash.update(entry.path);
        hash.update(entry.mode.to_be_bytes());
        hash.update(entry.owner.to_be_bytes());
        hash.update([kind]);
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(content);
    }
    format!("{:x}.packed", hash.finalize())
}

/// Writes a file so that another build never reads half of it.
fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.tmp", std::process::id()));
    let partial = PathBuf::from(partial);
    fs::write(&partial, content).map_err(Error::io("write", &partial))?;
    fs::rename(&partial, path).map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cached_layer_is_the_packed_one_and_a_damaged_cache_is_not_believed() {
        let cache = tempfile::tempdir().expect("a directory");
        let entries = rootfs::program(b"content".to_vec());
        let packed = pack(&entries).expect("packed");
        let first = pack_cached(&entries, cache.path()).expect("packed");
        let file = cache.path().join(Digest::of(&first.blob).hex());
        assert_eq!(first.blob, packed.blob);
        // Only a cache that is used can tell these bytes.
        let again = pack_cached(&entries, cache.path()).expect("recalled");
        assert_eq!((again.blob, again.diff_id), (packed.blob.clone(), packed.diff_id.clone()));
        assert!(recall(&cache.path().join(key(&entries)), cache.path()).is_some());
        fs::write(&file, b"damaged").expect("damaged");
        assert!(recall(&cache.path().join(key(&entries)), cache.path()).is_none());
        assert_eq!(pack_cached(&entries, cache.path()).expect("packed anew").blob, packed.blob);
        assert_ne!(key(&entries), key(&rootfs::program(b"other".to_vec())));
    }
}
