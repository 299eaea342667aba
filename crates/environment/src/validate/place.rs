//! Where an environment is: account, network and edge.

use super::{Check, is_account, is_region, parse_cidr};
use crate::settings::{Endpoint, Environment, Nat};

pub(super) fn location(environment: &Environment, check: &mut Check<'_>) {
    if let Some(account) = &environment.location.account {
        check.require(
            is_account(account),
            "where.account",
            || format!("`{account}` is no AWS account"),
            "twelve digits in quotes, or no account at all for the embedded endpoint",
        );
    }
    if let Some(region) = &environment.location.region {
        check.require(
            is_region(region),
            "where.region",
            || format!("`{region}` is no AWS region"),
            "such as ap-northeast-1",
        );
    }
}

pub(super) fn network(environment: &Environment, check: &mut Check<'_>) {
    let network = &environment.network;
    check.require(
        parse_cidr(&network.cidr).is_some_and(|(address, bits)| (16..=20).contains(&bits) && address << bits == 0),
        "network.cidr",
        || format!("`{}` is no address range for a VPC", network.cidr),
        "a network address with a prefix of 16 to 20 bits, such as 10.20.0.0/16",
    );
    check.require(
        (2..=3).contains(&network.zones),
        "network.zones",
        || format!("{} zones are not supported", network.zones),
        "a load balancer needs 2, and 3 is the most every region has",
    );
    let mut seen = network.endpoints.clone();
    seen.sort_unstable();
    seen.dedup();
    check.require(
        seen.len() == network.endpoints.len(),
        "network.endpoints",
        || "an endpoint is listed twice".to_owned(),
        "list each endpoint once",
    );
    if network.nat == Nat::None {
        let mut needed = vec![Endpoint::S3, Endpoint::EcrApi, Endpoint::EcrDkr, Endpoint::Logs];
        if !environment.secrets.is_empty() {
            needed.push(Endpoint::Secretsmanager);
        }
        if !environment.parameters.is_empty() {
            needed.push(Endpoint::Ssm);
        }
        let present = environment.endpoints();
        needed.retain(|endpoint| !present.contains(endpoint));
        check.require(
            needed.is_empty(),
            "network.endpoints",
            || {
                let names: Vec<_> = needed.iter().map(|endpoint| endpoint.service().replace('.', "-")).collect();
                format!("without NAT, tasks cannot start: no endpoint for {}", names.join(", "))
            },
            "add them to network.endpoints, or set network.nat to single",
        );
    }
}

pub(super) fn edge(environment: &Environment, check: &mut Check<'_>) {
    let edge = &environment.edge;
    check.require(edge.port != 0, "edge.port", || "port 0 cannot be listened on".to_owned(), "1 to 65535");
    check.require(edge.test_port != 0, "edge.test_port", || "port 0 cannot be listened on".to_owned(), "1 to 65535");
    check.require(
        edge.port != edge.test_port,
        "edge.test_port",
        || format!("port {} is the production listener's", edge.test_port),
        "give the test listener a port of its own",
    );
    check.require(
        edge.domain.is_none() || edge.certificate.is_some(),
        "edge.domain",
        || "a domain needs a certificate".to_owned(),
        "add edge.certificate with the ARN of its ACM certificate",
    );
    if let Some(certificate) = &edge.certificate {
        check.require(
            certificate.starts_with("arn:") && certificate.contains(":acm:"),
            "edge.certificate",
            || format!("`{certificate}` is no certificate's ARN"),
            "the ARN of a certificate in ACM in the environment's region",
        );
    }
    for range in &edge.test_sources {
        check.require(
            parse_cidr(range).is_some_and(|(_, bits)| bits > 0),
            "edge.test_sources",
            || format!("`{range}` may not be a source of test traffic"),
            "an IPv4 range that is not the whole internet, such as 203.0.113.0/24",
        );
    }
}
