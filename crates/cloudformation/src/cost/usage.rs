//! What is used: counted in the templates, or assumed by the environment.

use environment::{Architecture, Capacity, Environment, Project};
use serde_json::Value as Json;

use super::{Estimate, HOURS, Item, Prices, Scenario, rounded};
use crate::budget::Budget;
use crate::cron::Cron;

/// Days of a month in which deployments happen.
const DAYS: f64 = 30.0;
/// Gigabytes that a load balancer passes on an hour for one LCU, and new connections a second.
const LCU_GIGABYTES_AN_HOUR: f64 = 1.0;
const LCU_CONNECTIONS_A_SECOND: f64 = 25.0;
/// Minutes of actions that a deployment keeps the pipeline busy beside its build: staging, tests, production.
const PIPELINE_MINUTES: f64 = 15.0;
/// Minutes of actions, and of the smallest build, that a month has free.
const FREE_MINUTES: f64 = 100.0;
/// Steps of workflows that a month has free, and those of an approval that is answered in time, with its start.
const FREE_STEPS: f64 = 4_000.0;
const STEPS_AN_APPROVAL: f64 = 5.0;
const KILOBYTES_A_GIGABYTE: f64 = 1_000_000.0;

pub(super) fn environment(
    environment: &Environment,
    templates: &[&Json],
    prices: &Prices,
    scenario: Scenario,
) -> Estimate {
    let mut bill = Estimate { of: environment.name.to_string(), lines: Vec::new() };
    let price = |item| prices.of(item);
    let cost = &environment.cost;
    let share = load(environment, scenario);
    let requests = count(cost.conversations) * share * f64::from(cost.requests_per_conversation);
    let gigabytes = requests * f64::from(cost.kilobytes_per_request) / KILOBYTES_A_GIGABYTE;

    tasks(&mut bill, environment, prices, scenario);
    let zones = f64::from(environment.network.zones);
    let balancers = number(templates, "AWS::ElasticLoadBalancingV2::LoadBalancer");
    bill.count("load balancer", balancers * HOURS, "hours", price(Item::LoadBalancerHour));
    let connections = requests / (HOURS * 3600.0) / LCU_CONNECTIONS_A_SECOND;
    let lcus = connections.max(gigabytes / HOURS / LCU_GIGABYTES_AN_HOUR);
    bill.count("load balancer: capacity", lcus * HOURS, "LCU-hours", price(Item::LoadBalancerLcuHour));
    let gateways = number(templates, "AWS::EC2::NatGateway");
    bill.count("NAT gateway", gateways * HOURS, "hours", price(Item::NatGatewayHour));
    if gateways > 0.0 {
        bill.count("NAT gateway: data", f64::from(cost.nat_gigabytes), "GB", price(Item::NatGigabyte));
    }
    let interfaces = resources(templates, "AWS::EC2::VPCEndpoint")
        .filter(|endpoint| endpoint["Properties"]["VpcEndpointType"] == "Interface")
        .count();
    let hours = count(interfaces as u64) * zones * HOURS;
    bill.count("interface endpoints", hours, "zone-hours", price(Item::InterfaceEndpointZoneHour));
    if interfaces > 0 && gateways == 0.0 {
        let data = f64::from(cost.nat_gigabytes);
        bill.count("interface endpoints: data", data, "GB", price(Item::InterfaceEndpointGigabyte));
    }
    // A gateway has one address, a load balancer one in each zone.
    let addresses = gateways + balancers * zones;
    bill.count("public addresses", addresses * HOURS, "hours", price(Item::PublicAddressHour));
    bill.count("data out", gigabytes, "GB", price(Item::DataOutGigabyte));
    firewall(&mut bill, templates, prices, requests);
    monitoring(&mut bill, environment, templates, prices);
    keys(&mut bill, templates, prices);
    if number(templates, "AWS::DynamoDB::Table") > 0.0 {
        // A message is read with its conversation and written back.
        let millions = requests / 1_000_000.0;
        bill.count("conversations: writes", millions, "million", price(Item::TableMillionWrites));
        bill.count("conversations: reads", millions, "million", price(Item::TableMillionReads));
        bill.count("conversations: storage", gigabytes, "GB", price(Item::TableGigabyteMonth));
    }
    bill
}

pub(super) fn shared(
    project: &Project,
    environment: &Environment,
    templates: &[&Json],
    prices: &Prices,
    scenario: Scenario,
) -> Estimate {
    let mut bill = Estimate { of: "shared".to_owned(), lines: Vec::new() };
    let cost = &environment.cost;
    let price = |item| prices.of(item);
    bill.count("images", f64::from(cost.image_gigabytes), "GB", price(Item::ImageGigabyteMonth));
    let deployments = deployments(environment, scenario);
    let minutes = deployments * f64::from(cost.build_minutes);
    let (free, minute) = match project.build.compute.as_str() {
        "BUILD_GENERAL1_SMALL" => (FREE_MINUTES, price(Item::BuildSmallMinute)),
        "BUILD_GENERAL1_LARGE" => (0.0, price(Item::BuildLargeMinute)),
        _ => (0.0, price(Item::BuildMediumMinute)),
    };
    bill.count("builds", (minutes - free).max(0.0), "minutes", minute);
    let busy = deployments * PIPELINE_MINUTES + minutes;
    bill.count("pipeline", (busy - FREE_MINUTES).max(0.0), "action minutes", price(Item::PipelineActionMinute));
    let steps = number(templates, "AWS::StepFunctions::StateMachine") * deployments * STEPS_AN_APPROVAL;
    let thousands = (steps - FREE_STEPS).max(0.0) / 1_000.0;
    bill.count("watch over approvals", thousands, "thousand steps", price(Item::WorkflowThousandSteps));
    let artifacts = number(templates, "AWS::S3::Bucket");
    bill.count("artifacts and caches", artifacts, "GB", price(Item::ObjectGigabyteMonth));
    alarms(&mut bill, templates, prices);
    keys(&mut bill, templates, prices);
    bill
}

/// Tasks all month, and those that run beside them while a deployment replaces them.
fn tasks(bill: &mut Estimate, environment: &Environment, prices: &Prices, scenario: Scenario) {
    let task = &environment.task;
    let (vcpu, gigabyte) = match task.architecture {
        Architecture::X86_64 => (Item::FargateX86VcpuHour, Item::FargateX86GigabyteHour),
        Architecture::Arm64 => (Item::FargateArmVcpuHour, Item::FargateArmGigabyteHour),
    };
    let share = match task.capacity {
        Capacity::OnDemand => 1.0,
        Capacity::Spot => prices.of(Item::FargateSpotShare),
    };
    let (vcpus, gigabytes) = (f64::from(task.cpu) / 1024.0, f64::from(task.memory.as_mebibytes()) / 1024.0);
    let hour = (vcpus * prices.of(vcpu) + gigabytes * prices.of(gigabyte)) * share;
    let average = average_tasks(environment, scenario);
    let kind = if task.capacity == Capacity::Spot { " on Spot" } else { "" };
    let basis = format!("{} tasks x {vcpus} vCPU, {gigabytes} GB{kind}, {HOURS} h x ${hour:.5}", rounded(average));
    bill.add("tasks", average * HOURS * hour, basis);

    let seconds: u64 = Budget::of(environment).courses[0].phases.iter().map(|phase| phase.time.as_seconds()).sum();
    let deployments = deployments(environment, scenario);
    let overlap = deployments * count(seconds) / 3600.0;
    let basis = format!("{} deployments x {seconds} s x {} tasks", rounded(deployments), rounded(average));
    bill.add("tasks: blue beside green", overlap * average * hour, basis);
}

fn firewall(bill: &mut Estimate, templates: &[&Json], prices: &Prices, requests: f64) {
    let firewalls = number(templates, "AWS::WAFv2::WebACL");
    bill.count("firewall", firewalls, "firewalls", prices.of(Item::FirewallMonth));
    let rules = resources(templates, "AWS::WAFv2::WebACL").filter_map(|acl| acl["Properties"]["Rules"].as_array());
    let rules = count(rules.map(|rules| rules.len() as u64).sum());
    bill.count("firewall: rules", rules, "rules", prices.of(Item::FirewallRuleMonth));
    let millions = firewalls * requests / 1_000_000.0;
    bill.count("firewall: requests", millions, "million", prices.of(Item::FirewallMillionRequests));
}

fn monitoring(bill: &mut Estimate, environment: &Environment, templates: &[&Json], prices: &Prices) {
    let logs = f64::from(environment.cost.log_gigabytes);
    bill.count("logs: taken in", logs, "GB", prices.of(Item::LogGigabyteIn));
    bill.count("logs: kept", logs, "GB", prices.of(Item::LogGigabyteMonth));
    let insights = resources(templates, "AWS::ECS::Cluster")
        .any(|cluster| cluster["Properties"]["ClusterSettings"].to_string().contains("enabled"));
    let own = number(templates, "AWS::Logs::MetricFilter");
    let metrics = own + if insights { f64::from(environment.cost.insights_metrics) } else { 0.0 };
    bill.count("metrics", metrics, "metrics", prices.of(Item::MetricMonth));
    alarms(bill, templates, prices);
    let boards = number(templates, "AWS::CloudWatch::Dashboard");
    bill.count("dashboards", boards, "dashboards", prices.of(Item::DashboardMonth));
}

/// An alarm counts by the metrics that it watches.
fn alarms(bill: &mut Estimate, templates: &[&Json], prices: &Prices) {
    let watched = resources(templates, "AWS::CloudWatch::Alarm").map(|alarm| {
        let queries = alarm["Properties"]["Metrics"].as_array().into_iter().flatten();
        queries.filter(|query| query["MetricStat"].is_object()).count().max(1) as u64
    });
    bill.count("alarms", count(watched.sum()), "metrics with an alarm", prices.of(Item::AlarmMonth));
    let composites = number(templates, "AWS::CloudWatch::CompositeAlarm");
    bill.count("alarms over alarms", composites, "alarms", prices.of(Item::CompositeAlarmMonth));
}

fn keys(bill: &mut Estimate, templates: &[&Json], prices: &Prices) {
    let keys = number(templates, "AWS::KMS::Key");
    bill.count("keys", keys, "keys", prices.of(Item::KeyMonth));
    let secrets = number(templates, "AWS::SecretsManager::Secret");
    bill.count("secrets", secrets, "secrets", prices.of(Item::SecretMonth));
}

/// Deployments a month.
fn deployments(environment: &Environment, scenario: Scenario) -> f64 {
    match scenario {
        Scenario::Base | Scenario::Peak => f64::from(environment.cost.deployments_per_day) * DAYS,
        Scenario::TenDeploys => 10.0 * DAYS,
    }
}

/// How much more traffic the scenario has than the base.
fn load(environment: &Environment, scenario: Scenario) -> f64 {
    let scaling = &environment.autoscaling;
    match scenario {
        Scenario::Base => 1.0,
        Scenario::Peak | Scenario::TenDeploys => f64::from(scaling.max) / f64::from(scaling.desired.max(1)),
    }
}

/// Tasks that run on average: the maximum at the peak, else the minimum that the schedules of a week leave.
fn average_tasks(environment: &Environment, scenario: Scenario) -> f64 {
    let scaling = &environment.autoscaling;
    if scenario != Scenario::Base {
        return f64::from(scaling.max);
    }
    let schedules: Vec<_> = scaling
        .schedules
        .iter()
        .filter_map(|schedule| Some((Cron::parse(&schedule.cron).ok()?, schedule.min)))
        .collect();
    // The first week finds out what holds when the second begins.
    let mut tasks = scaling.desired;
    let mut sum = 0_u64;
    const WEEK: u32 = 7 * 24 * 60;
    for minute in 0..2 * WEEK {
        let (day, hour) = (minute / (24 * 60) % 7, minute / 60 % 24);
        let mut later_first = schedules.iter().rev();
        if let Some((_, min)) = later_first.find(|(cron, _)| cron.is_due(day, hour, minute % 60)) {
            tasks = *min;
        }
        if minute >= WEEK {
            sum += u64::from(tasks);
        }
    }
    count(sum) / f64::from(WEEK)
}

fn resources<'a>(templates: &'a [&'a Json], kind: &'static str) -> impl Iterator<Item = &'a Json> {
    let all = templates.iter().flat_map(|template| template["Resources"].as_object().into_iter().flatten());
    all.map(|(_, resource)| resource).filter(move |resource| resource["Type"] == kind)
}

fn number(templates: &[&Json], kind: &'static str) -> f64 {
    count(resources(templates, kind).count() as u64)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count(number: u64) -> f64 {
    number as f64
}
