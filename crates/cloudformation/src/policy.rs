//! IAM policy documents, typed.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::resources::iam::role::{Policy, Role};
use crate::template::{Resource, to_json};
use crate::value::{ACCOUNT, Intrinsic, Value, iam_arn};

/// A statement. Every statement names its actions one by one.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Statement {
    sid: &'static str,
    effect: Effect,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<Principal>,
    action: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource: Vec<Value<String>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    condition: Map<String, Json>,
    /// Why the resource is `*`.
    #[serde(skip)]
    reason: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Effect {
    Allow,
    Deny,
}

/// Who a statement of a resource's own policy is about.
#[derive(Debug, Clone, Serialize)]
pub(crate) enum Principal {
    /// A service of AWS.
    Service(Value<String>),
    /// Accounts, as the value of `AWS`.
    #[serde(rename = "AWS")]
    Aws(Value<String>),
}

impl Principal {
    /// A service of AWS: `events.amazonaws.com`.
    pub(crate) fn service(name: impl Into<Value<String>>) -> Self {
        Principal::Service(name.into())
    }

    /// Whoever the stack's own account lets.
    pub(crate) fn account() -> Self {
        Principal::Aws(iam_arn("root").into())
    }
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
            effect: Effect::Allow,
            principal: None,
            action: actions.into_iter().collect(),
            resource: resources.into_iter().map(Value::Intrinsic).collect(),
            condition: Map::new(),
            reason: None,
        }
    }

    /// Allows actions that AWS does not restrict to resources; the reason stands in the role's metadata.
    pub(crate) fn allow_unscoped(
        sid: &'static str,
        actions: impl IntoIterator<Item = &'static str>,
        reason: &'static str,
    ) -> Self {
        let mut statement = Statement::allow(sid, actions, []);
        statement.resource = vec!["*".into()];
        statement.reason = Some(reason);
        statement
    }

    /// Allows passing exactly these roles to one service.
    pub(crate) fn pass_roles(roles: impl IntoIterator<Item = Intrinsic>, service: &str) -> Self {
        Statement::allow("PassRoles", ["iam:PassRole"], roles).when("StringEquals", "iam:PassedToService", service)
    }

    /// Denies everyone what does not come over TLS.
    pub(crate) fn deny_plain_text(action: &'static str, resources: impl IntoIterator<Item = Intrinsic>) -> Self {
        let mut statement = Statement::allow("DenyPlainText", [action], resources);
        statement.effect = Effect::Deny;
        statement.by(Principal::Aws("*".into())).when("Bool", "aws:SecureTransport", "false")
    }

    /// Denies everyone to hand a key on, except to the services of AWS that work for them.
    pub(crate) fn deny_grants() -> Self {
        let mut statement = Statement::grant("DenyGrants", Principal::Aws("*".into()), ["kms:CreateGrant"])
            .when("BoolIfExists", "kms:GrantIsForAWSResource", "false")
            .when("BoolIfExists", "aws:PrincipalIsAWSService", "false");
        statement.effect = Effect::Deny;
        statement
    }

    /// Allows a principal actions on the very resource that the policy belongs to.
    pub(crate) fn grant(
        sid: &'static str,
        principal: Principal,
        actions: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let mut statement = Statement::allow(sid, actions, []);
        statement.resource = vec!["*".into()];
        statement.by(principal)
    }

    /// For this principal: in the policy of a resource.
    #[must_use]
    pub(crate) fn by(mut self, principal: Principal) -> Self {
        self.principal = Some(principal);
        self
    }

    /// Only under a condition.
    #[must_use]
    pub(crate) fn when(mut self, operator: &str, key: &str, value: impl Into<Value<String>>) -> Self {
        let entry = self.condition.entry(operator).or_insert_with(|| Map::new().into());
        if let Json::Object(entry) = entry {
            entry.insert(key.to_owned(), to_json(&value.into()));
        }
        self
    }

    /// Why the resource is `*`, if it is.
    pub(crate) const fn reason(&self) -> Option<&'static str> {
        self.reason
    }

    /// Only for resources of the stack's own account: no other account can make the service act for it.
    #[must_use]
    pub(crate) fn for_own_account(self) -> Self {
        self.when("StringEquals", "aws:SourceAccount", ACCOUNT)
    }
}

/// A policy document.
pub(crate) fn document(statements: &[Statement]) -> Json {
    serde_json::json!({"Version": "2012-10-17", "Statement": to_json(&statements)})
}

/// A role that one AWS service assumes, with one inline policy.
pub(crate) fn role(name: String, description: &str, service: &str, statements: Vec<Statement>) -> Resource<Role> {
    let trust = Statement::allow("Assume", ["sts:AssumeRole"], []).by(Principal::service(service));
    let policies = (!statements.is_empty()).then(|| vec![Policy::new(document(&statements), name.as_str())]);
    let role = Role {
        role_name: Some(name.into()),
        description: Some(description.into()),
        policies,
        ..Role::new(document(&[trust]))
    };
    statements
        .iter()
        .filter_map(|statement| Some((statement.sid, statement.reason?)))
        .fold(Resource::new(role), |role, (sid, reason)| role.because(sid, reason))
}
