//! AWS WAF before the load balancer.

use environment::Environment;
use serde_json::json;

use super::balancing::Balancer;
use crate::logs;
use crate::names::Names;
use crate::resources::wafv2::web_acl::{
    AllowAction, BlockAction, DefaultAction, ManagedRuleGroupStatement, OverrideAction, RateBasedStatement,
    RateBasedStatementAggregateKeyType, Rule, RuleAction, Scope, Statement, VisibilityConfig,
};
use crate::resources::wafv2::{LoggingConfiguration, WebACL, WebACLAssociation};
use crate::template::Template;
use crate::value::Intrinsic;

pub(super) fn add(
    template: &mut Template,
    environment: &Environment,
    names: Names<'_>,
    balancer: &Balancer,
    key: Option<Intrinsic>,
) {
    if !environment.security.firewall {
        return;
    }
    let name = names.environment_wide();
    let rules = vec![
        too_many(environment.firewall_rate()),
        managed("AWSManagedRulesCommonRuleSet", 1),
        managed("AWSManagedRulesKnownBadInputsRuleSet", 2),
    ];
    let allow = DefaultAction { allow: Some(AllowAction::default()), ..DefaultAction::default() };
    let acl = WebACL {
        name: Some(name.as_str().into()),
        description: Some("What never reaches the load balancer".into()),
        rules: Some(rules),
        ..WebACL::new(allow, Scope::Regional, seen("all"))
    };
    let acl = template.add("Firewall", acl);
    let association = WebACLAssociation::new(balancer.load_balancer.reference(), acl.arn());
    template.add("FirewallAssociation", association);
    // AWS takes log groups of this beginning only.
    let group = logs::group(format!("aws-waf-logs-{name}"), environment.log_retention(), key);
    let group = template.add("FirewallLogs", group);
    template.add("FirewallLogging", LoggingConfiguration::new(vec![group.arn().into()], acl.arn()));
}

/// One address that asks more often than people do.
fn too_many(requests: u32) -> Rule {
    let rate = RateBasedStatement::new(RateBasedStatementAggregateKeyType::Ip, i64::from(requests));
    let statement = Statement { rate_based_statement: Some(rate), ..Statement::default() };
    let block = RuleAction { block: Some(BlockAction::default()), ..RuleAction::default() };
    Rule { action: Some(block), ..Rule::new("too-many-requests", 0, statement, seen("too-many-requests")) }
}

/// Rules that AWS keeps current.
fn managed(name: &'static str, priority: i64) -> Rule {
    let group = ManagedRuleGroupStatement::new(name, "AWS");
    let statement = Statement { managed_rule_group_statement: Some(group), ..Statement::default() };
    let as_they_say = OverrideAction { none: Some(json!({}).into()), ..OverrideAction::default() };
    Rule { override_action: Some(as_they_say), ..Rule::new(name, priority, statement, seen(name)) }
}

fn seen(metric: &str) -> VisibilityConfig {
    VisibilityConfig::new(true, metric, true)
}
