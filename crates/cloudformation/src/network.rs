//! VPC, subnets, ways out and security groups of an environment.

use std::net::Ipv4Addr;

use environment::{Endpoint, Environment, Nat, Project};
use serde_json::Value as Json;

use crate::data;
use crate::names::Names;
use crate::resources::ec2::flow_log::{FlowLogLogDestinationType, FlowLogResourceType, FlowLogTrafficType};
use crate::resources::ec2::security_group::{Egress, Ingress};
use crate::resources::ec2::vpc_endpoint::VPCEndpointVpcEndpointType;
use crate::resources::ec2::{
    EIP, FlowLog, InternetGateway, NatGateway, Route, RouteTable, SecurityGroup, Subnet, SubnetRouteTableAssociation,
    VPC, VPCEndpoint, VPCGatewayAttachment,
};
use crate::stack::tags;
use crate::sub;
use crate::template::{Handle, Resource, Rule, Template};
use crate::value::{Intrinsic, REGION, Value};

const ANYWHERE: &str = "0.0.0.0/0";

/// What the service stack needs of this one, by import.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Imports<'a>(pub(crate) Names<'a>);

impl Imports<'_> {
    pub(crate) fn vpc(self) -> Intrinsic {
        self.import("VpcId")
    }

    pub(crate) fn public_subnet(self, zone: u8) -> Intrinsic {
        self.import(&format!("PublicSubnet{zone}"))
    }

    pub(crate) fn private_subnet(self, zone: u8) -> Intrinsic {
        self.import(&format!("PrivateSubnet{zone}"))
    }

    pub(crate) fn load_balancer_group(self) -> Intrinsic {
        self.import("LoadBalancerSecurityGroup")
    }

    pub(crate) fn task_group(self) -> Intrinsic {
        self.import("TaskSecurityGroup")
    }

    pub(crate) fn hook_group(self) -> Intrinsic {
        self.import("HookSecurityGroup")
    }

    fn import(self, output: &str) -> Intrinsic {
        Intrinsic::ImportValue(export(self.0, output))
    }
}

fn export(names: Names<'_>, output: &str) -> String {
    format!("{}-{output}", names.network_stack())
}

pub(crate) fn template(project: &Project, environment: &Environment) -> Json {
    let names = Names::new(project, environment.name);
    let description = format!("{}: network of {}", project.name, environment.name);
    let mut template = Template::new(description, tags(project, Some(environment)));
    let vpc = template.add(
        "Vpc",
        VPC {
            cidr_block: Some(environment.network.cidr.as_str().into()),
            enable_dns_hostnames: Some(true.into()),
            enable_dns_support: Some(true.into()),
            ..VPC::default()
        },
    );
    template.export("VpcId", "The VPC", &vpc.reference(), &export(names, "VpcId"));
    flow_log(&mut template, environment, names, &vpc);
    let inside = subnets(&mut template, environment, names, &vpc);
    security_groups(&mut template, environment, names, &vpc, &inside);
    endpoints(&mut template, environment, &vpc, &inside);
    template.finish()
}

/// Who talked to whom, refused connections too.
fn flow_log(template: &mut Template, environment: &Environment, names: Names<'_>, vpc: &Handle<VPC>) {
    let Some(bucket) = data::Imports::new(names, environment).flow_logs() else { return };
    let log = FlowLog {
        log_destination_type: Some(FlowLogLogDestinationType::S3.into()),
        log_destination: Some(Intrinsic::explain("${Bucket}/flow/", [("Bucket", bucket)]).into()),
        traffic_type: Some(FlowLogTrafficType::All.into()),
        max_aggregation_interval: Some(600.into()),
        ..FlowLog::new(vpc.reference(), FlowLogResourceType::Vpc)
    };
    template.add("FlowLog", log);
}

/// The private subnets, their route tables, and the addresses under which they reach the internet.
struct Private {
    subnets: Vec<Handle<Subnet>>,
    tables: Vec<Handle<RouteTable>>,
    addresses: Vec<Handle<EIP>>,
}

/// Public and private subnets with their routes.
fn subnets(template: &mut Template, environment: &Environment, names: Names<'_>, vpc: &Handle<VPC>) -> Private {
    let gateway = template.add("InternetGateway", InternetGateway::default());
    let attachment = template.add(
        "InternetGatewayAttachment",
        VPCGatewayAttachment {
            internet_gateway_id: Some(gateway.reference().into()),
            ..VPCGatewayAttachment::new(vpc.reference())
        },
    );
    let public_table = template.add("PublicRouteTable", RouteTable::new(vpc.reference()));
    let internet = Route {
        destination_cidr_block: Some(ANYWHERE.into()),
        gateway_id: Some(gateway.reference().into()),
        ..Route::new(public_table.reference())
    };
    template.add("PublicRoute", Resource::new(internet).after(&attachment));

    let mut inside = Private { subnets: Vec::new(), tables: Vec::new(), addresses: Vec::new() };
    for zone in 1..=environment.network.zones {
        let public = subnet(template, environment, vpc, zone, "Public");
        let exported = format!("PublicSubnet{zone}");
        template.export(&exported, "For load balancers", &public.reference(), &export(names, &exported));
        associate(template, &format!("PublicSubnet{zone}Routes"), &public_table, &public);

        // One private route table for all zones, unless each zone has a way out of its own.
        if zone == 1 || environment.network.nat == Nat::PerZone {
            let table = template.add(format!("PrivateRouteTable{zone}"), RouteTable::new(vpc.reference()));
            if environment.network.nat != Nat::None {
                inside.addresses.push(nat(template, zone, &public, &table, &attachment));
            }
            inside.tables.push(table);
        }
        let private = subnet(template, environment, vpc, zone, "Private");
        let exported = format!("PrivateSubnet{zone}");
        template.export(&exported, "For tasks", &private.reference(), &export(names, &exported));
        if let Some(table) = inside.tables.last() {
            associate(template, &format!("PrivateSubnet{zone}Routes"), table, &private);
        }
        inside.subnets.push(private);
    }
    inside
}

fn subnet(
    template: &mut Template,
    environment: &Environment,
    vpc: &Handle<VPC>,
    zone: u8,
    kind: &str,
) -> Handle<Subnet> {
    // Sixteen blocks: the public subnets from the first on, the private ones from the ninth.
    let block = u32::from(zone - 1) + if kind == "Public" { 0 } else { 8 };
    let subnet = Subnet {
        availability_zone: Some(Intrinsic::Zone(usize::from(zone - 1)).into()),
        cidr_block: Some(sixteenth(&environment.network.cidr, block).into()),
        map_public_ip_on_launch: Some(false.into()),
        ..Subnet::new(vpc.reference())
    };
    template.add(format!("{kind}Subnet{zone}"), subnet)
}

/// The n-th sixteenth of an address range. The range was checked when the environment was read.
fn sixteenth(cidr: &str, block: u32) -> String {
    let (address, bits) = cidr.split_once('/').unwrap_or((cidr, "16"));
    let base = u32::from(address.parse().unwrap_or(Ipv4Addr::UNSPECIFIED));
    let bits = bits.parse::<u32>().unwrap_or(16) + 4;
    format!("{}/{bits}", Ipv4Addr::from(base + (block << (32 - bits))))
}

fn associate(template: &mut Template, id: &str, table: &Handle<RouteTable>, subnet: &Handle<Subnet>) {
    template.add(id, SubnetRouteTableAssociation::new(table.reference(), subnet.reference()));
}

fn nat(
    template: &mut Template,
    zone: u8,
    public: &Handle<Subnet>,
    private_table: &Handle<RouteTable>,
    attachment: &Handle<VPCGatewayAttachment>,
) -> Handle<EIP> {
    let address = EIP { domain: Some("vpc".into()), ..EIP::default() };
    let address = template.add(format!("NatAddress{zone}"), Resource::new(address).after(attachment));
    let gateway = template.add(
        format!("NatGateway{zone}"),
        NatGateway {
            allocation_id: Some(address.allocation_id().into()),
            subnet_id: Some(public.reference().into()),
            ..NatGateway::default()
        },
    );
    let route = Route {
        destination_cidr_block: Some(ANYWHERE.into()),
        nat_gateway_id: Some(gateway.reference().into()),
        ..Route::new(private_table.reference())
    };
    template.add(format!("PrivateRoute{zone}"), route);
    address
}

/// Only the load balancer reaches tasks; tasks reach only HTTPS.
fn security_groups(
    template: &mut Template,
    environment: &Environment,
    names: Names<'_>,
    vpc: &Handle<VPC>,
    inside: &Private,
) {
    let container = i64::from(Project::CONTAINER_PORT);
    let cidr = environment.network.cidr.as_str();
    let redirects = environment.edge.redirects_http();
    let mut add = |id: &str, description: &str, ingress: Vec<Ingress>, egress: Vec<Egress>| {
        let open = redirects && id == "LoadBalancerSecurityGroup";
        let group = SecurityGroup {
            vpc_id: Some(vpc.reference().into()),
            security_group_ingress: (!ingress.is_empty()).then_some(ingress),
            security_group_egress: Some(egress),
            ..SecurityGroup::new(description)
        };
        let mut group = Resource::new(group);
        if open {
            let reason = "Customers who type the name alone arrive at port 80, and are sent on to HTTPS";
            group = group.except(Rule::Checkov("CKV_AWS_260"), reason);
        }
        let group = template.add(id, group);
        template.export(id, "A security group", &group.group_id(), &export(names, id));
        group
    };
    let load_balancer = add(
        "LoadBalancerSecurityGroup",
        "What reaches the load balancer",
        edge_rules(environment, inside),
        vec![egress(cidr, container, "To the tasks")],
    );
    let from_load_balancer = Ingress {
        source_security_group_id: Some(load_balancer.group_id().into()),
        ..ingress(container, "From the load balancer")
    };
    let services = || egress(ANYWHERE, 443, "To AWS services");
    add("TaskSecurityGroup", "What reaches the tasks", vec![from_load_balancer], vec![services()]);
    if environment.deployment.hooks.is_some() {
        let mut out = vec![services()];
        let listeners =
            [(environment.edge.test_port, "To the test listener"), (environment.edge.port, "To the service")];
        out.extend(
            listeners
                .iter()
                .filter(|(port, _)| *port != 443)
                .map(|(port, what)| egress(ANYWHERE, (*port).into(), what)),
        );
        add("HookSecurityGroup", "Where the functions of deployments may go", Vec::new(), out);
    }
}

fn edge_rules(environment: &Environment, inside: &Private) -> Vec<Ingress> {
    let edge = &environment.edge;
    let from = |range: Value<String>, port: u16, description: &str| Ingress {
        cidr_ip: Some(range),
        ..ingress(port.into(), description)
    };
    let mut rules = vec![from(ANYWHERE.into(), edge.port, "Customers")];
    if edge.redirects_http() {
        rules.push(from(ANYWHERE.into(), 80, "Customers, who are sent on to HTTPS"));
    }
    let own = [environment.network.cidr.clone()];
    let sources = if edge.test_sources.is_empty() { &own[..] } else { &edge.test_sources[..] };
    let tests = "Tests before production traffic";
    rules.extend(sources.iter().map(|range| from(range.as_str().into(), edge.test_port, tests)));
    if environment.deployment.hooks.is_some() {
        // The load balancer's name leads to its public addresses, even from within the VPC.
        let addresses = inside.addresses.iter().map(|address| sub![address.reference(), "/32"].into());
        rules.extend(addresses.map(|range| from(range, edge.test_port, "The functions of deployments")));
    }
    rules
}

fn ingress(port: i64, description: &str) -> Ingress {
    Ingress {
        description: Some(description.into()),
        from_port: Some(port.into()),
        to_port: Some(port.into()),
        ..Ingress::new("tcp")
    }
}

fn egress(range: &str, port: i64, description: &str) -> Egress {
    Egress {
        cidr_ip: Some(range.into()),
        description: Some(description.into()),
        from_port: Some(port.into()),
        to_port: Some(port.into()),
        ..Egress::new("tcp")
    }
}

fn endpoints(template: &mut Template, environment: &Environment, vpc: &Handle<VPC>, private: &Private) {
    let (gateways, interfaces): (Vec<Endpoint>, Vec<Endpoint>) =
        environment.endpoints().into_iter().partition(|endpoint| endpoint.is_gateway());
    let service = |name: &str| sub!["com.amazonaws.", REGION, ".", name];
    for endpoint in gateways {
        let gateway = VPCEndpoint {
            service_name: Some(service(endpoint.service()).into()),
            vpc_endpoint_type: Some(VPCEndpointVpcEndpointType::Gateway.into()),
            route_table_ids: Some(private.tables.iter().map(|table| table.reference().into()).collect()),
            ..VPCEndpoint::new(vpc.reference())
        };
        template.add(format!("{endpoint:?}Endpoint"), gateway);
    }
    if interfaces.is_empty() {
        return;
    }
    let from_vpc = Ingress { cidr_ip: Some(environment.network.cidr.as_str().into()), ..ingress(443, "From the VPC") };
    let group = template.add(
        "EndpointSecurityGroup",
        SecurityGroup {
            vpc_id: Some(vpc.reference().into()),
            security_group_ingress: Some(vec![from_vpc]),
            security_group_egress: Some(vec![egress(&environment.network.cidr, 443, "Inside the VPC")]),
            ..SecurityGroup::new("What reaches the endpoints of AWS services")
        },
    );
    for endpoint in interfaces {
        let subnets = private.subnets.iter().map(|subnet| subnet.reference().into());
        let interface = VPCEndpoint {
            service_name: Some(service(endpoint.service()).into()),
            vpc_endpoint_type: Some(VPCEndpointVpcEndpointType::Interface.into()),
            private_dns_enabled: Some(true.into()),
            subnet_ids: Some(subnets.collect()),
            security_group_ids: Some(vec![group.group_id().into()]),
            ..VPCEndpoint::new(vpc.reference())
        };
        template.add(format!("{endpoint:?}Endpoint"), interface);
    }
}
