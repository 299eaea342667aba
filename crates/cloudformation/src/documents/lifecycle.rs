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
    selection: Selection,
    action: Action,
}

#[derive(Debug, Serialize)]
struct Action {
    r#type: &'static str,
}

/// Which images expire.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Selection {
    tag_status: &'static str,
    tag_pattern_list: [String; 1],
    count_type: &'static str,
    count_number: u32,
}

impl LifecycleDocument {
    /// Of the images with a tag like each pattern, so many of the newest stay. What a pattern before it matches, no later one
    /// takes away.
    pub(crate) fn newest(rules: impl IntoIterator<Item = (&'static str, String, u32)>) -> Self {
        let entries = rules.into_iter().zip(1..).map(|((description, pattern, count_number), rule_priority)| Entry {
            rule_priority,
            description,
            selection: Selection {
                tag_status: "tagged",
                tag_pattern_list: [pattern],
                count_type: "imageCountMoreThan",
                count_number,
            },
            action: Action { r#type: "expire" },
        });
        LifecycleDocument { rules: entries.collect() }
    }

    /// As ECR takes it.
    pub(crate) fn text(&self) -> String {
        to_json(self).to_string()
    }
}
