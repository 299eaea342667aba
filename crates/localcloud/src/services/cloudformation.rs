//! CloudFormation: templates become resources through the services that own them.
//!
//! `template` and `intrinsics` read what is wanted, `changes` compares it with what is, `engine` moves a stack there
//! and back, and `resources` knows the types.

mod change_sets;
mod changes;
pub(crate) mod engine;
mod evaluate;
mod intrinsics;
mod records;
mod resources;
mod stacks;
mod template;
mod views;

use serde_json::Value;

use crate::cloud::Cloud;
use crate::error::ApiError;
use crate::services::{Service, unsupported_operation};

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    match operation {
        "CreateChangeSet" => change_sets::create(cloud, input),
        "DescribeChangeSet" => change_sets::describe(cloud, &input),
        "ExecuteChangeSet" => change_sets::execute(cloud, &input),
        "DeleteChangeSet" => change_sets::delete(cloud, &input),
        "ListChangeSets" => change_sets::list(cloud, &input),
        "CreateStack" => stacks::create(cloud, input),
        "UpdateStack" => stacks::update(cloud, input),
        "DeleteStack" => stacks::delete(cloud, &input),
        "UpdateTerminationProtection" => stacks::protect(cloud, &input),
        "DescribeStacks" => views::describe_stacks(cloud, &input),
        "ListStacks" => views::list_stacks(cloud, &input),
        "DescribeStackEvents" => views::events(cloud, &input),
        "DescribeStackResources" => views::describe_resources(cloud, &input),
        "DescribeStackResource" => views::describe_resource(cloud, &input),
        "ListStackResources" => views::list_resources(cloud, &input),
        "ListExports" => views::list_exports(cloud),
        "GetTemplate" => views::get_template(cloud, &input),
        "GetTemplateSummary" => views::template_summary(cloud, &input),
        "ValidateTemplate" => views::validate_template(&input),
        _ => Err(unsupported_operation(Service::CloudFormation, operation)),
    }
}
