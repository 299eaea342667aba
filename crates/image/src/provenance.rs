//! Where an image comes from: a SLSA v1 provenance in an in-toto statement, <https://slsa.dev/spec/v1.0/provenance>.

use serde::{Deserialize, Serialize};

use crate::dependencies::Dependencies;
use crate::digest::Digest;
use crate::docker::Engine;
use crate::error::Error;

/// Media type of an in-toto statement.
pub const MEDIA_TYPE: &str = "application/vnd.in-toto+json";
/// The predicate inside of it, as an annotation names it for those who look for one.
pub const PREDICATE: &str = "https://slsa.dev/provenance/v1";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What the parameters below mean.
const BUILD_TYPE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/crates/image/README.md#provenance");
/// The builder when no build service says who it is: whoever ran the command.
const LOCAL_BUILDER: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/crates/image/README.md#local-builder");

/// The builder when that is whoever let a Docker engine build.
const LOCAL_DOCKER_BUILDER: &str =
    concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/crates/image/README.md#local-docker-builder");

/// What is known of a build.
#[derive(Debug, Clone)]
pub struct Build<'a> {
    /// The image's name.
    pub name: &'a str,
    /// The image.
    pub digest: &'a Digest,
    /// The address of the git repository, if the package names it.
    pub repository: Option<&'a str>,
    /// The commit; with `-dirty-<hash>` it is not what was built.
    pub commit: &'a str,
    /// The commit and whether it was built as it is.
    pub revision: &'a str,
    /// The package.
    pub package: &'a str,
    /// Its binary.
    pub binary: &'a str,
    /// The compiler target.
    pub target: &'a str,
    /// The compiler.
    pub compiler: &'a str,
    /// The engine that built, if one did.
    pub engine: Option<&'a Engine>,
    /// The ARN of the CodeBuild build, if it was one.
    pub codebuild: Option<&'a str>,
    /// What the binary is made of.
    pub dependencies: &'a Dependencies,
}

/// What a statement says of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The commit it was built from.
    pub revision: String,
    /// Who built it.
    pub builder: String,
}

impl Claim {
    /// Reads a statement about the image `digest`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(statement: &[u8], digest: &Digest) -> Result<Self, &'static str> {
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let statement: Claims = serde_json::from_slice(statement).map_err(|_| "its statement is not understood")?;
        if statement.predicate_type != PREDICATE {
            return Err("it states something else than a provenance");
        }
        if statement.subject.iter().all(|subject| subject.digest.sha256.as_deref() != Some(digest.hex())) {
            return Err("it is about another image");
        }
        let run = &statement.predicate["runDetails"]["builder"]["id"];
        let parameters = &statement.predicate["buildDefinition"]["externalParameters"];
        let (Some(builder), Some(revision)) = (text(run), text(&parameters["revision"])) else {
            return Err("its statement names no builder or no commit");
        };
        Ok(Self { revision, builder })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    subject: Vec<ClaimedSubject>,
    predicate_type: String,
    // Builders differ in what they write beside the two that are read.
    predicate: serde_json::Value,
}

#[derive(Deserialize)]
struct ClaimedSubject {
    digest: ClaimedDigest,
}

#[derive(Deserialize)]
struct ClaimedDigest {
    sha256: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: [Resource; 1],
    predicate_type: &'static str,
    predicate: Predicate<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate<'a> {
    build_definition: Definition<'a>,
    run_details: Run<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Definition<'a> {
    build_type: &'static str,
    external_parameters: ExternalParameters<'a>,
    internal_parameters: InternalParameters<'a>,
    resolved_dependencies: Vec<Resource>,
}

#[derive(Serialize)]
struct ExternalParameters<'a> {
    revision: &'a str,
    package: &'a str,
    binary: &'a str,
    target: &'a str,
    #[serde(rename = "baseImage", skip_serializing_if = "Option::is_none")]
    base_image: Option<&'a str>,
}

#[derive(Serialize)]
struct InternalParameters<'a> {
    compiler: &'a str,
}

#[derive(Serialize)]
struct Run<'a> {
    builder: Builder<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
}

#[derive(Serialize)]
struct Builder<'a> {
    id: String,
    version: Versions<'a>,
}

#[derive(Serialize)]
struct Versions<'a> {
    image: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    docker: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    invocation_id: String,
}

/// in-toto's resource descriptor.
#[derive(Serialize)]
struct Resource {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    digest: Digests,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Digests {
    Sha256(String),
    GitCommit(String),
}

/// Writes the statement.
///
/// # Errors
/// JSON cannot be written.
pub fn write(build: &Build<'_>) -> Result<Vec<u8>, Error> {
    let source = Resource {
        name: None,
        uri: build.repository.map(|repository| format!("git+{repository}@{}", build.commit)),
        digest: Digests::GitCommit(build.commit.to_owned()),
    };
    let packages = build.dependencies.packages.iter().filter_map(|package| {
        let checksum = package.checksum.clone()?;
        Some(Resource { name: None, uri: Some(package.purl()), digest: Digests::Sha256(checksum) })
    });
    let (builder, metadata) = match build.codebuild {
        // arn:aws:codebuild:REGION:ACCOUNT:build/PROJECT:ID: the project is the builder, the id the run.
        Some(arn) => {
            let project = arn.rsplit_once(':').map_or(arn, |(project, _)| project).replace(":build/", ":project/");
            (project, Some(Metadata { invocation_id: arn.to_owned() }))
        }
        None if build.engine.is_some() => (LOCAL_DOCKER_BUILDER.to_owned(), None),
        None => (LOCAL_BUILDER.to_owned(), None),
    };
    let base = build.engine.map(|engine| Resource {
        name: Some(engine.base.name.clone()),
        uri: None,
        digest: Digests::Sha256(engine.base.digest.hex().to_owned()),
    });
    let statement = Statement {
        kind: STATEMENT,
        subject: [Resource {
            name: Some(build.name.to_owned()),
            uri: None,
            digest: Digests::Sha256(build.digest.hex().to_owned()),
        }],
        predicate_type: PREDICATE,
        predicate: Predicate {
            build_definition: Definition {
                build_type: BUILD_TYPE,
                external_parameters: ExternalParameters {
                    revision: build.revision,
                    package: build.package,
                    binary: build.binary,
                    target: build.target,
                    base_image: build.engine.map(|engine| engine.base.name.as_str()),
                },
                internal_parameters: InternalParameters { compiler: build.compiler },
                resolved_dependencies: [source].into_iter().chain(base).chain(packages).collect(),
            },
            run_details: Run {
                builder: Builder {
                    id: builder,
                    version: Versions {
                        image: env!("CARGO_PKG_VERSION"),
                        docker: build.engine.map(|engine| engine.version.as_str()),
                    },
                },
                metadata,
            },
        },
    };
    serde_json::to_vec(&statement).map_err(Error::Serialize)
}
