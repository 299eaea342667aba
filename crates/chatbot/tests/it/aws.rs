//! DynamoDB and Bedrock against an endpoint that stands in for AWS: `.ci/chatbot-aws` starts one.

mod bedrock;
mod faults;
mod shared;
mod table;
mod tenants;
mod throttling;

use chatbot::aws::Aws;
use chatbot::config::AwsSettings;

/// Where AWS is played.
fn endpoint() -> String {
    std::env::var("AWS_ENDPOINT_URL").expect("AWS_ENDPOINT_URL is not set: run these tests by .ci/chatbot-aws")
}

fn aws() -> Aws {
    Aws::new(AwsSettings { region: Some("ap-northeast-1".to_owned()), endpoint: Some(endpoint()) })
}
