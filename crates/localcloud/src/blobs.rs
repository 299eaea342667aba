//! Content-addressed files: the layers, configurations and manifests that were pushed.

use std::path::{Path, PathBuf};

/// The folder `blobs/sha256` of the data directory.
#[derive(Debug, Clone)]
pub struct Blobs(PathBuf);

impl Blobs {
    /// Blobs below a data directory.
    pub fn new(data_dir: &Path) -> Self {
        Self(data_dir.join("blobs").join("sha256"))
    }

    /// Where the blob of a digest `sha256:<64 lower-case hex digits>` lies, whether it exists or not;
    /// `None` when the digest is malformed, so that no path outside the folder can be named.
    pub fn path(&self, digest: &str) -> Option<PathBuf> {
        let hex = digest.strip_prefix("sha256:")?;
        let well_formed = hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        well_formed.then(|| self.0.join(hex))
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digests_name_files() {
        let blobs = Blobs::new(Path::new("/data"));
        let hex = "0".repeat(64);
        assert_eq!(blobs.path(&format!("sha256:{hex}")), Some(PathBuf::from(format!("/data/blobs/sha256/{hex}"))));
        for bad in ["sha256:../../etc/passwd", "sha512:00", "", &format!("sha256:{}", "A".repeat(64))] {
            assert_eq!(blobs.path(bad), None, "{bad}");
        }
    }
}
