//! What types cannot say: relations between fields and the limits of AWS. All problems are collected.

mod image;
mod operation;
mod place;
mod runtime;

use crate::error::{Error, Problem};
use crate::project::{Builder, Project, SourceProvider};
use crate::settings::Environment;
use crate::source::Source;
use crate::units::Span;

/// Collects problems of one file.
struct Check<'a> {
    source: &'a Source<'a>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    /// Records a problem at a field unless the condition holds.
    fn require(&mut self, holds: bool, field: &str, message: impl FnOnce() -> String, hint: &str) {
        if !holds {
            self.problems.push(self.source.problem(field, message(), hint));
        }
    }

    fn finish(self) -> Result<(), Error> {
        if self.problems.is_empty() { Ok(()) } else { Err(Error::Invalid(self.problems)) }
    }
}

pub(crate) fn project(project: &Project, source: &Source<'_>) -> Result<(), Error> {
    let mut check = Check { source, problems: Vec::new() };
    check.require(
        is_name(&project.name) && project.name.len() <= 15,
        "name",
        || format!("`{}` cannot begin resource names", project.name),
        "lower-case letters, digits and single hyphens, beginning with a letter, at most 15 characters \
         (target group names have 32)",
    );
    check.require(
        project.image_repository.split('/').all(is_name),
        "image_repository",
        || format!("`{}` is no repository name", project.image_repository),
        "lower-case words separated by `/`, without host and tag, such as smartassist/chatbot",
    );
    check.require(
        is_region(&project.region),
        "region",
        || format!("`{}` is no AWS region", project.region),
        "such as ap-northeast-1",
    );
    let repository: Vec<&str> = project.source.repository.split('/').collect();
    let (named, hint) = match project.source.provider {
        SourceProvider::CodeStarSourceConnection => (
            matches!(repository[..], [owner, name] if !owner.is_empty() && !name.is_empty()),
            "owner/name, such as smartassist/smartassist-chatbot",
        ),
        SourceProvider::CodeCommit => (
            matches!(repository[..], [name] if !name.is_empty()),
            "the name alone, such as smartassist-chatbot: a repository of CodeCommit has no owner",
        ),
    };
    check.require(named, "source.repository", || format!("`{}` is no repository", project.source.repository), hint);
    check.require(
        !project.source.branch.is_empty() && !project.source.branch.contains(char::is_whitespace),
        "source.branch",
        || format!("`{}` is no branch", project.source.branch),
        "such as main",
    );
    if let Some(arn) = &project.source.connection_arn {
        check.require(
            arn.starts_with("arn:") && arn.contains(":connection/"),
            "source.connection_arn",
            || format!("`{arn}` is no connection's ARN"),
            "copy it from the console's Connections page, or remove it and let the stack create one",
        );
    }
    let tag = project.build.image.rsplit_once(':').map(|(_, tag)| tag);
    check.require(
        tag.is_some_and(|tag| !tag.is_empty() && tag != "latest"),
        "build.image",
        || format!("`{}` has no fixed version", project.build.image),
        "name a tag other than latest, or a digest",
    );
    check.require(
        !(project.build.builder == Builder::Docker && project.build.image.starts_with("rust:")),
        "build.image",
        || format!("`{}` has no Docker engine", project.build.image),
        "an image of CodeBuild's own, such as aws/codebuild/amazonlinux-x86_64-standard:5.0, or the builder oci",
    );
    if let Some(secret) = &project.build.docker_hub {
        check.require(
            is_reference(secret),
            "build.docker_hub",
            || "that is no name of a secret".to_owned(),
            "the name alone, such as smartassist/docker-hub; the secret holds username and password",
        );
    }
    if let Some(alias) = &project.build.signing_key {
        let name = alias.strip_prefix("alias/").filter(|name| !name.starts_with("aws/")).unwrap_or_default();
        let known = |c: char| c.is_ascii_alphanumeric() || "/_-".contains(c);
        check.require(
            !name.is_empty() && name.chars().all(known),
            "build.signing_key",
            || format!("`{alias}` is no alias of a key of yours"),
            "as in alias/smartassist-images",
        );
    }
    if let Some(address) = &project.build.advisories {
        // It becomes a word of a shell command.
        let known = |c: char| c.is_ascii_alphanumeric() || ".:/_~@-".contains(c);
        check.require(
            address.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && rest.chars().all(known)),
            "build.advisories",
            || format!("`{address}` is no address of a git repository"),
            "as in https://github.com/rustsec/advisory-db",
        );
    }
    pipeline(project, &mut check);
    operation::notify(&project.notify, "notify", &mut check);
    let keep = &project.registry;
    check.require(
        keep.keep_production >= 2 && keep.keep_staging >= 2 && keep.keep_others >= 1,
        "registry",
        || "an image that runs, or that a rollback needs, would be thrown away".to_owned(),
        "keep at least 2 of production and staging, and 1 other",
    );
    for account in &keep.pull_accounts {
        check.require(
            is_account(account),
            "registry.pull_accounts",
            || format!("`{account}` is no AWS account"),
            "twelve digits in quotes",
        );
    }
    check.require(
        project.local.endpoint.starts_with("http://127."),
        "local.endpoint",
        || format!("`{}` is not on this machine", project.local.endpoint),
        "the embedded endpoint listens on loopback only, such as http://127.0.0.1:7400",
    );
    check.finish()
}

fn pipeline(project: &Project, check: &mut Check<'_>) {
    let pipeline = &project.pipeline;
    check.require(
        pipeline.approval_timeout.as_minutes().is_some_and(|minutes| (5..=86_400).contains(&minutes)),
        "pipeline.approval_timeout",
        || format!("{} is no time that CodePipeline can wait for an approval", pipeline.approval_timeout),
        "whole minutes, 5m to 60d",
    );
    check.require(
        pipeline.approval_overdue >= Span::minutes(5),
        "pipeline.approval_overdue",
        || format!("{} is no time in which a person answers", pipeline.approval_overdue),
        "at least 5m",
    );
    if let Some(window) = &pipeline.window {
        check.require(
            is_cron(window),
            "pipeline.window",
            || format!("`{window}` is no AWS cron"),
            "six fields: minutes hours day-of-month month day-of-week year, such as * 0-9 ? * MON-FRI *",
        );
    }
}

pub(crate) fn environment(environment: &Environment, source: &Source<'_>) -> Result<(), Error> {
    let mut check = Check { source, problems: Vec::new() };
    place::location(environment, &mut check);
    place::network(environment, &mut check);
    place::edge(environment, &mut check);
    image::image(environment, &mut check);
    runtime::task(environment, &mut check);
    runtime::health_check(environment, &mut check);
    runtime::deployment(environment, &mut check);
    runtime::hooks(environment, &mut check);
    runtime::autoscaling(environment, &mut check);
    operation::variables(environment, &mut check);
    operation::chat(environment, &mut check);
    operation::data(environment, &mut check);
    operation::alarms(environment, &mut check);
    operation::security(environment, &mut check);
    check.finish()
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && !text.contains("--")
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() >= 3 && is_name(text) && parts.last().is_some_and(|part| part.bytes().all(|b| b.is_ascii_digit()))
}

/// Address and prefix length of an IPv4 range.
fn parse_cidr(text: &str) -> Option<(u32, u32)> {
    let (address, bits) = text.split_once('/')?;
    let address: std::net::Ipv4Addr = address.parse().ok()?;
    let bits: u32 = bits.parse().ok().filter(|bits| *bits <= 32)?;
    Some((u32::from(address), bits))
}

/// Whether a text can be the name of a secret or parameter, and is not a value by mistake.
fn is_reference(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+=.@-".contains(&b))
}

/// Whether a text is the inside of AWS's `cron(...)`: six fields, each in its range, one of the two days a `?`.
fn is_cron(text: &str) -> bool {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minutes, hours, day, month, weekday, year] = fields[..] else { return false };
    let one_day = (day == "?") != (weekday == "?");
    one_day
        && cron_field(minutes, 0..=59, &[])
        && cron_field(hours, 0..=23, &[])
        && (day == "?" || cron_field(day.trim_end_matches(['L', 'W']), 1..=31, &[]) || day == "L")
        && cron_field(month, 1..=12, &MONTHS)
        && (weekday == "?" || cron_field(weekday.split('#').next().unwrap_or(weekday), 1..=7, &WEEKDAYS))
        && cron_field(year, 1970..=2199, &[])
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A list of `*`, numbers, names and ranges, each with an optional step.
fn cron_field(field: &str, range: std::ops::RangeInclusive<u32>, names: &[&str]) -> bool {
    let value = |text: &str| names.contains(&text) || text.parse().is_ok_and(|number| range.contains(&number));
    field.split(',').all(|item| {
        let (span, step) = item.split_once('/').map_or((item, None), |(span, step)| (span, Some(step)));
        let steps = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0));
        let covered = match span.split_once('-') {
            Some((from, to)) => value(from) && value(to),
            None => span == "*" || value(span),
        };
        steps && covered
    })
}

#[cfg(test)]
mod tests {
    use super::is_cron;

    #[test]
    fn crons_of_aws_have_six_fields_in_range_and_one_day() {
        for good in
            ["30 8 ? * MON-FRI *", "0 21 * * ? *", "0/15 0-9 1,15 JAN-MAR ? 2027", "0 9 L * ? *", "0 9 ? * 2#1 *"]
        {
            assert!(is_cron(good), "{good}");
        }
        for bad in
            ["30 8 * * MON-FRI *", "30 8 ? * ? *", "60 8 ? * MON *", "0 24 ? * MON *", "0 8 ? * MO *", "0 8 ? *", ""]
        {
            assert!(!is_cron(bad), "{bad}");
        }
    }
}
