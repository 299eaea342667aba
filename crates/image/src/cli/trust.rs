//! The commands about trust: keys, signatures, bills of materials, the scan gate.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use image::key::PrivateKey;
use image::progress::{Progress, Step};
use image::provenance::Claim;
use image::registry::{Reference, Signed};
use image::sbom::Format;
use image::scan::advisories::Advisories;
use image::scan::{self, Judge, Outcome, Policy, Verdict};
use image::settings::Settings;
use image::signature::SignatureError;
use image::signer::{self, Signer};
use image::{Digest, Error, Registry, attestation, ecr};
use serde::Deserialize;
use time::OffsetDateTime;

use super::{Ecr, parsed};
use crate::terminal;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a key pair for signing: FILE for its owner alone, FILE.pub for everybody.
    Keygen {
        /// The private key's file; nothing is ever overwritten.
        file: PathBuf,
    },
    /// Sign an image that is in a registry, in the format of cosign.
    Sign {
        #[command(flatten)]
        image: ImageArguments,
        /// The private key: a PEM file (ECDSA on P-256), or awskms:///ID in a build with the feature `kms`.
        #[arg(long, value_name = "KEY", env = "IMAGE_SIGNING_KEY")]
        key: String,
    },
    /// Make sure that an image is signed with a key, and so is what is said of where it comes from; exit code 65 if not.
    Verify {
        #[command(flatten)]
        image: ImageArguments,
        /// The public key: a PEM file, or awskms:///ID in a build with the feature `kms`. Of several, one is enough.
        #[arg(long = "key", value_name = "KEY", required = true)]
        keys: Vec<String>,
        /// Refuse an image without signed provenance, too: what `image sign` signed later has none.
        #[arg(long)]
        provenance: bool,
        /// Download the whole image, too, and check every byte.
        #[arg(long)]
        content: bool,
    },
    /// Print what an image is made of.
    Sbom {
        #[command(flatten)]
        image: ImageArguments,
        /// The document's format.
        #[arg(long, value_enum, default_value_t = Format::Cyclonedx)]
        format: Format,
    },
    /// Judge an image's known vulnerabilities; exit code 65 if it may not go on, or if nobody could scan it.
    ///
    /// ECR's scanner is asked where the image is in ECR. What it cannot scan is looked up in --advisories by the dependency
    /// list in the binary. The verdict says which of the two judged.
    Scan {
        #[command(flatten)]
        image: ImageArguments,
        /// A checkout of RustSec's advisory database.
        #[arg(long, value_name = "DIR", env = "ADVISORY_DB")]
        advisories: Option<PathBuf>,
        /// What stops an image, as JSON: threshold, unscanned, exceptions [default: high and worse, and unscanned images].
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Print the verdict as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ImageArguments {
    /// The image, as in registry.example.com/smartassist/chatbot@sha256:… or …:v1.2.3.
    #[arg(value_name = "IMAGE", value_parser = parsed::<Reference>)]
    #[arg(required_unless_present = "image_detail", conflicts_with = "image_detail")]
    reference: Option<Reference>,
    /// The image that this file names, as `image build --image-detail` wrote it.
    #[arg(long, value_name = "FILE")]
    image_detail: Option<PathBuf>,
    #[command(flatten)]
    ecr: Ecr,
}

impl ImageArguments {
    fn reference(&self) -> Result<Reference, Error> {
        #[derive(Deserialize)]
        struct Detail {
            #[serde(rename = "ImageURI")]
            image: String,
        }
        match (&self.reference, &self.image_detail) {
            (Some(reference), _) => Ok(reference.clone()),
            (None, path) => {
                let path = path.clone().unwrap_or_default();
                let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
                let detail: Detail =
                    serde_json::from_slice(&text).map_err(|source| Error::ImageDetail { path, source })?;
                Ok(detail.image.parse()?)
            }
        }
    }

    /// The registry, and the digest of the image.
    async fn open<'a>(&self, settings: &Settings, progress: Progress<'a>) -> Result<(Registry<'a>, Digest), Error> {
        let Reference { repository, version } = &self.reference()?;
        let registry = self.ecr.open(repository, settings, progress).await?;
        let digest = registry.resolve(version).await?;
        Ok((registry, digest))
    }
}

pub(crate) async fn run(command: &Command, settings: &Settings, progress: Progress<'_>) -> anyhow::Result<()> {
    match command {
        Command::Keygen { file } => {
            let key = PrivateKey::generate().map_err(Error::from)?;
            let public = key.write_pair(file)?;
            terminal::line(&format!("{}\n{}", file.display(), public.display()))
        }
        Command::Sign { image, key } => {
            let signer = Signer::open(key).await?;
            let (registry, digest) = image.open(settings, progress).await?;
            match registry.sign(&digest, &signer).await? {
                Signed::Now => {
                    let key = signer.public().await?.id().map_err(Error::from)?;
                    progress(Step::Signed { digest: &digest, key: &key });
                }
                Signed::Before => progress(Step::SignaturePresent { digest: &digest }),
            }
            terminal::line(&format!("{}@{digest}", registry.repository()))
        }
        Command::Verify { image, keys, provenance, content } => {
            let mut known = Vec::new();
            for key in keys {
                known.push(signer::verification_key(key).await?);
            }
            let (registry, digest) = image.open(settings, progress).await?;
            registry.verify(&digest, &known).await?;
            match registry.provenance(&digest, &known).await? {
                Some(Claim { revision, builder }) => {
                    progress(Step::Provenance { revision: &revision, builder: &builder });
                }
                None if *provenance => {
                    return Err(
                        Error::from(SignatureError::NoProvenance { tag: attestation::tag(&digest), digest }).into()
                    );
                }
                None => progress(Step::NoProvenance),
            }
            if *content {
                registry.pull(&digest).await.map_err(Error::from)?;
            }
            terminal::line(&format!("{}@{digest}", registry.repository()))
        }
        Command::Sbom { image, format } => {
            let (registry, digest) = image.open(settings, progress).await?;
            let bill = registry.bill_of_materials(&digest, *format).await?;
            terminal::raw(&bill)
        }
        Command::Scan { image, advisories, policy, json } => {
            let policy = policy.as_deref().map_or_else(|| Ok(Policy::default()), Policy::read)?;
            let advisories = advisories.as_deref().map(Advisories::open).transpose().map_err(Error::from)?;
            let (registry, digest) = image.open(settings, progress).await?;
            let scanner = match image.ecr.is_meant(registry.repository()) {
                true => Some(ecr::client().await?),
                false => None,
            };
            let request = scan::Request {
                scanner: scanner.as_ref(),
                patience: scan::ecr::Patience::default(),
                advisories: advisories.as_ref(),
                policy: &policy,
                today: OffsetDateTime::now_utc().date(),
            };
            let verdict = scan::run(&registry, digest, &request).await?;
            if *json {
                terminal::line(&serde_json::to_string(&verdict).context("cannot write the verdict")?)?;
            } else {
                terminal::line(&describe(&verdict))?;
            }
            match (verdict.passed, verdict.judge) {
                (true, _) => Ok(()),
                (false, Judge::Nobody { .. }) => Err(Error::NotScanned(verdict.digest).into()),
                (false, Judge::Ecr | Judge::Advisories { .. }) => Err(Error::ScanRefused(verdict.digest).into()),
            }
        }
    }
}

fn describe(verdict: &Verdict) -> String {
    let mut lines = vec![match &verdict.judge {
        Judge::Ecr => "scanned by ECR".to_owned(),
        Judge::Advisories { packages, advisories, instead_of_ecr } => {
            let why = instead_of_ecr.as_ref().map(|reason| format!(", because ECR could not: {reason}"));
            let why = why.unwrap_or_default();
            format!("scanned by its dependency list: {packages} packages against {advisories} advisories{why}")
        }
        Judge::Nobody { reasons } => format!("not scanned: {}", reasons.join("; ")),
    }];
    for judged in &verdict.findings {
        let outcome = match &judged.outcome {
            Outcome::Refused => "refused".to_owned(),
            Outcome::BelowThreshold => "below the threshold".to_owned(),
            Outcome::Excepted { reason, expires } => format!("excepted until {expires}: {reason}"),
            Outcome::Expired { expired } => format!("refused: its exception ended on {expired}"),
        };
        let finding = &judged.finding;
        let severity = finding.severity.map_or("not judged".to_owned(), |severity| severity.to_string());
        let package = format!("{} {}", finding.package, finding.version);
        lines.push(format!("{}  {severity}  {package}  {}  ({outcome})", finding.id, finding.title));
    }
    if verdict.findings.is_empty() && !matches!(verdict.judge, Judge::Nobody { .. }) {
        lines.push("nothing was found".to_owned());
    }
    lines.push(if verdict.passed { "passed".to_owned() } else { "refused".to_owned() });
    lines.join("\n")
}
