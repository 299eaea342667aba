//! VPC, subnets, ways out and security groups of an environment.

use std::net::Ipv4Addr;

use environment::{EdgeSettings, Endpoint, Environment, Nat, Project};
use serde_json::Value as Json;

use crate::names::Names;
use crate::resources::ec2::security_group::{Egress, Ingress};
use crate::resources::ec2::vpc_endpoint::VPCEndpointVpcEndpointType;
use crate::resources::ec2::{
    EIP, InternetGateway, NatGateway, Route, RouteTable, SecurityGroup, Subnet, SubnetRouteTableAssociation, VPC,
    VPCEndpoint, VPCGatewayAttachment,
};
use crate::stack::tags;
use crate::sub;
use crate::template::{Handle, Resource, Template};
use crate::value::{Intrinsic, REGION};

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
    let private = subnets(&mut template, environment, names, &vpc);
    security_groups(&mut template, environment, names, &vpc);
    endpoints(&mut template, environment, &vpc, &private);
    template.finish()
}

/// The private subnets and their route tables.
struct Private {
    subnets: Vec<Handle<Subnet>>,
    tables: Vec<Handle<RouteTable>>,
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

    let mut inside = Private { subnets: Vec::new(), tables: Vec::new() };
    for zone in 1..=environment.network.zones {
        let public = subnet(template, environment, vpc, zone, "Public");
        let exported = format!("PublicSubnet{zone}");
        template.export(&exported, "For load balancers", &public.reference(), &export(names, &exported));
        associate(template, &format!("PublicSubnet{zone}Routes"), &public_table, &public);

        // One private route table for all zones, unless each zone has a way out of its own.
        if zone == 1 || environment.network.nat == Nat::PerZone {
            let table = template.add(format!("PrivateRouteTable{zone}"), RouteTable::new(vpc.reference()));
            if environment.network.nat != Nat::None {
                nat(template, zone, &public, &table, &attachment);
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
) {
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
}

/// Only the load balancer reaches tasks; tasks reach only HTTPS.
fn security_groups(template: &mut Template, environment: &Environment, names: Names<'_>, vpc: &Handle<VPC>) {
    let container = i64::from(Project::CONTAINER_PORT);
    let cidr = environment.network.cidr.as_str();
    let load_balancer = template.add(
        "LoadBalancerSecurityGroup",
        SecurityGroup {
            vpc_id: Some(vpc.reference().into()),
            security_group_ingress: Some(edge_rules(&environment.edge, cidr)),
            security_group_egress: Some(vec![egress(cidr, container, "To the tasks")]),
            ..SecurityGroup::new("What reaches the load balancer")
        },
    );
    let from_load_balancer = Ingress {
        source_security_group_id: Some(load_balancer.group_id().into()),
        ..ingress(container, "From the load balancer")
    };
    let tasks = template.add(
        "TaskSecurityGroup",
        SecurityGroup {
            vpc_id: Some(vpc.reference().into()),
            security_group_ingress: Some(vec![from_load_balancer]),
            security_group_egress: Some(vec![egress(ANYWHERE, 443, "To AWS services")]),
            ..SecurityGroup::new("What reaches the tasks")
        },
    );
    let exports = [("LoadBalancerSecurityGroup", &load_balancer), ("TaskSecurityGroup", &tasks)];
    for (output, group) in exports {
        template.export(output, "A security group", &group.group_id(), &export(names, output));
    }
}

fn edge_rules(edge: &EdgeSettings, vpc: &str) -> Vec<Ingress> {
    let from = |range: &str, port: i64, description: &str| Ingress {
        cidr_ip: Some(range.into()),
        ..ingress(port, description)
    };
    let mut rules = vec![from(ANYWHERE, edge.port.into(), "Customers")];
    let own = [vpc.to_owned()];
    let sources = if edge.test_sources.is_empty() { &own[..] } else { &edge.test_sources[..] };
    rules.extend(sources.iter().map(|range| from(range, edge.test_port.into(), "Tests before production traffic")));
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
        environment.network.endpoints.iter().partition(|endpoint| endpoint.is_gateway());
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
