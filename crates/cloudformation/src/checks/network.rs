//! Address ranges, security groups and endpoints.

use std::net::Ipv4Addr;

use super::document::Field;
use super::{Report, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "subnet-range", finds: "subnets that overlap, or lie outside their VPC", check: subnet_range },
    Rule {
        name: "open-ingress",
        finds: "security groups open to the world for more than one service",
        check: open_ingress,
    },
    Rule { name: "task-ingress", finds: "tasks that others than the load balancer reach", check: task_ingress },
    Rule { name: "explicit-egress", finds: "security groups that let everything out without saying so", check: egress },
    Rule { name: "endpoint-reach", finds: "VPC endpoints that nothing reaches", check: endpoints },
    Rule { name: "route-target", finds: "routes to nowhere", check: routes },
];

/// First and last address.
type Range = (u32, u32);

fn range(cidr: &str) -> Option<Range> {
    let (address, bits) = cidr.split_once('/')?;
    let address = u32::from(address.parse::<Ipv4Addr>().ok()?);
    let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32)?;
    let size = u32::MAX.checked_shr(bits).unwrap_or(0);
    (address & size == 0).then_some((address, address | size))
}

fn subnet_range(report: &mut Report<'_>) {
    let subnets: Vec<_> = report.resources("AWS::EC2::Subnet").collect();
    let vpc = |subnet: &Field<'_>| subnet.at("VpcId").json().clone();
    for (index, subnet) in subnets.iter().enumerate() {
        let field = subnet.at("CidrBlock");
        let Some(text) = field.text() else { continue };
        let Some((first, last)) = range(text) else {
            report.add(&field, format!("`{text}` is no address range"), "a network address with its prefix");
            continue;
        };
        let within = subnet.at("VpcId").target().and_then(|vpc| range(vpc.at("CidrBlock").text()?));
        let inside = within.is_none_or(|(low, high)| low <= first && last <= high);
        report.require(inside, &field, || format!("{text} is outside its VPC"), "take a part of the VPC's range");
        let overlaps = subnets[..index].iter().find(|other| {
            let same = other.place().0 == subnet.place().0 && vpc(other) == vpc(subnet);
            let range = other.at("CidrBlock").text().and_then(range);
            same && range.is_some_and(|(low, high)| low <= last && first <= high)
        });
        let problem = || format!("{text} overlaps with {}", overlaps.map_or("", |other| other.place().1));
        report.require(overlaps.is_none(), &field, problem, "give each subnet a range of its own");
    }
}

fn ingress<'a>(report: &Report<'a>) -> Vec<Field<'a>> {
    let inside = report.resources("AWS::EC2::SecurityGroup").flat_map(|group| group.at("SecurityGroupIngress").items());
    inside.chain(report.resources("AWS::EC2::SecurityGroupIngress")).collect()
}

fn is_world(rule: &Field<'_>) -> bool {
    rule.at("CidrIp").text() == Some("0.0.0.0/0") || rule.at("CidrIpv6").text() == Some("::/0")
}

fn open_ingress(report: &mut Report<'_>) {
    for rule in ingress(report).iter().filter(|rule| is_world(rule)) {
        let (from, to) = (rule.at("FromPort").number(), rule.at("ToPort").number());
        let one = from.is_some() && from == to && rule.at("IpProtocol").text() != Some("-1");
        let administration = from.is_some_and(|port| [22.0, 3389.0].contains(&port));
        let hint = "open one port of the load balancer, and reach machines through Session Manager";
        report.require(one && !administration, rule, || "is open to the whole internet".into(), hint);
    }
}

/// The security groups of services that run in a VPC.
fn task_ingress(report: &mut Report<'_>) {
    let networks = report
        .resources("AWS::ECS::Service")
        .map(|service| service.at("NetworkConfiguration").at("AwsvpcConfiguration"));
    let groups: Vec<_> =
        networks.flat_map(|network| network.at("SecurityGroups").items()).filter_map(|group| group.target()).collect();
    for group in groups {
        let separate = report
            .resources("AWS::EC2::SecurityGroupIngress")
            .filter(|rule| rule.at("GroupId").target().is_some_and(|target| target.same_resource(&group)));
        let rules: Vec<_> = group.at("SecurityGroupIngress").items().into_iter().chain(separate).collect();
        for rule in rules {
            let by_group = rule.at("SourceSecurityGroupId").exists();
            let hint = "let only the load balancer's security group in";
            report.require(by_group, &rule, || "addresses reach the tasks directly".into(), hint);
        }
    }
}

fn egress(report: &mut Report<'_>) {
    for group in report.resources("AWS::EC2::SecurityGroup") {
        let field = group.at("SecurityGroupEgress");
        let separate = report
            .resources("AWS::EC2::SecurityGroupEgress")
            .any(|rule| rule.at("GroupId").target().is_some_and(|target| target.same_resource(&group)));
        let hint = "write SecurityGroupEgress with what has to go out";
        report.require(field.exists() || separate, &field, || "everything goes out by default".into(), hint);
    }
}

fn endpoints(report: &mut Report<'_>) {
    for endpoint in report.resources("AWS::EC2::VPCEndpoint") {
        let interface = endpoint.at("VpcEndpointType").text() == Some("Interface");
        let needed: &[&str] = if interface { &["SubnetIds", "SecurityGroupIds"] } else { &["RouteTableIds"] };
        for field in needed.iter().map(|name| endpoint.at(name)) {
            report.require(
                !field.items().is_empty(),
                &field,
                || "nothing reaches the endpoint".into(),
                "name where it is",
            );
        }
        let names = endpoint.at("PrivateDnsEnabled");
        let hint = "set PrivateDnsEnabled";
        let problem = || "clients keep asking the public address".into();
        report.require(!interface || names.may_be_true(), &names, problem, hint);
    }
}

fn routes(report: &mut Report<'_>) {
    for route in report.resources("AWS::EC2::Route") {
        let ways = [
            "GatewayId",
            "NatGatewayId",
            "TransitGatewayId",
            "VpcPeeringConnectionId",
            "NetworkInterfaceId",
            "InstanceId",
            "EgressOnlyInternetGatewayId",
            "VpcEndpointId",
        ];
        let count = ways.iter().filter(|way| route.at(way).exists()).count();
        report.require(count == 1, &route, || format!("has {count} targets"), "name exactly one target");
    }
    for gateway in report.resources("AWS::EC2::NatGateway") {
        let public = gateway.at("ConnectivityType").text() != Some("private");
        let address = gateway.at("AllocationId");
        let hint = "give the gateway an elastic address";
        report.require(!public || address.exists(), &address, || "has no public address".into(), hint);
    }
}
