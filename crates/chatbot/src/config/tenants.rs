use std::path::PathBuf;

use super::{Reader, Store};

/// Where the tenants are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenants {
    /// Nowhere: there is one, open to everybody.
    Demo,
    /// In a file.
    File(PathBuf),
    /// In the table of the conversations.
    Table,
}

impl Reader<'_> {
    pub(super) fn tenants(&mut self, store: &Store) -> Tenants {
        let file = self.text("TENANTS_FILE").map(PathBuf::from);
        match (self.text("TENANTS_STORE").as_deref(), file) {
            (None | Some("file"), Some(file)) => Tenants::File(file),
            (None, None) => Tenants::Demo,
            (Some("dynamodb"), file) => {
                if file.is_some() {
                    let problem = "is set, but TENANTS_STORE is dynamodb".to_owned();
                    self.wrong("TENANTS_FILE", problem, "unset one of the two");
                }
                if !matches!(store, Store::Table { .. }) {
                    let problem = "is dynamodb, but CONVERSATION_STORE is not".to_owned();
                    self.wrong("TENANTS_STORE", problem, "set CONVERSATION_STORE=dynamodb and CONVERSATIONS_TABLE");
                }
                if self.text("OPERATOR_KEY_SHA256").is_none() {
                    let problem = "is not set, so nobody could add a tenant to the table".to_owned();
                    self.wrong("OPERATOR_KEY_SHA256", problem, "printf %s \"$KEY\" | sha256sum");
                }
                Tenants::Table
            }
            (Some("file"), None) => {
                let problem = "is not set, and TENANTS_STORE is file".to_owned();
                self.wrong("TENANTS_FILE", problem, "name a JSON or YAML file");
                Tenants::Demo
            }
            (Some(other), _) => {
                let problem = format!("{other:?} keeps no tenants");
                self.wrong("TENANTS_STORE", problem, "use file or dynamodb, or unset it for the demo");
                Tenants::Demo
            }
        }
    }
}
