//! CycloneDX 1.6, <https://cyclonedx.org/docs/1.6/json/>.

use serde::Serialize;

use super::{Subject, image_purl};
use crate::dependencies::{Dependencies, Package, Role};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    bom_format: &'static str,
    spec_version: &'static str,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
    dependencies: Vec<Edges>,
}

#[derive(Serialize)]
struct Metadata {
    timestamp: String,
    lifecycles: [Lifecycle; 1],
    tools: Tools,
    component: Component,
}

#[derive(Serialize)]
struct Lifecycle {
    phase: &'static str,
}

#[derive(Serialize)]
struct Tools {
    components: [Component; 1],
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    name: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<License>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Serialize)]
struct License {
    expression: String,
}

#[derive(Serialize)]
struct Property {
    name: &'static str,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Edges {
    #[serde(rename = "ref")]
    reference: String,
    depends_on: Vec<String>,
}

pub(super) fn document(dependencies: &Dependencies, subject: &Subject<'_>) -> Document {
    let image = image_purl(subject);
    let contained = dependencies.root().map(Package::purl).into_iter().collect();
    let mut edges = vec![Edges { reference: image.clone(), depends_on: contained }];
    edges.extend(dependencies.packages.iter().map(|package| Edges {
        reference: package.purl(),
        depends_on: package.dependencies.iter().map(|at| dependencies.packages[*at].purl()).collect(),
    }));
    Document {
        bom_format: "CycloneDX",
        spec_version: "1.6",
        version: 1,
        metadata: Metadata {
            timestamp: subject.created.to_owned(),
            lifecycles: [Lifecycle { phase: "build" }],
            tools: Tools {
                components: [Component {
                    kind: "application",
                    name: "image".to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..Component::default()
                }],
            },
            component: Component {
                kind: "container",
                reference: Some(image.clone()),
                name: subject.name.to_owned(),
                version: subject.digest.to_string(),
                purl: Some(image),
                ..Component::default()
            },
        },
        components: dependencies.packages.iter().map(component).collect(),
        dependencies: edges,
    }
}

fn component(package: &Package) -> Component {
    let features = package.features.join(",");
    Component {
        kind: if package.root { "application" } else { "library" },
        reference: Some(package.purl()),
        name: package.name.clone(),
        version: package.version.clone(),
        scope: Some(match package.role {
            Role::Runtime => "required",
            // The specification's word for what takes part in a build and is not shipped.
            Role::Build => "excluded",
        }),
        hashes: package.checksum.iter().map(|sum| Hash { alg: "SHA-256", content: sum.clone() }).collect(),
        licenses: package.license.iter().map(|license| License { expression: license.clone() }).collect(),
        purl: Some(package.purl()),
        properties: (!features.is_empty())
            .then_some(Property { name: "cargo:features", value: features })
            .into_iter()
            .collect(),
    }
}
