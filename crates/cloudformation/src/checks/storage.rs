//! What holds data: repositories, buckets, tables, secrets, logs.

use serde_json::Value as Json;

use super::document::Field;
use super::{Report, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule { name: "image-lifecycle", finds: "lifecycle policies that ECR refuses", check: lifecycle },
    Rule {
        name: "image-repository",
        finds: "repositories whose tags move or whose images nobody scans",
        check: repository,
    },
    Rule { name: "stateful-retained", finds: "data that goes with its stack", check: retained },
    Rule { name: "public-bucket", finds: "buckets that may become public", check: public_bucket },
    Rule { name: "plain-text-transport", finds: "buckets that answer without TLS", check: transport },
    Rule { name: "log-retention", finds: "logs that are kept for ever", check: log_retention },
    Rule { name: "table-recovery", finds: "tables that cannot be brought back", check: table_recovery },
    Rule { name: "table-keys", finds: "keys of a table that are no attributes, and the reverse", check: table_keys },
];

fn lifecycle(report: &mut Report<'_>) {
    for repository in report.resources("AWS::ECR::Repository") {
        let field = repository.at("LifecyclePolicy").at("LifecyclePolicyText");
        let Some(text) = field.rendered() else { continue };
        if let Some(problem) = lifecycle_problem(&text) {
            report.add(&field, problem, "see ECR's lifecycle policy properties");
        }
    }
}

fn lifecycle_problem(text: &str) -> Option<String> {
    let policy: Json = match serde_json::from_str(text) {
        Ok(policy) => policy,
        Err(error) => return Some(format!("is no JSON: {error}")),
    };
    let Some(rules) = policy["rules"].as_array().filter(|rules| !rules.is_empty()) else {
        return Some("has no rules".to_owned());
    };
    let mut priorities = Vec::new();
    for rule in rules {
        let Some(priority) = rule["rulePriority"].as_u64().filter(|priority| *priority > 0) else {
            return Some("a rule has no rulePriority".to_owned());
        };
        if priorities.contains(&priority) {
            return Some(format!("two rules have the priority {priority}"));
        }
        priorities.push(priority);
        if let Some(problem) = selection_problem(&rule["selection"]) {
            return Some(format!("rule {priority}: {problem}"));
        }
        if rule["action"]["type"] != "expire" {
            return Some(format!("rule {priority}: its action is not `expire`"));
        }
    }
    let any = rules.iter().find(|rule| rule["selection"]["tagStatus"] == "any");
    let last = any.is_none_or(|rule| rule["rulePriority"].as_u64() == priorities.iter().copied().max());
    (!last).then(|| "the rule for any image must have the highest rulePriority".to_owned())
}

fn selection_problem(selection: &Json) -> Option<String> {
    let tagged = ["tagPrefixList", "tagPatternList"]
        .iter()
        .any(|list| selection[list].as_array().is_some_and(|list| !list.is_empty()));
    match selection["tagStatus"].as_str() {
        Some("tagged") if !tagged => return Some("`tagged` needs tagPrefixList or tagPatternList".to_owned()),
        Some("untagged" | "any") if tagged => return Some("a list of tags needs tagStatus `tagged`".to_owned()),
        Some("tagged" | "untagged" | "any") => {}
        other => return Some(format!("tagStatus is {}", other.unwrap_or("missing"))),
    }
    let days = selection["countUnit"] == "days";
    match selection["countType"].as_str() {
        Some("imageCountMoreThan") if !selection["countUnit"].is_null() => {
            return Some("a count has no countUnit".to_owned());
        }
        Some("imageCountMoreThan") => {}
        Some("sinceImagePushed" | "sinceImagePulled" | "sinceImageTransitioned") if days => {}
        Some("sinceImagePushed") => return Some("sinceImagePushed needs countUnit `days`".to_owned()),
        other => return Some(format!("countType is {}", other.unwrap_or("missing"))),
    }
    let positive = selection["countNumber"].as_u64().is_some_and(|number| number > 0);
    (!positive).then(|| "countNumber is no positive number".to_owned())
}

fn repository(report: &mut Report<'_>) {
    for repository in report.resources("AWS::ECR::Repository") {
        let mutability = repository.at("ImageTagMutability");
        let fixed = mutability.text().is_some_and(|text| text.starts_with("IMMUTABLE"));
        report.require(fixed, &mutability, || "a tag may name another image tomorrow".into(), "set it to IMMUTABLE");
        let scan = repository.at("ImageScanningConfiguration").at("ScanOnPush");
        let hint = "set ScanOnPush";
        report.require(scan.may_be_true(), &scan, || "images are not scanned when pushed".into(), hint);
    }
}

fn retained(report: &mut Report<'_>) {
    // A KMS key takes with it all that it encrypted.
    let stateful = [
        "AWS::DynamoDB::Table",
        "AWS::DynamoDB::GlobalTable",
        "AWS::ECR::Repository",
        "AWS::KMS::Key",
        "AWS::RDS::DBInstance",
        "AWS::S3::Bucket",
        "AWS::SecretsManager::Secret",
    ];
    for (_, properties) in report.all().filter(|(kind, _)| stateful.contains(kind)) {
        for policy in ["DeletionPolicy", "UpdateReplacePolicy"] {
            let value = properties.whole_resource()[policy].as_str().unwrap_or("Delete");
            let hint = "set DeletionPolicy and UpdateReplacePolicy to Retain";
            report.require(value != "Delete", &properties, || format!("its {policy} is Delete"), hint);
        }
    }
}

fn public_bucket(report: &mut Report<'_>) {
    for bucket in report.resources("AWS::S3::Bucket") {
        let block = bucket.at("PublicAccessBlockConfiguration");
        for name in ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"] {
            let field = block.at(name);
            let problem = || "a mistake elsewhere makes it public".into();
            report.require(field.may_be_true(), &field, problem, "set all four to true");
        }
    }
}

fn transport(report: &mut Report<'_>) {
    for bucket in report.resources("AWS::S3::Bucket") {
        let denies = report.resources("AWS::S3::BucketPolicy").any(|policy| {
            let of_bucket = policy.at("Bucket").target().is_some_and(|target| target.same_resource(&bucket));
            of_bucket && policy.at("PolicyDocument").at("Statement").items().iter().any(denies_plain_text)
        });
        let hint = "add a bucket policy that denies all where aws:SecureTransport is false";
        report.require(denies, &bucket, || "answers requests without TLS".into(), hint);
    }
}

fn denies_plain_text(statement: &Field<'_>) -> bool {
    let insecure = statement.at("Condition").at("Bool").at("aws:SecureTransport");
    statement.at("Effect").text() == Some("Deny") && insecure.truth() == Some(false)
}

fn log_retention(report: &mut Report<'_>) {
    for group in report.resources("AWS::Logs::LogGroup") {
        let days = group.at("RetentionInDays");
        report.require(days.exists(), &days, || "keeps everything for ever".into(), "set RetentionInDays");
    }
}

fn table_recovery(report: &mut Report<'_>) {
    for table in report.resources("AWS::DynamoDB::Table") {
        let recovery = table.at("PointInTimeRecoverySpecification").at("PointInTimeRecoveryEnabled");
        let problem = || "what is deleted by mistake is gone".into();
        report.require(recovery.may_be_true(), &recovery, problem, "enable point-in-time recovery");
        let ttl = table.at("TimeToLiveSpecification");
        let named = ttl.at("Enabled").truth() != Some(true) || ttl.at("AttributeName").exists();
        report.require(named, &ttl, || "expires by no attribute".into(), "set AttributeName");
    }
}

fn table_keys(report: &mut Report<'_>) {
    for table in report.resources("AWS::DynamoDB::Table") {
        let indexes =
            ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"].into_iter().flat_map(|list| table.at(list).items());
        let schemas: Vec<_> =
            indexes.chain([table.clone()]).flat_map(|holder| holder.at("KeySchema").items()).collect();
        let attributes = table.at("AttributeDefinitions").items();
        let (keys, names) = (names(&schemas), names(&attributes));
        for (field, name) in keys.iter().filter(|(_, name)| !names.iter().any(|(_, other)| other == name)) {
            report.add(field, format!("`{name}` is no attribute"), "add it to AttributeDefinitions");
        }
        for (field, name) in names.iter().filter(|(_, name)| !keys.iter().any(|(_, other)| other == name)) {
            report.add(field, format!("`{name}` is no key of anything"), "define the attributes of keys only");
        }
    }
}

fn names<'a>(holders: &[Field<'a>]) -> Vec<(Field<'a>, &'a str)> {
    let fields = holders.iter().map(|holder| holder.at("AttributeName"));
    fields.filter_map(|field| field.text().map(|name| (field.clone(), name))).collect()
}
