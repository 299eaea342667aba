//! SNS: topics and subscriptions are recorded, and messages are kept; nobody outside this machine is told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::cloud::{ACCOUNT, Cloud};
use crate::error::ApiError;
use crate::ids;
use crate::services::{Service, unsupported_operation};
use crate::store::Record;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Topic {
    arn: String,
    attributes: BTreeMap<String, String>,
    subscriptions: Vec<Subscription>,
    /// The last messages, oldest first.
    messages: Vec<Message>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Subscription {
    arn: String,
    protocol: String,
    endpoint: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Message {
    id: String,
    at: Timestamp,
    subject: Option<String>,
    body: String,
}

/// How many messages of a topic are kept.
const MESSAGES: usize = 100;

impl Record for Topic {
    const TABLE: &'static str = "sns/topic";
}

/// Answers one operation.
pub(crate) async fn call(cloud: &Cloud, operation: &str, input: Value) -> Result<Value, ApiError> {
    let text = |name: &str| input[name].as_str().unwrap_or_default().to_owned();
    match operation {
        "CreateTopic" => Ok(create(cloud, &text("Name"), &input["Attributes"])),
        "DeleteTopic" => {
            cloud.store().delete::<Topic>(&text("TopicArn"));
            Ok(json!({}))
        }
        "ListTopics" => {
            let topics = cloud.store().find(|_: &Topic| true);
            Ok(json!({"Topics": topics.iter().map(|topic| json!({"TopicArn": topic.arn})).collect::<Vec<_>>()}))
        }
        "GetTopicAttributes" => {
            let topic = find(cloud, &text("TopicArn"))?;
            let mut attributes = topic.attributes;
            attributes.insert("TopicArn".into(), topic.arn);
            attributes.insert("Owner".into(), ACCOUNT.into());
            attributes.insert("SubscriptionsConfirmed".into(), topic.subscriptions.len().to_string());
            Ok(json!({"Attributes": attributes}))
        }
        "SetTopicAttributes" => {
            find(cloud, &text("TopicArn"))?;
            cloud.store().update(&text("TopicArn"), |topic: &mut Topic| {
                topic.attributes.insert(text("AttributeName"), text("AttributeValue"));
            });
            Ok(json!({}))
        }
        "Subscribe" => subscribe(cloud, &text("TopicArn"), &text("Protocol"), &text("Endpoint")),
        "Unsubscribe" => {
            let arn = text("SubscriptionArn");
            let topic = arn.rsplit_once(':').map(|(topic, _)| topic.to_owned()).unwrap_or_default();
            cloud.store().update(&topic, |topic: &mut Topic| topic.subscriptions.retain(|s| s.arn != arn));
            Ok(json!({}))
        }
        "ListSubscriptionsByTopic" => {
            let topic = find(cloud, &text("TopicArn"))?;
            let view = |subscription: &Subscription| {
                json!({
                    "SubscriptionArn": subscription.arn, "Owner": ACCOUNT, "Protocol": subscription.protocol,
                    "Endpoint": subscription.endpoint, "TopicArn": topic.arn,
                })
            };
            Ok(json!({"Subscriptions": topic.subscriptions.iter().map(view).collect::<Vec<_>>()}))
        }
        "Publish" => publish(cloud, &input),
        _ => Err(unsupported_operation(Service::Sns, operation)),
    }
}

/// Creating a topic that is there gives the same one.
fn create(cloud: &Cloud, name: &str, attributes: &Value) -> Value {
    let arn = cloud.arn("sns", name);
    if cloud.store().get::<Topic>(&arn).is_none() {
        let attributes = serde_json::from_value(attributes.clone()).unwrap_or_default();
        let topic = Topic { arn: arn.clone(), attributes, subscriptions: vec![], messages: vec![] };
        cloud.store().put(&arn, &topic);
    }
    json!({"TopicArn": arn})
}

fn find(cloud: &Cloud, arn: &str) -> Result<Topic, ApiError> {
    cloud.store().get(arn).ok_or_else(|| ApiError::new("NotFoundException", "Topic does not exist").with_status(404))
}

fn subscribe(cloud: &Cloud, topic_arn: &str, protocol: &str, endpoint: &str) -> Result<Value, ApiError> {
    let topic = find(cloud, topic_arn)?;
    let same = |subscription: &&Subscription| subscription.protocol == protocol && subscription.endpoint == endpoint;
    let arn = match topic.subscriptions.iter().find(same) {
        Some(existing) => existing.arn.clone(),
        None => {
            let arn = format!("{topic_arn}:{}", ids::uuid());
            let (protocol, endpoint) = (protocol.to_owned(), endpoint.to_owned());
            let subscription = Subscription { arn: arn.clone(), protocol, endpoint };
            cloud.store().update(topic_arn, |topic: &mut Topic| topic.subscriptions.push(subscription));
            arn
        }
    };
    Ok(json!({"SubscriptionArn": arn}))
}

fn publish(cloud: &Cloud, input: &Value) -> Result<Value, ApiError> {
    let arn = input["TopicArn"].as_str().or_else(|| input["TargetArn"].as_str());
    let Some(arn) = arn else { return Err(ApiError::unsupported("SNS Publish to anything but a topic")) };
    find(cloud, arn)?;
    let message = Message {
        id: ids::uuid(),
        at: cloud.clock().now(),
        subject: input["Subject"].as_str().map(str::to_owned),
        body: input["Message"].as_str().unwrap_or_default().to_owned(),
    };
    let id = message.id.clone();
    tracing::info!(topic = arn, subject = message.subject.as_deref(), "a message was published; it is kept, not sent");
    cloud.store().update(arn, |topic: &mut Topic| {
        topic.messages.push(message);
        let excess = topic.messages.len().saturating_sub(MESSAGES);
        topic.messages.drain(..excess);
    });
    Ok(json!({"MessageId": id}))
}
