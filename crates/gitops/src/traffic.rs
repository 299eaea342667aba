//! How requests arrive, and who else may talk to whom.

use std::collections::BTreeMap;

use environment::{Environment, Project};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, IPBlock, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec, ServiceBackendPort,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::workload::{PORT, labels, metadata, selector};

/// TLS 1.2 and 1.3 with forward secrecy.
const TLS_POLICY: &str = "ELBSecurityPolicy-TLS13-1-2-2021-06";

pub(crate) fn service() -> Service {
    Service {
        metadata: metadata(),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(labels()),
            ports: Some(vec![ServicePort {
                name: Some(PORT.to_owned()),
                port: 80,
                target_port: Some(IntOrString::String(PORT.to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// An application load balancer, as the AWS Load Balancer Controller makes it, straight to the pods.
pub(crate) fn ingress(project: &Project, environment: &Environment) -> Ingress {
    let edge = &environment.edge;
    let health = &environment.health_check;
    let name = format!("{}-{}-k8s", project.name, environment.name);
    let mut settings = BTreeMap::from([
        ("load-balancer-name", name),
        ("scheme", "internet-facing".to_owned()),
        ("target-type", "ip".to_owned()),
        ("healthcheck-path", health.path.clone()),
        ("healthcheck-interval-seconds", health.interval.as_seconds().to_string()),
        ("healthcheck-timeout-seconds", health.timeout.as_seconds().to_string()),
        ("healthy-threshold-count", health.healthy_threshold.to_string()),
        ("unhealthy-threshold-count", health.unhealthy_threshold.to_string()),
        (
            "target-group-attributes",
            format!("deregistration_delay.timeout_seconds={}", health.deregistration_delay.as_seconds()),
        ),
        (
            "load-balancer-attributes",
            format!(
                "deletion_protection.enabled={},routing.http.drop_invalid_header_fields.enabled=true",
                environment.protection.termination
            ),
        ),
    ]);
    match &edge.certificate {
        Some(certificate) => {
            settings.insert("listen-ports", format!(r#"[{{"HTTP": 80}}, {{"HTTPS": {}}}]"#, edge.port));
            settings.insert("ssl-redirect", edge.port.to_string());
            settings.insert("certificate-arn", certificate.clone());
            settings.insert("ssl-policy", TLS_POLICY.to_owned());
        }
        None => drop(settings.insert("listen-ports", format!(r#"[{{"HTTP": {}}}]"#, edge.port))),
    }
    let annotations = settings.into_iter().map(|(key, value)| (format!("alb.ingress.kubernetes.io/{key}"), value));
    let mut metadata = metadata();
    metadata.annotations = Some(annotations.collect());
    let path = HTTPIngressPath {
        path: Some("/".to_owned()),
        path_type: "Prefix".to_owned(),
        backend: IngressBackend {
            service: Some(IngressServiceBackend {
                name: Project::SERVICE.to_owned(),
                port: Some(ServiceBackendPort { name: Some(PORT.to_owned()), number: None }),
            }),
            resource: None,
        },
    };
    Ingress {
        metadata,
        spec: Some(IngressSpec {
            ingress_class_name: Some("alb".to_owned()),
            rules: Some(vec![IngressRule {
                host: edge.domain.clone(),
                http: Some(HTTPIngressRuleValue { paths: vec![path] }),
            }]),
            ..IngressSpec::default()
        }),
        ..Ingress::default()
    }
}

/// In from the VPC's load balancer, out to names and to HTTPS; nothing else.
pub(crate) fn network_policy(environment: &Environment) -> NetworkPolicy {
    let port = |number: u16, protocol: &str| NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    };
    let vpc = NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: environment.network.cidr.clone(), except: None }),
        ..NetworkPolicyPeer::default()
    };
    NetworkPolicy {
        metadata: metadata(),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector()),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(vec![vpc]),
                ports: Some(vec![port(Project::CONTAINER_PORT, "TCP")]),
            }]),
            egress: Some(vec![NetworkPolicyEgressRule {
                to: None,
                ports: Some(vec![port(53, "UDP"), port(53, "TCP"), port(443, "TCP")]),
            }]),
        }),
    }
}
