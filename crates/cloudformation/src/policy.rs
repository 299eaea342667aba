//! IAM policy documents, typed.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::resources::iam::role::{Policy, Role};
use crate::template::to_json;
use crate::value::{Intrinsic, Value};

/// A statement. Every statement names its actions one by one.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Statement {
    sid: &'static str,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Json>,
    action: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource: Vec<Value<String>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    condition: Map<String, Json>,
}

impl Statement {
    /// Allows actions on resources.
    pub(crate) fn allow(
        sid: &'static str,
        actions: impl IntoIterator<Item = &'static str>,
        resources: impl IntoIterator<Item = Intrinsic>,
    ) -> Self {
        Statement {
            sid,
            effect: "Allow",
            principal: None,
            action: actions.into_iter().collect(),
            resource: resources.into_iter().map(Value::Intrinsic).collect(),
            condition: Map::new(),
        }
    }

    /// Allows actions that AWS does not restrict to resources.
    pub(crate) fn allow_unscoped(sid: &'static str, actions: impl IntoIterator<Item = &'static str>) -> Self {
        let mut statement = Statement::allow(sid, actions, []);
        statement.resource = vec!["*".into()];
        statement
    }

    /// Allows passing exactly these roles to one service.
    pub(crate) fn pass_roles(roles: impl IntoIterator<Item = Intrinsic>, service: &str) -> Self {
        Statement::allow("PassRoles", ["iam:PassRole"], roles).when("StringEquals", "iam:PassedToService", service)
    }

    /// Denies everyone what does not come over TLS.
    pub(crate) fn deny_plain_text(action: &'static str, resources: impl IntoIterator<Item = Intrinsic>) -> Self {
        let mut statement = Statement::allow("DenyPlainText", [action], resources);
        statement.effect = "Deny";
        statement.principal = Some(serde_json::json!({"AWS": "*"}));
        statement.when("Bool", "aws:SecureTransport", "false")
    }

    /// Only under a condition.
    #[must_use]
    pub(crate) fn when(mut self, operator: &str, key: &str, value: impl Into<Value<String>>) -> Self {
        let entry = Map::from_iter([(key.to_owned(), to_json(&value.into()))]);
        self.condition.insert(operator.to_owned(), entry.into());
        self
    }
}

/// A policy document.
pub(crate) fn document(statements: Vec<Statement>) -> Json {
    serde_json::json!({"Version": "2012-10-17", "Statement": to_json(&statements)})
}

/// A role that one AWS service assumes, with one inline policy.
pub(crate) fn role(name: String, description: &str, service: &str, statements: Vec<Statement>) -> Role {
    let mut trust = Statement::allow("Assume", ["sts:AssumeRole"], []);
    trust.principal = Some(serde_json::json!({"Service": service}));
    let policies = (!statements.is_empty()).then(|| vec![Policy::new(document(statements), name.as_str())]);
    Role {
        role_name: Some(name.into()),
        description: Some(description.into()),
        policies,
        ..Role::new(document(vec![trust]))
    }
}
