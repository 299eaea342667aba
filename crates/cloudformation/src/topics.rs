//! Topics, and who hears of what is published there.

use environment::NotificationSettings;

use crate::policy::{Principal, Statement, document, role};
use crate::resources::chatbot::SlackChannelConfiguration;
use crate::resources::sns::{Subscription, Topic, TopicPolicy};
use crate::sub;
use crate::template::{Handle, Template};
use crate::value::{Intrinsic, PARTITION};

/// A topic that alarms and events of this account may publish to, over TLS only. Encrypted with a key of ours, or else
/// not at all: the key of SNS itself lets no other service of AWS publish.
pub(crate) fn add(template: &mut Template, id: &str, name: String, key: Option<Intrinsic>) -> Handle<Topic> {
    let topic = Topic { topic_name: Some(name.into()), kms_master_key_id: key.map(Into::into), ..Topic::default() };
    let topic = template.add(id, topic);
    let publish = |sid, service| {
        Statement::allow(sid, ["sns:Publish"], [topic.reference()]).by(Principal::service(service)).for_own_account()
    };
    let policy = document(&[
        publish("Alarms", "cloudwatch.amazonaws.com"),
        publish("Events", "events.amazonaws.com"),
        Statement::deny_plain_text("sns:Publish", [topic.reference()]),
    ]);
    template.add(format!("{id}Policy"), TopicPolicy::new(policy, vec![topic.reference().into()]));
    topic
}

/// E-mail and Slack hear of everything.
pub(crate) fn tell(template: &mut Template, notify: &NotificationSettings, name: String, topic: &Intrinsic) {
    for (address, number) in notify.emails.iter().zip(1..) {
        subscribe(template, &format!("Email{number}"), "email", topic, Intrinsic::Text(address.clone()));
    }
    if let Some(slack) = &notify.slack {
        let look = Statement::allow_unscoped(
            "Look",
            ["cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData", "cloudwatch:ListMetrics"],
            "CloudWatch reads metrics by no resource, and shows composite alarms with no narrower scope; the channel shows both",
        );
        let chatbot =
            role(format!("{name}-slack"), "What the Slack channel may look at", "chatbot.amazonaws.com", vec![look]);
        let chatbot = template.add("SlackRole", chatbot);
        let read_only = sub!["arn:", PARTITION, ":iam::aws:policy/CloudWatchReadOnlyAccess"];
        let channel = SlackChannelConfiguration {
            sns_topic_arns: Some(vec![topic.clone().into()]),
            // Without it AWS takes AdministratorAccess as the limit of what people may do from the channel.
            guardrail_policies: Some(vec![read_only.into()]),
            logging_level: Some("ERROR".into()),
            ..SlackChannelConfiguration::new(name, chatbot.arn(), slack.channel.as_str(), slack.workspace.as_str())
        };
        template.add("SlackChannel", channel);
    }
}

/// PagerDuty is called with the URL that a secret holds; CloudFormation reads it when it subscribes.
pub(crate) fn page(template: &mut Template, notify: &NotificationSettings, topic: &Intrinsic) {
    if let Some(secret) = &notify.pagerduty {
        let url = Intrinsic::Text(format!("{{{{resolve:secretsmanager:{secret}:SecretString}}}}"));
        subscribe(template, "PagerDuty", "https", topic, url);
    }
}

fn subscribe(template: &mut Template, id: &str, protocol: &str, topic: &Intrinsic, endpoint: Intrinsic) {
    let subscription = Subscription { endpoint: Some(endpoint.into()), ..Subscription::new(protocol, topic.clone()) };
    template.add(id, subscription);
}
