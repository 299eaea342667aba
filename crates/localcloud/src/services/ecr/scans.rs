//! Image scans. The endpoint has no scanner of its own: it looks up the dependency list in an image's program (the format of
//! `cargo auditable`) in an advisory database that it was given. Without a database, or without such a list, it says that
//! the image cannot be scanned; it never reports that nothing was found where nobody looked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use rustsec::advisory::Severity;
use rustsec::database::Query;
use rustsec::{Advisory, Database, package};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::image_operations::ImageId;
use super::images::manifest;
use super::records::{Image, key, repository};
use crate::clock::Timestamp;
use crate::cloud::{ACCOUNT, Cloud};
use crate::error::ApiError;
use crate::services::paging::page;
use crate::store::Record;

/// What scanning an image gave; its key is `repository@digest`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Scan {
    at: Timestamp,
    result: Outcome,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Outcome {
    /// AWS's `ImageScanFinding`s.
    Complete(Vec<Value>),
    /// Why it cannot be scanned.
    Unsupported(String),
}

impl Record for Scan {
    const TABLE: &'static str = "ecr/scan";
}

/// No program or layer of ours is larger, unpacked.
const LARGEST_LAYER: u64 = 1 << 30;
/// No dependency list is larger.
const LARGEST_LIST: usize = 8 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Start {
    repository_name: String,
    image_id: ImageId,
}

pub(super) async fn start(cloud: &Cloud, input: Start) -> Result<Value, ApiError> {
    repository(cloud, &input.repository_name)?;
    let image = input.image_id.required(cloud, &input.repository_name)?;
    let scan = scan(cloud, &image).await?;
    if let Outcome::Unsupported(reason) = scan.result {
        return Err(ApiError::new("UnsupportedImageTypeException", reason));
    }
    // As on AWS, the answer is that it has begun; the findings are asked for.
    Ok(json!({
        "registryId": ACCOUNT,
        "repositoryName": input.repository_name,
        "imageId": input.image_id.value_of(&image),
        "imageScanStatus": {"status": "IN_PROGRESS"},
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Describe {
    repository_name: String,
    image_id: ImageId,
    next_token: Option<String>,
    max_results: Option<usize>,
}

pub(super) async fn describe(cloud: &Cloud, input: Describe) -> Result<Value, ApiError> {
    let holder = repository(cloud, &input.repository_name)?;
    let image = input.image_id.required(cloud, &input.repository_name)?;
    let scan = match cloud.store().get::<Scan>(&key(&image.repository, &image.digest)) {
        Some(scan) => scan,
        None if holder.scan_on_push => scan(cloud, &image).await?,
        None => {
            return Err(ApiError::new(
                "ScanNotFoundException",
                format!(
                    "Image scan does not exist for the image with digest '{}' in the repository with name '{}' in the registry with id '{ACCOUNT}'",
                    image.digest, image.repository
                ),
            ));
        }
    };
    let mut answer = json!({
        "registryId": ACCOUNT,
        "repositoryName": image.repository,
        "imageId": input.image_id.value_of(&image),
    });
    match scan.result {
        Outcome::Unsupported(reason) => {
            answer["imageScanStatus"] = json!({"status": "UNSUPPORTED_IMAGE", "description": reason});
        }
        Outcome::Complete(findings) => {
            let mut counts = BTreeMap::<String, u64>::new();
            for finding in &findings {
                *counts.entry(finding["severity"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
            let limit = input.max_results.unwrap_or(100);
            let (findings, next) = page(findings, limit, input.next_token.as_deref(), "InvalidParameterException")?;
            answer["imageScanStatus"] = json!({
                "status": "COMPLETE", "description": "The scan was completed successfully.",
            });
            answer["imageScanFindings"] = json!({
                "imageScanCompletedAt": scan.at, "findingSeverityCounts": counts, "findings": findings,
            });
            if let Some(next) = next {
                answer["nextToken"] = json!(next);
            }
        }
    }
    Ok(answer)
}

/// Scans an image and remembers the result.
async fn scan(cloud: &Cloud, image: &Image) -> Result<Scan, ApiError> {
    let result = match &cloud.settings().advisories {
        None => Outcome::Unsupported(
            "The embedded endpoint has no advisory database to look the image up in (localcloud serve --advisories DIR)"
                .to_owned(),
        ),
        Some(database) => {
            let manifest = manifest(cloud, image).await?;
            let (database, cloud) = (database.clone(), cloud.clone());
            let looked_up = tokio::task::spawn_blocking(move || {
                let path = |digest: &str| cloud.blobs().path(digest);
                look_up(&database, &manifest, path)
            });
            looked_up.await.map_err(ApiError::internal)??
        }
    };
    let scan = Scan { at: cloud.clock().now(), result };
    cloud.store().put(&key(&image.repository, &image.digest), &scan);
    Ok(scan)
}

fn look_up(database: &Path, manifest: &[u8], blob: impl Fn(&str) -> Option<PathBuf>) -> Result<Outcome, ApiError> {
    let advisories = Database::open(database).map_err(|error| {
        ApiError::internal(format_args!("the advisory database {} cannot be read: {error}", database.display()))
    })?;
    let program = match program(manifest, blob) {
        Ok(Some(program)) => program,
        Ok(None) => return Ok(Outcome::Unsupported("The image has no program to look into".to_owned())),
        Err(error) => return Ok(Outcome::Unsupported(format!("The image cannot be read: {error}"))),
    };
    let list = match auditable_info::audit_info_from_slice(&program, LARGEST_LIST) {
        Ok(list) => list,
        Err(error) => return Ok(Outcome::Unsupported(format!("The image's program lists no dependencies: {error}"))),
    };
    let mut findings = Vec::new();
    for found in &list.packages {
        // What only ran when the program was built is not in it, and the database knows crates.io alone.
        if found.kind != auditable_serde::DependencyKind::Runtime || found.source != auditable_serde::Source::CratesIo {
            continue;
        }
        let Ok(name) = found.name.parse::<package::Name>() else { continue };
        let query = Query::crate_scope().package_name(name).package_version(found.version.clone());
        let version = found.version.to_string();
        findings.extend(advisories.query(&query).into_iter().map(|advisory| finding(advisory, &found.name, &version)));
    }
    Ok(Outcome::Complete(findings))
}

fn finding(advisory: &Advisory, package: &str, version: &str) -> Value {
    let severity = match advisory.severity() {
        None => "UNDEFINED",
        Some(Severity::None) => "INFORMATIONAL",
        Some(Severity::Low) => "LOW",
        Some(Severity::Medium) => "MEDIUM",
        Some(Severity::High) => "HIGH",
        Some(Severity::Critical) => "CRITICAL",
    };
    json!({
        "name": advisory.id().to_string(),
        "description": advisory.title(),
        "uri": format!("https://rustsec.org/advisories/{}.html", advisory.id()),
        "severity": severity,
        "attributes": [
            {"key": "package_name", "value": package},
            {"key": "package_version", "value": version},
        ],
    })
}

/// The program that an image runs, from the topmost layer that has it.
fn program(manifest: &[u8], blob: impl Fn(&str) -> Option<PathBuf>) -> io::Result<Option<Vec<u8>>> {
    let open = |descriptor: &Value| {
        let path = descriptor["digest"].as_str().and_then(&blob);
        path.ok_or_else(|| io::Error::other("a malformed digest")).and_then(File::open)
    };
    let manifest: Value = serde_json::from_slice(manifest)?;
    let configuration: Value = serde_json::from_reader(BufReader::new(open(&manifest["config"])?))?;
    let Some(wanted) = configuration["config"]["Entrypoint"][0].as_str() else { return Ok(None) };
    let wanted = wanted.trim_start_matches('/');
    for layer in manifest["layers"].as_array().into_iter().flatten().rev() {
        let plain = MultiGzDecoder::new(BufReader::new(open(layer)?)).take(LARGEST_LAYER);
        for entry in tar::Archive::new(plain).entries()? {
            let mut entry = entry?;
            if entry.path()?.to_string_lossy().trim_start_matches("./") == wanted {
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                return Ok(Some(content));
            }
        }
    }
    Ok(None)
}
