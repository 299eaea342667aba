//! The lifecycle policy of an image repository.

use serde::Serialize;

use crate::template::to_json;

/// A policy: rules in the order of their priority.
#[derive(Debug, Serialize)]
pub(crate) struct LifecycleDocument {
    rules: Vec<Entry>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    rule_priority: usize,
    description: &'static str,
    selection: Rule,
    action: Action,
}

#[derive(Debug, Serialize)]
struct Action {
    r#type: &'static str,
}

/// Which images expire.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    tag_status: TagStatus,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tag_prefix_list: Vec<String>,
    count_type: CountType,
    #[serde(skip_serializing_if = "Option::is_none")]
    count_unit: Option<CountUnit>,
    count_number: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum TagStatus {
    Tagged,
    Untagged,
    Any,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum CountType {
    ImageCountMoreThan,
    SinceImagePushed,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum CountUnit {
    Days,
}

impl Rule {
    /// All but the newest images with a tag that begins like this.
    pub(crate) fn newest_tagged(prefix: String, count: u32) -> Self {
        Rule { tag_status: TagStatus::Tagged, tag_prefix_list: vec![prefix], ..Rule::newest(count) }
    }

    /// All but the newest images. It has to be the last rule.
    pub(crate) fn newest(count: u32) -> Self {
        Rule {
            tag_status: TagStatus::Any,
            tag_prefix_list: Vec::new(),
            count_type: CountType::ImageCountMoreThan,
            count_unit: None,
            count_number: count,
        }
    }

    /// Images without a tag, some days after they were pushed.
    pub(crate) fn untagged_after_days(days: u32) -> Self {
        Rule {
            tag_status: TagStatus::Untagged,
            count_type: CountType::SinceImagePushed,
            count_unit: Some(CountUnit::Days),
            ..Rule::newest(days)
        }
    }
}

impl LifecycleDocument {
    /// A policy of these rules, the first the most important.
    pub(crate) fn new(rules: impl IntoIterator<Item = (&'static str, Rule)>) -> Self {
        let entries = rules.into_iter().zip(1..).map(|((description, selection), rule_priority)| Entry {
            rule_priority,
            description,
            selection,
            action: Action { r#type: "expire" },
        });
        LifecycleDocument { rules: entries.collect() }
    }

    /// As ECR takes it.
    pub(crate) fn text(&self) -> String {
        to_json(self).to_string()
    }
}
