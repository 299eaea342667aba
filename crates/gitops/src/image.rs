//! The image of an overlay: the one file of `argocd/` that is not generated, because promotions write it.

use cloudformation::GeneratedFile;
use environment::{EnvironmentName, Project};
use serde_json::json;

use crate::{file, overlay_path};

/// An image by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    repository: String,
    digest: String,
}

/// A text that names no image by digest.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no image by digest\n  hint: REGISTRY/REPOSITORY@sha256:… with 64 hexadecimal digits")]
pub struct NotAnImage(String);

impl Image {
    /// Before the first promotion: an image that nobody has, so that nothing runs by accident.
    pub fn none(project: &Project) -> Self {
        Image { repository: project.image_repository.clone(), digest: format!("sha256:{}", "0".repeat(64)) }
    }

    /// `REGISTRY/REPOSITORY@sha256:…`.
    pub fn parse(text: &str) -> Result<Self, NotAnImage> {
        let wrong = || NotAnImage(text.to_owned());
        let (repository, digest) = text.split_once('@').ok_or_else(wrong)?;
        let hexadecimal = digest.strip_prefix("sha256:").ok_or_else(wrong)?;
        let whole = hexadecimal.len() == 64 && hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !whole || repository.is_empty() {
            return Err(wrong());
        }
        Ok(Image { repository: repository.to_owned(), digest: digest.to_owned() })
    }

    /// `REGISTRY/REPOSITORY@sha256:…`.
    pub(crate) fn name(&self) -> String {
        format!("{}@{}", self.repository, self.digest)
    }

    /// The component that puts the image into an overlay.
    pub fn file(&self, project: &Project, environment: EnvironmentName) -> GeneratedFile {
        let path = format!("{}/image/kustomization.yaml", overlay_path(environment));
        let image = json!({"name": project.image_repository, "newName": self.repository, "digest": self.digest});
        let component =
            json!({"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component", "images": [image]});
        let text = file("", &component).text;
        let (_, body) = text.split_once('\n').unwrap_or_default();
        let header = "# What runs. Written by `cargo xtask gitops --image ENVIRONMENT=REPOSITORY@sha256:…`.";
        GeneratedFile { path, text: format!("{header}\n{body}") }
    }
}
