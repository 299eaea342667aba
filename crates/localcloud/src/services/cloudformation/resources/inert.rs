//! Resources that are recorded and do nothing here: network, IAM, storage, keys.

use serde_json::{Value, json};

use crate::cloud::{ACCOUNT, Cloud};
use crate::ids;

/// The types that are recorded.
const TYPES: [(&str, &str); 29] = [
    ("AWS::EC2::VPC", "vpc-"),
    ("AWS::EC2::InternetGateway", "igw-"),
    ("AWS::EC2::VPCGatewayAttachment", ""),
    ("AWS::EC2::Subnet", "subnet-"),
    ("AWS::EC2::RouteTable", "rtb-"),
    ("AWS::EC2::Route", ""),
    ("AWS::EC2::SubnetRouteTableAssociation", "rtbassoc-"),
    ("AWS::EC2::EIP", ""),
    ("AWS::EC2::NatGateway", "nat-"),
    ("AWS::EC2::VPCEndpoint", "vpce-"),
    ("AWS::EC2::SecurityGroup", "sg-"),
    ("AWS::EC2::SecurityGroupIngress", "sgr-"),
    ("AWS::EC2::SecurityGroupEgress", "sgr-"),
    ("AWS::EC2::FlowLog", "fl-"),
    ("AWS::EC2::NetworkAcl", "acl-"),
    ("AWS::EC2::NetworkAclEntry", "nae-"),
    ("AWS::EC2::SubnetNetworkAclAssociation", "aclassoc-"),
    ("AWS::IAM::Role", ""),
    ("AWS::IAM::Policy", ""),
    ("AWS::IAM::ManagedPolicy", ""),
    ("AWS::IAM::InstanceProfile", ""),
    ("AWS::S3::Bucket", ""),
    ("AWS::S3::BucketPolicy", ""),
    ("AWS::KMS::Key", ""),
    ("AWS::KMS::Alias", ""),
    ("AWS::CloudWatch::Dashboard", ""),
    ("AWS::Events::Rule", ""),
    ("AWS::SNS::TopicPolicy", ""),
    ("AWS::CodeStarNotifications::NotificationRule", ""),
];

/// True when a type is recorded.
pub(super) fn records(kind: &str) -> bool {
    TYPES.iter().any(|(name, _)| *name == kind)
}

/// A physical id in the form of AWS's.
pub(super) fn physical_id(kind: &str, properties: &Value, generated: &str) -> String {
    let text = |name: &str| properties.get(name).and_then(Value::as_str);
    let named = |name: &str| text(name).unwrap_or(generated).to_owned();
    let hex = || format!("{:016x}{:x}", ids::random(), ids::random() % 16);
    match kind {
        "AWS::EC2::EIP" => format!("203.0.113.{}", ids::random() % 254 + 1),
        "AWS::EC2::Route" => {
            format!("{}|{}", named("RouteTableId"), text("DestinationCidrBlock").unwrap_or("::/0"))
        }
        "AWS::EC2::VPCGatewayAttachment" => format!("IGW|{}", named("VpcId")),
        "AWS::IAM::Role" => named("RoleName"),
        "AWS::IAM::Policy" => named("PolicyName"),
        "AWS::IAM::InstanceProfile" => named("InstanceProfileName"),
        "AWS::IAM::ManagedPolicy" => format!("arn:aws:iam::{ACCOUNT}:policy/{}", named("ManagedPolicyName")),
        "AWS::S3::Bucket" => text("BucketName").map_or_else(|| generated.to_lowercase(), str::to_owned),
        "AWS::S3::BucketPolicy" => named("Bucket"),
        "AWS::KMS::Key" => ids::uuid(),
        "AWS::KMS::Alias" => named("AliasName"),
        "AWS::CloudWatch::Dashboard" => named("DashboardName"),
        "AWS::Events::Rule" => named("Name"),
        _ => {
            let prefix = TYPES.iter().find(|(name, _)| *name == kind).map_or("", |(_, prefix)| *prefix);
            if prefix.is_empty() { generated.to_owned() } else { format!("{prefix}{}", hex()) }
        }
    }
}

/// The attributes of a recorded resource.
pub(super) fn attributes(cloud: &Cloud, kind: &str, physical: &str, properties: &Value) -> Value {
    match kind {
        "AWS::EC2::VPC" => {
            json!({"VpcId": physical, "CidrBlock": properties["CidrBlock"], "DefaultSecurityGroup": format!("sg-{}", physical.trim_start_matches("vpc-"))})
        }
        "AWS::EC2::Subnet" => {
            json!({"SubnetId": physical, "AvailabilityZone": properties["AvailabilityZone"], "CidrBlock": properties["CidrBlock"], "VpcId": properties["VpcId"]})
        }
        "AWS::EC2::InternetGateway" => json!({"InternetGatewayId": physical}),
        "AWS::EC2::RouteTable" => json!({"RouteTableId": physical}),
        "AWS::EC2::NatGateway" => json!({"NatGatewayId": physical}),
        "AWS::EC2::EIP" => {
            json!({"AllocationId": format!("eipalloc-{:0>17}", physical.replace('.', "")), "PublicIp": physical})
        }
        "AWS::EC2::SecurityGroup" => json!({"GroupId": physical, "Id": physical, "VpcId": properties["VpcId"]}),
        "AWS::EC2::SecurityGroupIngress"
        | "AWS::EC2::SecurityGroupEgress"
        | "AWS::EC2::FlowLog"
        | "AWS::EC2::NetworkAcl"
        | "AWS::EC2::SubnetRouteTableAssociation"
        | "AWS::EC2::VPCEndpoint" => json!({"Id": physical}),
        "AWS::IAM::Role" => {
            json!({"Arn": format!("arn:aws:iam::{ACCOUNT}:role/{physical}"), "RoleId": format!("AROA{:0>17}", physical.len())})
        }
        "AWS::IAM::InstanceProfile" => json!({"Arn": format!("arn:aws:iam::{ACCOUNT}:instance-profile/{physical}")}),
        "AWS::IAM::ManagedPolicy" => json!({"PolicyArn": physical}),
        "AWS::S3::Bucket" => json!({
            "Arn": format!("arn:aws:s3:::{physical}"), "DomainName": format!("{physical}.s3.amazonaws.com"),
            "RegionalDomainName": format!("{physical}.s3.{}.amazonaws.com", cloud.region()),
        }),
        "AWS::KMS::Key" => json!({"Arn": cloud.arn("kms", format_args!("key/{physical}")), "KeyId": physical}),
        "AWS::Events::Rule" => json!({"Arn": cloud.arn("events", format_args!("rule/{physical}"))}),
        _ => json!({}),
    }
}
