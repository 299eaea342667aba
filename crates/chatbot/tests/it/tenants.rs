//! Servers with tenants of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::program::Program;

/// Every scope a key can have.
pub(crate) const SCOPES: [&str; 5] = ["chat", "agent", "knowledge", "insights", "keys"];

/// A directory with a tenants file and conversations.
pub(crate) struct Tenants {
    directory: tempfile::TempDir,
    /// The header of each tenant's key, which may do everything.
    headers: BTreeMap<String, String>,
}

impl Tenants {
    /// Tenants with these ids, the built-in knowledge and a key each.
    pub(crate) fn new(ids: &[&str]) -> Self {
        Self::with(ids, |_, _| {})
    }

    /// The same, changed as a test needs it.
    pub(crate) fn with(ids: &[&str], change: impl Fn(&str, &mut Value)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut headers = BTreeMap::new();
        let tenants: Vec<Value> = ids
            .iter()
            .map(|&id| {
                let (secret, public) = (format!("sb_live_{id}"), format!("sb_pub_{id}"));
                headers.insert(id.to_owned(), format!("Bearer {secret}"));
                let mut tenant = json!({
                    "id": id,
                    "name": format!("The {id} company"),
                    "allowed_origins": [format!("https://{id}.example")],
                    "keys": [
                        {"id": "key_all", "kind": "secret", "sha256": sha256(&secret), "scopes": SCOPES},
                        {"id": "key_pub", "kind": "publishable", "sha256": sha256(&public)},
                    ],
                });
                change(id, &mut tenant);
                tenant
            })
            .collect();
        let file = json!({"schema": 1, "tenants": tenants});
        std::fs::write(directory.path().join("tenants.json"), file.to_string()).expect("it can be written");
        Self { directory, headers }
    }

    /// The file that `TENANTS_FILE` names.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("tenants.json")
    }

    /// Where the conversations are.
    pub(crate) fn conversations(&self) -> PathBuf {
        self.directory.path().join("conversations")
    }

    /// Starts a server for these tenants.
    pub(crate) fn start(&self, variables: &[(&str, &str)]) -> Program {
        let file = self.file();
        let mut all = vec![("TENANTS_FILE", file.to_str().expect("UTF-8"))];
        all.extend(variables);
        Program::start(&self.conversations(), &all)
    }

    /// The header that proves a tenant.
    pub(crate) fn key(&self, id: &str) -> (&str, &str) {
        ("authorization", &self.headers[id])
    }
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
