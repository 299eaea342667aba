//! The load balancer, both target groups and both listeners.

use environment::{Engine, Environment, Project, Span};

use super::{export, url};
use crate::data;
use crate::names::Names;
use crate::network::Imports;
use crate::resources::elasticloadbalancingv2::listener::{
    Action, ActionType, Certificate, FixedResponseConfig, ForwardConfig, ListenerProtocol, RedirectConfig,
    RedirectConfigStatusCode, TargetGroupTuple,
};
use crate::resources::elasticloadbalancingv2::listener_rule as rule;
use crate::resources::elasticloadbalancingv2::load_balancer::{
    LoadBalancerAttribute, LoadBalancerScheme, LoadBalancerType,
};
use crate::resources::elasticloadbalancingv2::target_group::{
    Matcher, TargetGroupAttribute, TargetGroupHealthCheckProtocol, TargetGroupProtocol, TargetGroupTargetType,
};
use crate::resources::elasticloadbalancingv2::{Listener, ListenerRule, LoadBalancer, TargetGroup};
use crate::template::{Handle, Resource, Template};
use crate::value::Value;

/// TLS 1.2 and 1.3 with forward secrecy.
const TLS_POLICY: &str = "ELBSecurityPolicy-TLS13-1-2-2021-06";

/// Seconds that a connection may be silent. Streamed replies send a sign of life more often.
const IDLE_TIMEOUT: &str = "120";

/// What deployments move between.
pub(super) struct Balancer {
    pub(super) load_balancer: Handle<LoadBalancer>,
    pub(super) blue: Handle<TargetGroup>,
    pub(super) green: Handle<TargetGroup>,
    pub(super) production: Handle<Listener>,
    pub(super) test: Handle<Listener>,
    /// The rules that ECS moves; CodeDeploy moves the listeners' default actions.
    pub(super) rules: Option<Rules>,
}

/// A rule for every path of each listener.
pub(super) struct Rules {
    pub(super) production: Handle<ListenerRule>,
    pub(super) test: Handle<ListenerRule>,
}

pub(super) fn add(template: &mut Template, environment: &Environment, names: Names<'_>) -> Balancer {
    let load_balancer = template.add("LoadBalancer", load_balancer(environment, names));
    let blue = template.add("BlueTargetGroup", target_group(environment, names, "blue"));
    let green = template.add("GreenTargetGroup", target_group(environment, names, "green"));
    let native = environment.deployment.engine == Engine::Ecs;
    // Both listeners begin at blue. From the first deployment on, the engine moves them.
    let action = || if native { not_found() } else { forward([(&blue, 1)]) };
    let production = listener(environment, &load_balancer, action(), environment.edge.port);
    let production = template.add("ProductionListener", production);
    let test = listener(environment, &load_balancer, action(), environment.edge.test_port);
    let test = template.add("TestListener", test);
    if environment.edge.redirects_http() {
        template.add("RedirectListener", redirect(&load_balancer, environment.edge.port));
    }
    let rules = native.then(|| Rules {
        production: template.add("ProductionRule", every_path(&production, &blue, &green)),
        test: template.add("TestRule", every_path(&test, &blue, &green)),
    });
    let balancer = Balancer { load_balancer, blue, green, production, test, rules };
    outputs(template, environment, names, &balancer);
    balancer
}

fn outputs(template: &mut Template, environment: &Environment, names: Names<'_>, balancer: &Balancer) {
    let address = url(environment, balancer.load_balancer.dns_name(), environment.edge.port);
    template.export("Url", "Where customers reach the service", &address, &export(names, "Url"));
    let address = url(environment, balancer.load_balancer.dns_name(), environment.edge.test_port);
    template.output("TestUrl", "Where a new version is tried before it takes production traffic", &address);
    let outputs = [
        ("LoadBalancerArn", "The load balancer", balancer.load_balancer.reference()),
        ("BlueTargetGroupArn", "Target group of the first version", balancer.blue.reference()),
        ("GreenTargetGroupArn", "Target group of the second version", balancer.green.reference()),
        ("ProductionListenerArn", "Listener of production traffic", balancer.production.reference()),
        ("TestListenerArn", "Listener of test traffic", balancer.test.reference()),
    ];
    for (name, description, value) in outputs {
        template.output(name, description, &value);
    }
}

fn load_balancer(environment: &Environment, names: Names<'_>) -> LoadBalancer {
    let network = Imports(names);
    let subnets = (1..=environment.network.zones).map(|zone| network.public_subnet(zone).into());
    let mut attributes = vec![
        attribute("deletion_protection.enabled", environment.protection.termination.to_string()),
        attribute("routing.http.drop_invalid_header_fields.enabled", "true"),
        attribute("idle_timeout.timeout_seconds", IDLE_TIMEOUT),
    ];
    if let Some(bucket) = data::Imports::new(names, environment).access_logs() {
        attributes.extend([
            attribute("access_logs.s3.enabled", "true"),
            attribute("access_logs.s3.bucket", bucket),
            attribute("access_logs.s3.prefix", "load-balancer"),
        ]);
    }
    LoadBalancer {
        name: Some(names.environment_wide().into()),
        scheme: Some(LoadBalancerScheme::InternetFacing.into()),
        subnets: Some(subnets.collect()),
        security_groups: Some(vec![network.load_balancer_group().into()]),
        load_balancer_attributes: Some(attributes),
        r#type: Some(LoadBalancerType::Application.into()),
        ..LoadBalancer::default()
    }
}

fn attribute(key: &str, value: impl Into<Value<String>>) -> LoadBalancerAttribute {
    LoadBalancerAttribute { key: Some(key.into()), value: Some(value.into()) }
}

fn target_group(environment: &Environment, names: Names<'_>, colour: &str) -> TargetGroup {
    let health = &environment.health_check;
    let attributes = [
        ("deregistration_delay.timeout_seconds", health.deregistration_delay.as_seconds().to_string()),
        ("stickiness.enabled", "false".to_owned()),
    ];
    let attribute =
        |(key, value): (&str, String)| TargetGroupAttribute { key: Some(key.into()), value: Some(value.into()) };
    TargetGroup {
        name: Some(names.target_group(colour).into()),
        // Tasks of Fargate have addresses of their own; there is no instance to register.
        target_type: Some(TargetGroupTargetType::Ip.into()),
        port: Some(i64::from(Project::CONTAINER_PORT).into()),
        protocol: Some(TargetGroupProtocol::Http.into()),
        vpc_id: Some(Imports(names).vpc().into()),
        health_check_enabled: Some(true.into()),
        health_check_path: Some(health.path.as_str().into()),
        health_check_protocol: Some(TargetGroupHealthCheckProtocol::Http.into()),
        health_check_interval_seconds: Some(seconds(health.interval)),
        health_check_timeout_seconds: Some(seconds(health.timeout)),
        healthy_threshold_count: Some(i64::from(health.healthy_threshold).into()),
        unhealthy_threshold_count: Some(i64::from(health.unhealthy_threshold).into()),
        matcher: Some(Matcher { http_code: Some("200".into()), ..Matcher::default() }),
        target_group_attributes: Some(attributes.map(attribute).to_vec()),
        ..TargetGroup::default()
    }
}

fn seconds(span: Span) -> Value<i64> {
    i64::try_from(span.as_seconds()).unwrap_or(i64::MAX).into()
}

/// To target groups by weight.
fn forward<'a>(groups: impl IntoIterator<Item = (&'a Handle<TargetGroup>, i64)>) -> Action {
    let targets = groups.into_iter().map(|(group, weight)| TargetGroupTuple {
        target_group_arn: Some(group.reference().into()),
        weight: Some(weight.into()),
    });
    let config = ForwardConfig { target_groups: Some(targets.collect()), ..ForwardConfig::default() };
    Action { forward_config: Some(config), ..Action::new(ActionType::Forward) }
}

/// What no rule takes: nothing, since the rules take every path.
fn not_found() -> Action {
    let answer = FixedResponseConfig { content_type: Some("text/plain".into()), ..FixedResponseConfig::new("404") };
    Action { fixed_response_config: Some(answer), ..Action::new(ActionType::FixedResponse) }
}

fn listener(
    environment: &Environment,
    load_balancer: &Handle<LoadBalancer>,
    action: Action,
    port: u16,
) -> Resource<Listener> {
    let listener =
        Listener { port: Some(i64::from(port).into()), ..Listener::new(vec![action], load_balancer.reference()) };
    Resource::new(match &environment.edge.certificate {
        None => Listener { protocol: Some(ListenerProtocol::Http.into()), ..listener },
        Some(certificate) => Listener {
            protocol: Some(ListenerProtocol::Https.into()),
            ssl_policy: Some(TLS_POLICY.into()),
            certificates: Some(vec![Certificate { certificate_arn: Some(certificate.as_str().into()) }]),
            ..listener
        },
    })
}

/// Sends customers who speak plain HTTP on to HTTPS, for good.
fn redirect(load_balancer: &Handle<LoadBalancer>, port: u16) -> Listener {
    let config = RedirectConfig {
        protocol: Some("HTTPS".into()),
        port: Some(port.to_string().into()),
        ..RedirectConfig::new(RedirectConfigStatusCode::Http301)
    };
    let action = Action { redirect_config: Some(config), ..Action::new(ActionType::Redirect) };
    Listener {
        port: Some(80.into()),
        protocol: Some(ListenerProtocol::Http.into()),
        ..Listener::new(vec![action], load_balancer.reference())
    }
}

/// ECS moves rules, and both target groups have to be on each: at first blue has everything.
fn every_path(listener: &Handle<Listener>, blue: &Handle<TargetGroup>, green: &Handle<TargetGroup>) -> ListenerRule {
    let weighted = |group: &Handle<TargetGroup>, weight: i64| rule::TargetGroupTuple {
        target_group_arn: Some(group.reference().into()),
        weight: Some(weight.into()),
    };
    let config = rule::ForwardConfig {
        target_groups: Some(vec![weighted(blue, 1), weighted(green, 0)]),
        ..rule::ForwardConfig::default()
    };
    let action = rule::Action { forward_config: Some(config), ..rule::Action::new(rule::ActionType::Forward) };
    let every = rule::RuleCondition {
        field: Some("path-pattern".into()),
        path_pattern_config: Some(rule::PathPatternConfig {
            values: Some(vec!["/*".into()]),
            ..rule::PathPatternConfig::default()
        }),
        ..rule::RuleCondition::default()
    };
    ListenerRule { listener_arn: Some(listener.reference().into()), ..ListenerRule::new(vec![action], vec![every], 1) }
}
