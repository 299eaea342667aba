//! Gates in front of an image.

use std::path::Component;

use super::Check;
use crate::settings::{Environment, ScanException};

pub(super) fn image(environment: &Environment, check: &mut Check<'_>) {
    if let Some(signature) = &environment.image.signature {
        check.require(
            !signature.keys.is_empty(),
            "image.signature.keys",
            || "no key could have signed an image".to_owned(),
            "name the file of a public key, or remove image.signature",
        );
        for key in &signature.keys {
            check.require(
                key.components().all(|part| matches!(part, Component::Normal(_))) && key.components().count() > 0,
                "image.signature.keys",
                || format!("`{}` is not beside the environment file", key.display()),
                "a file of the environment's own directory, such as release.pub",
            );
        }
    }
    let Some(scan) = &environment.image.scan else { return };
    for (at, exception) in scan.exceptions.iter().enumerate() {
        let ScanException { advisory, reason, .. } = exception;
        check.require(
            !advisory.is_empty() && !advisory.contains(char::is_whitespace),
            "image.scan.exceptions",
            || format!("`{advisory}` names no finding"),
            "its identifier, such as RUSTSEC-2024-0001 or CVE-2024-0001",
        );
        check.require(
            reason.trim().len() >= 10,
            "image.scan.exceptions",
            || format!("{advisory} is excepted without a justification"),
            "say in a sentence why it is no danger here",
        );
        check.require(
            !scan.exceptions[..at].iter().any(|other| other.advisory == *advisory),
            "image.scan.exceptions",
            || format!("{advisory} is excepted twice"),
            "keep one of the two, with its own last day",
        );
    }
}
