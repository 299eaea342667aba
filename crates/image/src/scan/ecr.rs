//! ECR's scanner: asked to scan, waited for, and read to the last page.

use std::time::Duration;

use aws_sdk_ecr::Client;
use aws_sdk_ecr::error::ProvideErrorMetadata as _;
use aws_sdk_ecr::operation::describe_image_scan_findings::{
    DescribeImageScanFindingsError, DescribeImageScanFindingsOutput,
};
use aws_sdk_ecr::types::{
    EnhancedImageScanFinding, ImageIdentifier, ImageScanFinding, PackageVulnerabilityDetails, ScanStatus,
};
use tokio::time::Instant;

use super::{Finding, Severity};
use crate::digest::Digest;
use crate::ecr::{EcrError, explain};

/// What ECR says.
#[derive(Debug)]
pub enum Answer {
    /// It has scanned the image.
    Findings(Vec<Finding>),
    /// It has not, and will not.
    Cannot(String),
}

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Between two looks.
    pub pause: Duration,
    /// In all.
    pub limit: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { pause: Duration::from_secs(3), limit: Duration::from_secs(600) }
    }
}

/// Where a scan stands.
enum Stand {
    Done,
    Running,
    Never(&'static str),
}

/// Has an image scanned, and waits for the result.
///
/// # Errors
/// ECR refuses for another reason than the image, or cannot be reached.
pub async fn scan(client: &Client, repository: &str, digest: &Digest, patience: Patience) -> Result<Answer, EcrError> {
    let image = ImageIdentifier::builder().image_digest(digest.as_str()).build();
    let operation = "StartImageScan";
    let started = client.start_image_scan().repository_name(repository).image_id(image.clone()).send().await;
    if let Err(error) = started {
        match error.as_service_error().and_then(|error| error.code()) {
            // Scanned less than a day ago, or continuously by Inspector: there is a result without our asking.
            Some("LimitExceededException" | "ValidationException") => {}
            Some("UnsupportedImageTypeException" | "ImageArchivedException") => {
                let reason =
                    error.as_service_error().and_then(|error| error.message()).unwrap_or("it is not supported");
                return Ok(Answer::Cannot(reason.to_owned()));
            }
            _ => return Err(explain(operation, &error)),
        }
    }
    let operation = "DescribeImageScanFindings";
    let begun = Instant::now();
    let mut findings = Vec::new();
    let mut page: Option<String> = None;
    loop {
        let request = client.describe_image_scan_findings().repository_name(repository).image_id(image.clone());
        let answer = match request.set_next_token(page.take()).send().await {
            Ok(answer) => answer,
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DescribeImageScanFindingsError::is_scan_not_found_exception) =>
            {
                return Ok(Answer::Cannot("there is no scan of it".to_owned()));
            }
            Err(error) => return Err(explain(operation, &error)),
        };
        match stand(&answer)? {
            Stand::Done => {}
            Stand::Never(why) => {
                let detail = answer.image_scan_status().and_then(|status| status.description());
                return Ok(Answer::Cannot(detail.map_or(why.to_owned(), |detail| format!("{why}: {detail}"))));
            }
            Stand::Running if begun.elapsed() >= patience.limit => {
                return Ok(Answer::Cannot(format!("the scan did not end within {} s", patience.limit.as_secs())));
            }
            Stand::Running => {
                tokio::time::sleep(patience.pause).await;
                continue;
            }
        }
        if let Some(found) = answer.image_scan_findings() {
            findings.extend(found.findings().iter().map(basic));
            findings.extend(found.enhanced_findings().iter().flat_map(enhanced));
        }
        match answer.next_token {
            Some(next) if !next.is_empty() => page = Some(next),
            _ => return Ok(Answer::Findings(findings)),
        }
    }
}

/// Every status there is, judged: the SDK's waiter knows COMPLETE and FAILED, and runs into its timeout with the others.
fn stand(answer: &DescribeImageScanFindingsOutput) -> Result<Stand, EcrError> {
    let status = answer.image_scan_status().and_then(|status| status.status());
    let operation = "DescribeImageScanFindings";
    Ok(match status.ok_or(EcrError::Incomplete { operation, what: "a scan status" })? {
        ScanStatus::Complete | ScanStatus::Active => Stand::Done,
        ScanStatus::InProgress | ScanStatus::Pending => Stand::Running,
        ScanStatus::UnsupportedImage => Stand::Never("ECR cannot scan an image of this kind"),
        ScanStatus::Failed => Stand::Never("the scan failed"),
        ScanStatus::FindingsUnavailable => Stand::Never("the findings are not available"),
        ScanStatus::ScanEligibilityExpired => Stand::Never("the image is too old to be scanned"),
        ScanStatus::LimitExceeded => Stand::Never("too many images are scanned"),
        ScanStatus::ImageArchived => Stand::Never("the image is archived"),
        // What a later ECR may say.
        _ => Stand::Never("ECR answers with a status that is not known here"),
    })
}

fn basic(finding: &ImageScanFinding) -> Finding {
    let attribute = |key: &str| {
        let found = finding.attributes().iter().find(|attribute| attribute.key() == key);
        found.and_then(|attribute| attribute.value()).unwrap_or_default().to_owned()
    };
    Finding {
        id: finding.name().unwrap_or("without a name").to_owned(),
        aliases: Vec::new(),
        package: attribute("package_name"),
        version: attribute("package_version"),
        severity: finding.severity().and_then(|severity| parse(severity.as_str())),
        title: finding.description().unwrap_or_default().to_owned(),
    }
}

/// One finding for each package that has the vulnerability.
fn enhanced(finding: &EnhancedImageScanFinding) -> Vec<Finding> {
    let details = finding.package_vulnerability_details();
    let packages = details.map(PackageVulnerabilityDetails::vulnerable_packages).unwrap_or_default();
    let whole = |package: &str, version: &str| Finding {
        id: details.and_then(|details| details.vulnerability_id()).unwrap_or("without a name").to_owned(),
        aliases: details.map(|details| details.related_vulnerabilities().to_vec()).unwrap_or_default(),
        package: package.to_owned(),
        version: version.to_owned(),
        severity: finding.severity().and_then(parse),
        title: finding.title().unwrap_or_default().to_owned(),
    };
    if packages.is_empty() {
        return vec![whole("", "")];
    }
    let names =
        packages.iter().map(|package| (package.name().unwrap_or_default(), package.version().unwrap_or_default()));
    names.map(|(package, version)| whole(package, version)).collect()
}

/// UNDEFINED and UNTRIAGED are nobody's judgement.
fn parse(severity: &str) -> Option<Severity> {
    match severity {
        "INFORMATIONAL" => Some(Severity::Informational),
        "LOW" => Some(Severity::Low),
        "MEDIUM" => Some(Severity::Medium),
        "HIGH" => Some(Severity::High),
        "CRITICAL" => Some(Severity::Critical),
        _ => None,
    }
}
