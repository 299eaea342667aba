//! Variables, data, alarms, notifications and protection.

use super::{Check, is_reference};
use crate::settings::{ChatSettings, ConversationStore, Environment, LOG_RETENTIONS, NotificationSettings};
use crate::units::Span;
use crate::variables::{OPENAI_API_KEY, OPENAI_BASE_URL, OPERATOR_KEY_SHA256, SESSION_SECRET};

pub(super) fn variables(environment: &Environment, check: &mut Check<'_>) {
    let named = [("secrets", &environment.secrets), ("parameters", &environment.parameters)];
    for (section, entries) in named {
        for (variable, reference) in entries {
            let field = format!("{section}.{variable}");
            check.require(
                variable.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'),
                &field,
                || format!("`{variable}` is no variable's name"),
                "upper-case letters, digits and underscores",
            );
            check.require(
                is_reference(reference),
                &field,
                || "that is no name of a secret or parameter".to_owned(),
                "the name alone, such as smartassist/staging/api-key; the value never stands in this file",
            );
            check.require(
                section == "parameters" || !environment.parameters.contains_key(variable),
                &field,
                || format!("`{variable}` is a parameter too"),
                "keep it in one of the two sections",
            );
        }
    }
}

/// The chatbot refuses to start without what its store and its models need.
pub(super) fn chat(environment: &Environment, check: &mut Check<'_>) {
    let chat = &environment.chat;
    let given =
        |variable: &str| environment.secrets.contains_key(variable) || environment.parameters.contains_key(variable);
    if chat.conversation_store == ConversationStore::Dynamodb {
        for (variable, hint) in [
            (SESSION_SECRET, "add `SESSION_SECRET: <name of a secret of 32 or more random characters>` to `secrets`"),
            (
                OPERATOR_KEY_SHA256,
                "add `OPERATOR_KEY_SHA256: <name of a secret>`; its value: printf %s \"$KEY\" | sha256sum",
            ),
        ] {
            let message = || format!("tasks that share a table need {variable}");
            check.require(given(variable), "chat.conversation_store", message, hint);
        }
    }
    let known =
        |model: &&String| [ChatSettings::BEDROCK, ChatSettings::OPENAI].iter().any(|kind| model.starts_with(kind));
    for model in chat.models.iter().filter(|model| !known(model)) {
        let hint = "such as bedrock:apac.amazon.nova-lite-v1:0 or openai:gpt-4.1-mini";
        check.require(false, "chat.models", || format!("`{model}` is no model"), hint);
    }
    let openai = chat.models.iter().any(|model| model.starts_with(ChatSettings::OPENAI));
    check.require(
        !openai || given(OPENAI_API_KEY) || given(OPENAI_BASE_URL),
        "chat.models",
        || format!("a model of an OpenAI-compatible endpoint needs {OPENAI_API_KEY}"),
        "name it in `secrets`, or OPENAI_BASE_URL in `parameters` for an endpoint that wants no key",
    );
}

pub(super) fn data(environment: &Environment, check: &mut Check<'_>) {
    let mut names: Vec<&str> = Vec::new();
    for secret in &environment.data.secrets {
        let name = &secret.name;
        check.require(
            is_reference(name) && !names.contains(&name.as_str()),
            "data.secrets",
            || format!("`{name}` does not name one secret"),
            "a name of its own, such as smartassist/production/session-key",
        );
        names.push(name);
        check.require(
            (16..=4096).contains(&secret.length),
            "data.secrets",
            || format!("`{name}`: {} characters are not a secret's length", secret.length),
            "16 to 4096",
        );
        check.require(
            secret.rotation.function.starts_with("arn:") && secret.rotation.function.contains(":function:"),
            "data.secrets",
            || format!("`{name}`: `{}` is no function's ARN", secret.rotation.function),
            "the ARN of the Lambda function that rotates it",
        );
        check.require(
            secret.rotation.every.as_days().is_some_and(|days| (1..=1000).contains(&days)),
            "data.secrets",
            || format!("`{name}`: it cannot be rotated every {}", secret.rotation.every),
            "whole days, 1d to 1000d",
        );
    }
    for name in environment.data.parameters.keys() {
        check.require(
            name.starts_with('/') && is_reference(name),
            &format!("data.parameters.{name}"),
            || "that is no name of a parameter".to_owned(),
            "a path such as /smartassist/production/greeting",
        );
    }
}

pub(super) fn alarms(environment: &Environment, check: &mut Check<'_>) {
    let Some(alarms) = &environment.alarms else { return };
    check.require(
        alarms.latency_p99 >= Span::seconds(1),
        "alarms.latency_p99",
        || "no answer takes no time".to_owned(),
        "at least 1s",
    );
    notify(&alarms.notify, "alarms.notify", check);
}

pub(super) fn notify(notify: &NotificationSettings, field: &str, check: &mut Check<'_>) {
    for address in &notify.emails {
        check.require(
            address.split('@').filter(|part| !part.is_empty()).count() == 2 && !address.contains(char::is_whitespace),
            &format!("{field}.emails"),
            || format!("`{address}` is no e-mail address"),
            "such as oncall@example.com",
        );
    }
    if let Some(slack) = &notify.slack {
        let ids = [("workspace", &slack.workspace, &['T', 'E'][..]), ("channel", &slack.channel, &['C', 'G'][..])];
        for (name, id, first) in ids {
            check.require(
                id.starts_with(first) && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()),
                &format!("{field}.slack.{name}"),
                || format!("`{id}` is no id of a Slack {name}"),
                "the id and not the name: copy it from Slack's address, such as T0123ABCD or C0123ABCD",
            );
        }
    }
    if let Some(secret) = &notify.pagerduty {
        check.require(
            is_reference(secret),
            &format!("{field}.pagerduty"),
            || "that is no name of a secret".to_owned(),
            "the name of the secret that holds PagerDuty's URL, such as smartassist/pagerduty; never the URL itself",
        );
    }
}

pub(super) fn security(environment: &Environment, check: &mut Check<'_>) {
    let retention = environment.log_retention();
    check.require(
        retention.as_days().is_some_and(|days| LOG_RETENTIONS.contains(&days)),
        "security.log_retention",
        || format!("CloudWatch Logs cannot keep logs for {retention}"),
        "one of 1d, 3d, 5d, 7d, 14d, 30d, 60d, 90d, 120d, 150d, 180d, 365d, 400d, 545d, 731d and some longer",
    );
    check.require(
        environment.firewall_rate() >= 10,
        "security.firewall_rate",
        || "the firewall would turn everyone away".to_owned(),
        "at least 10 requests in five minutes",
    );
}
