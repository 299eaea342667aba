//! What CloudWatch Logs hides in a log group.

use serde::Serialize;

use crate::sub;
use crate::value::{Intrinsic, PARTITION};

/// The kinds of credentials that AWS recognises.
const CREDENTIALS: [&str; 5] =
    ["AwsSecretKey", "OpenSshPrivateKey", "PgpPrivateKey", "PkcsPrivateKey", "PuttyPrivateKey"];

/// A data protection policy: what it finds is shown as asterisks.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Masking {
    name: &'static str,
    version: &'static str,
    statement: [Statement; 2],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: &'static str,
    data_identifier: [Intrinsic; CREDENTIALS.len()],
    operation: Operation,
}

#[derive(Debug, Serialize)]
#[serde(rename_all_fields = "PascalCase")]
enum Operation {
    Audit { findings_destination: Nothing },
    Deidentify { mask_config: Nothing },
}

#[derive(Debug, Serialize)]
struct Nothing {}

impl Masking {
    /// Hides credentials. AWS wants them found, with or without somebody to tell, before it hides them.
    pub(crate) fn of_credentials() -> Self {
        let statement = |sid, operation| {
            let identifier = |name| sub!["arn:", PARTITION, ":dataprotection::aws:data-identifier/", name];
            Statement { sid, data_identifier: CREDENTIALS.map(identifier), operation }
        };
        Masking {
            name: "credentials",
            version: "2021-06-01",
            statement: [
                statement("Find", Operation::Audit { findings_destination: Nothing {} }),
                statement("Hide", Operation::Deidentify { mask_config: Nothing {} }),
            ],
        }
    }
}
