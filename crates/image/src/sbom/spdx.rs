//! SPDX 2.3, <https://spdx.github.io/spdx-spec/v2.3/>.

use serde::Serialize;

use super::{Subject, image_purl};
use crate::dependencies::{Dependencies, Origin, Role};

const UNKNOWN: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
const IMAGE: &str = "SPDXRef-Image";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    spdx_version: &'static str,
    data_license: &'static str,
    #[serde(rename = "SPDXID")]
    id: &'static str,
    name: String,
    document_namespace: String,
    creation_info: CreationInfo,
    packages: Vec<Package>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct CreationInfo {
    created: String,
    creators: [String; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    version_info: String,
    primary_package_purpose: &'static str,
    download_location: String,
    files_analyzed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checksums: Vec<Checksum>,
    license_concluded: &'static str,
    license_declared: String,
    copyright_text: &'static str,
    external_refs: [ExternalRef; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: &'static str,
    checksum_value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_category: &'static str,
    reference_type: &'static str,
    reference_locator: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: String,
    relationship_type: &'static str,
    related_spdx_element: String,
}

pub(super) fn document(dependencies: &Dependencies, subject: &Subject<'_>) -> Document {
    let mut packages = vec![image(subject)];
    let mut relationships = vec![relationship(DOCUMENT, "DESCRIBES", IMAGE)];
    for (at, package) in dependencies.packages.iter().enumerate() {
        packages.push(describe(at, package));
        if package.root {
            relationships.push(relationship(IMAGE, "CONTAINS", &id(at)));
        }
        for needed in &package.dependencies {
            relationships.push(match dependencies.packages[*needed].role {
                Role::Runtime => relationship(&id(at), "DEPENDS_ON", &id(*needed)),
                Role::Build => relationship(&id(*needed), "BUILD_DEPENDENCY_OF", &id(at)),
            });
        }
    }
    Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: format!("{}@{}", subject.name, subject.digest),
        document_namespace: format!("https://spdx.org/spdxdocs/{}-{}", subject.name, subject.digest.hex()),
        creation_info: CreationInfo {
            created: subject.created.to_owned(),
            creators: [format!("Tool: image-{}", env!("CARGO_PKG_VERSION"))],
        },
        packages,
        relationships,
    }
}

fn image(subject: &Subject<'_>) -> Package {
    Package {
        id: IMAGE.to_owned(),
        name: subject.name.to_owned(),
        version_info: subject.digest.to_string(),
        primary_package_purpose: "CONTAINER",
        download_location: UNKNOWN.to_owned(),
        files_analyzed: false,
        checksums: vec![Checksum { algorithm: "SHA256", checksum_value: subject.digest.hex().to_owned() }],
        license_concluded: UNKNOWN,
        license_declared: UNKNOWN.to_owned(),
        copyright_text: UNKNOWN,
        external_refs: [purl(image_purl(subject))],
    }
}

fn describe(at: usize, package: &crate::dependencies::Package) -> Package {
    let location = match &package.origin {
        Origin::CratesIo => {
            format!("https://static.crates.io/crates/{0}/{0}-{1}.crate", package.name, package.version)
        }
        Origin::Git(Some(address)) => format!("git+{address}"),
        Origin::Registry(_) | Origin::Git(None) | Origin::Local => UNKNOWN.to_owned(),
    };
    let checksum = |sum: &String| Checksum { algorithm: "SHA256", checksum_value: sum.clone() };
    Package {
        id: id(at),
        name: package.name.clone(),
        version_info: package.version.clone(),
        primary_package_purpose: if package.root { "APPLICATION" } else { "LIBRARY" },
        download_location: location,
        files_analyzed: false,
        checksums: package.checksum.iter().map(checksum).collect(),
        license_concluded: UNKNOWN,
        license_declared: package.license.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
        copyright_text: UNKNOWN,
        external_refs: [purl(package.purl())],
    }
}

fn purl(locator: String) -> ExternalRef {
    ExternalRef { reference_category: "PACKAGE-MANAGER", reference_type: "purl", reference_locator: locator }
}

fn relationship(from: &str, kind: &'static str, to: &str) -> Relationship {
    Relationship { spdx_element_id: from.to_owned(), relationship_type: kind, related_spdx_element: to.to_owned() }
}

/// Positions are stable: the list is sorted.
fn id(at: usize) -> String {
    format!("SPDXRef-Package-{at}")
}
