//! IAM: who may do what to which resource.

use super::document::Field;
use super::{Report, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "wildcard-action",
        finds: "permissions for all actions of a service, or of all services",
        check: wildcard_action,
    },
    Rule {
        name: "wildcard-resource",
        finds: "permissions on everything where AWS can narrow them",
        check: wildcard_resource,
    },
    Rule { name: "pass-role", finds: "permission to pass any role, or to any service", check: pass_role },
    Rule { name: "public-principal", finds: "policies that let anybody in", check: public_principal },
    Rule { name: "managed-policy", finds: "roles with far more than they need", check: managed_policy },
    Rule { name: "policy-document", finds: "policy documents that IAM refuses", check: document },
];

/// Actions that AWS does not restrict to resources: on `*` or not at all.
const UNSCOPED: &[&str] = &[
    "application-autoscaling:",
    "autoscaling:Describe",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetMetricData",
    "cloudwatch:ListMetrics",
    "cloudwatch:PutMetricData",
    "codedeploy:GetDeploymentConfig",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:Describe",
    "ecr:GetAuthorizationToken",
    "ecs:CreateTaskSet",
    "ecs:DeregisterTaskDefinition",
    "ecs:DescribeTaskDefinition",
    "ecs:DiscoverPollEndpoint",
    "ecs:ListServices",
    "ecs:ListTasks",
    "ecs:RegisterTaskDefinition",
    "elasticloadbalancing:Describe",
    "iam:ListUsers",
    "iam:UpdateAccountPasswordPolicy",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    "secretsmanager:GetRandomPassword",
    "sts:GetCallerIdentity",
    "xray:",
];

/// A list of statements, and whether it belongs to the resource that it protects.
struct Policy<'a> {
    statements: Vec<Field<'a>>,
    of_resource: bool,
}

/// All policies of all templates, except who may assume a role.
fn policies<'a>(report: &Report<'a>) -> Vec<Policy<'a>> {
    let mut found = Vec::new();
    for (kind, properties) in report.all() {
        let documents = match kind {
            "AWS::IAM::Role" | "AWS::IAM::User" | "AWS::IAM::Group" => {
                properties.at("Policies").items().iter().map(|policy| policy.at("PolicyDocument")).collect()
            }
            "AWS::EC2::VPCEndpoint"
            | "AWS::S3::BucketPolicy"
            | "AWS::SNS::TopicPolicy"
            | "AWS::SQS::QueuePolicy"
            | "AWS::IAM::Policy"
            | "AWS::IAM::ManagedPolicy"
            | "AWS::IAM::RolePolicy" => vec![properties.at("PolicyDocument")],
            "AWS::KMS::Key" => vec![properties.at("KeyPolicy")],
            "AWS::ECR::Repository" => vec![properties.at("RepositoryPolicyText")],
            "AWS::SecretsManager::ResourcePolicy" => vec![properties.at("ResourcePolicy")],
            _ => Vec::new(),
        };
        let of_resource = !kind.starts_with("AWS::IAM::");
        let statements = documents.iter().flat_map(|document| document.at("Statement").items());
        found.push(Policy { statements: statements.collect(), of_resource });
    }
    found
}

fn allowed<'a>(report: &Report<'a>, of_resource: bool) -> Vec<Field<'a>> {
    let policies = policies(report).into_iter().filter(|policy| policy.of_resource == of_resource);
    policies.flat_map(|policy| policy.statements).filter(|of| of.at("Effect").text() == Some("Allow")).collect()
}

fn trusts<'a>(report: &Report<'a>) -> Vec<Field<'a>> {
    report
        .resources("AWS::IAM::Role")
        .flat_map(|role| role.at("AssumeRolePolicyDocument").at("Statement").items())
        .collect()
}

fn wildcard_action(report: &mut Report<'_>) {
    for statement in allowed(report, false) {
        for action in statement.at("Action").items() {
            let wide = action.text().is_some_and(|text| text == "*" || text.ends_with(":*"));
            let problem = || format!("allows `{}`", action.text().unwrap_or_default());
            report.require(!wide, &action, problem, "name the actions one by one");
        }
        let inverted = statement.at("NotAction");
        report.require(!inverted.exists(), &inverted, || "allows all but a few actions".into(), "name what is allowed");
    }
}

fn wildcard_resource(report: &mut Report<'_>) {
    for statement in allowed(report, false) {
        let resources = statement.at("Resource");
        if !resources.texts().contains(&"*") {
            continue;
        }
        let scoped = statement.at("Condition").exists();
        let actions = statement.at("Action").texts();
        let narrow = actions.iter().find(|action| !UNSCOPED.iter().any(|free| action.starts_with(free)));
        let problem = || format!("`{}` is allowed on everything", narrow.unwrap_or(&""));
        report.require(
            scoped || narrow.is_none(),
            &resources,
            problem,
            "name the resources, or narrow them by a condition",
        );
    }
}

fn pass_role(report: &mut Report<'_>) {
    for statement in allowed(report, false) {
        let actions = statement.at("Action").texts();
        if !actions.iter().any(|action| action.eq_ignore_ascii_case("iam:PassRole")) {
            continue;
        }
        let resources = statement.at("Resource");
        let wide = resources.items().iter().any(|role| role.rendered().is_some_and(|text| text.contains('*')));
        report.require(!wide, &resources, || "any role may be passed".into(), "name exactly the roles");
        let condition = statement.at("Condition");
        let to = ["StringEquals", "StringLike"].iter().any(|of| condition.at(of).at("iam:PassedToService").exists());
        report.require(to, &condition, || "roles may be passed to any service".into(), "add iam:PassedToService");
    }
}

fn public_principal(report: &mut Report<'_>) {
    for statement in allowed(report, true).into_iter().chain(trusts(report)) {
        let principal = statement.at("Principal");
        let all = principal.texts().contains(&"*") || principal.at("AWS").texts().contains(&"*");
        let open = all && !statement.at("Condition").exists() && statement.at("Effect").text() == Some("Allow");
        // An endpoint's policy narrows what the caller's own policy allows.
        let endpoint = statement.whole_resource()["Type"] == "AWS::EC2::VPCEndpoint";
        let hint = "name the principals, or narrow them by a condition";
        report.require(!open || endpoint, &principal, || "anybody is let in".into(), hint);
    }
}

fn managed_policy(report: &mut Report<'_>) {
    for role in report.resources("AWS::IAM::Role") {
        for policy in role.at("ManagedPolicyArns").items() {
            let name = policy.rendered().and_then(|arn| Some(arn.rsplit_once('/')?.1.to_owned())).unwrap_or_default();
            let wide = matches!(name.as_str(), "AdministratorAccess" | "PowerUserAccess" | "IAMFullAccess")
                || name.ends_with("FullAccess");
            let hint = "write a policy with the actions that are needed";
            report.require(!wide, &policy, || format!("`{name}` allows far more than one role needs"), hint);
        }
    }
}

fn document(report: &mut Report<'_>) {
    let trusts = trusts(report);
    for statement in &trusts {
        let resource = statement.at("Resource");
        let hint = "remove Resource: a role is assumed, nothing else";
        report.require(!resource.exists(), &resource, || "who may assume a role names no resource".into(), hint);
    }
    for policy in policies(report) {
        for statement in &policy.statements {
            let effect = statement.at("Effect");
            let known = matches!(effect.text(), Some("Allow" | "Deny"));
            report.require(known, &effect, || "is neither Allow nor Deny".into(), "write Allow or Deny");
            let named = statement.at("Resource").exists() || statement.at("NotResource").exists();
            report.require(named || policy.of_resource, statement, || "names no resource".into(), "add Resource");
            for action in statement.at("Action").items() {
                let shaped = action.text().is_none_or(|text| text == "*" || text.contains(':'));
                report.require(shaped, &action, || "is no action".into(), "write service:Action");
            }
        }
    }
}
