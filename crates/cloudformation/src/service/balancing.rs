//! The load balancer, both target groups and both listeners.

use environment::{Environment, Project, Span};

use super::url;
use crate::names::Names;
use crate::network::Imports;
use crate::resources::elasticloadbalancingv2::listener::{
    Action, ActionType, Certificate, ForwardConfig, ListenerProtocol, TargetGroupTuple,
};
use crate::resources::elasticloadbalancingv2::load_balancer::{
    LoadBalancerAttribute, LoadBalancerScheme, LoadBalancerType,
};
use crate::resources::elasticloadbalancingv2::target_group::{
    Matcher, TargetGroupAttribute, TargetGroupHealthCheckProtocol, TargetGroupProtocol, TargetGroupTargetType,
};
use crate::resources::elasticloadbalancingv2::{Listener, LoadBalancer, TargetGroup};
use crate::template::{Handle, Template};
use crate::value::Value;

/// TLS 1.2 and 1.3 with forward secrecy.
const TLS_POLICY: &str = "ELBSecurityPolicy-TLS13-1-2-2021-06";

/// What deployments move between.
pub(super) struct Balancer {
    pub(super) blue: Handle<TargetGroup>,
    pub(super) green: Handle<TargetGroup>,
    pub(super) production: Handle<Listener>,
    pub(super) test: Handle<Listener>,
}

pub(super) fn add(template: &mut Template, environment: &Environment, names: Names<'_>) -> Balancer {
    let network = Imports(names);
    let subnets = (1..=environment.network.zones).map(|zone| network.public_subnet(zone).into());
    let attributes = [
        ("deletion_protection.enabled", environment.protection.termination.to_string()),
        ("routing.http.drop_invalid_header_fields.enabled", "true".to_owned()),
    ];
    let load_balancer = template.add(
        "LoadBalancer",
        LoadBalancer {
            name: Some(names.environment_wide().into()),
            scheme: Some(LoadBalancerScheme::InternetFacing.into()),
            subnets: Some(subnets.collect()),
            security_groups: Some(vec![network.load_balancer_group().into()]),
            load_balancer_attributes: Some(attributes.map(attribute).to_vec()),
            r#type: Some(LoadBalancerType::Application.into()),
            ..LoadBalancer::default()
        },
    );
    let blue = template.add("BlueTargetGroup", target_group(environment, names, "blue"));
    let green = template.add("GreenTargetGroup", target_group(environment, names, "green"));
    // Both listeners begin at blue. From the first deployment on, CodeDeploy moves them.
    let production = listener(environment, &load_balancer, &blue, environment.edge.port);
    let production = template.add("ProductionListener", production);
    let test = listener(environment, &load_balancer, &blue, environment.edge.test_port);
    let test = template.add("TestListener", test);

    let address = url(environment, load_balancer.dns_name(), environment.edge.port);
    let exported = format!("{}-Url", names.service_stack());
    template.export("Url", "Where customers reach the service", &address, &exported);
    let address = url(environment, load_balancer.dns_name(), environment.edge.test_port);
    template.output("TestUrl", "Where a new version is tried before it takes production traffic", &address);
    let outputs = [
        ("LoadBalancerArn", "The load balancer", load_balancer.reference()),
        ("BlueTargetGroupArn", "Target group of the first version", blue.reference()),
        ("GreenTargetGroupArn", "Target group of the second version", green.reference()),
        ("ProductionListenerArn", "Listener of production traffic", production.reference()),
        ("TestListenerArn", "Listener of test traffic", test.reference()),
    ];
    for (name, description, value) in outputs {
        template.output(name, description, &value);
    }
    Balancer { blue, green, production, test }
}

fn attribute((key, value): (&str, String)) -> LoadBalancerAttribute {
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

fn listener(
    environment: &Environment,
    load_balancer: &Handle<LoadBalancer>,
    target_group: &Handle<TargetGroup>,
    port: u16,
) -> Listener {
    let target = TargetGroupTuple { target_group_arn: Some(target_group.reference().into()), weight: Some(1.into()) };
    let forward = ForwardConfig { target_groups: Some(vec![target]), ..ForwardConfig::default() };
    let forward = Action { forward_config: Some(forward), ..Action::new(ActionType::Forward) };
    let listener =
        Listener { port: Some(i64::from(port).into()), ..Listener::new(vec![forward], load_balancer.reference()) };
    match &environment.edge.certificate {
        None => Listener { protocol: Some(ListenerProtocol::Http.into()), ..listener },
        Some(certificate) => Listener {
            protocol: Some(ListenerProtocol::Https.into()),
            ssl_policy: Some(TLS_POLICY.into()),
            certificates: Some(vec![Certificate { certificate_arn: Some(certificate.as_str().into()) }]),
            ..listener
        },
    }
}
