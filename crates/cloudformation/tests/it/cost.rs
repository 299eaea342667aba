//! What a month costs.

use cloudformation::cost::{Estimate, Prices, Scenario, brief, of_environment, savings, shared};
use cloudformation::templates;
use environment::{Architecture, Capacity, Nat, Schedule};

use crate::variants::{Fixture, aws, committed, project};

fn prices() -> Prices {
    Prices::parse(Prices::TOKYO).unwrap()
}

#[test]
fn the_briefs_totals_come_out_of_its_own_lines() {
    // About $102, $170 and $180 a month.
    for (scenario, total) in [(Scenario::Base, 102.0), (Scenario::Peak, 172.0), (Scenario::TenDeploys, 182.0)] {
        let lines = brief(&prices(), scenario);
        let sum: f64 = lines.iter().map(|line| line.brief).sum();
        assert!((sum - total).abs() < 0.005, "{sum} {scenario:?}");
        assert!(lines.iter().all(|line| !line.because.is_empty()));
    }
}

#[test]
fn a_task_costs_what_its_hours_cost() {
    let mut production = committed().remove(1);
    production.autoscaling.schedules.clear();
    let bill = of_environment(&project(), &production, &prices(), Scenario::Base).unwrap();
    let tasks = bill.lines.iter().find(|line| line.name == "tasks").unwrap();
    // Two tasks of 0.25 vCPU and 0.5 GB on x86_64, 730 hours.
    let expected = 2.0 * 730.0 * (0.25 * 0.05056 + 0.5 * 0.00553);
    assert!((tasks.usd - expected).abs() < 1e-9, "{tasks:?}");
    assert!((bill.total() - bill.lines.iter().map(|line| line.usd).sum::<f64>()).abs() < 1e-9);
}

#[test]
fn schedules_count_by_the_hours_they_leave() {
    let mut production = committed().remove(1);
    let schedule = |name: &str, cron: &str, min| Schedule {
        name: name.to_owned(),
        cron: cron.to_owned(),
        timezone: "Asia/Tokyo".to_owned(),
        min,
        max: 10,
    };
    production.autoscaling.schedules =
        vec![schedule("day", "0 8 ? * MON-FRI *", 3), schedule("night", "0 20 ? * * *", 1)];
    let bill = of_environment(&project(), &production, &prices(), Scenario::Base).unwrap();
    let tasks = bill.lines.iter().find(|line| line.name == "tasks").unwrap();
    // Five days of twelve hours with three tasks, the rest of 168 hours with one.
    let average = (60.0 * 3.0 + 108.0) / 168.0;
    let expected = average * 730.0 * (0.25 * 0.05056 + 0.5 * 0.00553);
    assert!((tasks.usd - expected).abs() < 1e-9, "{tasks:?}");
}

#[test]
fn spot_arm_and_fewer_gateways_save() {
    let mut production = committed().remove(1);
    production.network.nat = Nat::PerZone;
    production.task.capacity = Capacity::OnDemand;
    production.task.architecture = Architecture::X86_64;
    production.autoscaling.schedules.clear();
    let found = savings(&project(), &production, &prices(), Scenario::Base).unwrap();
    for setting in ["task.capacity: spot", "autoscaling.schedules", "network.nat: single"] {
        let saving = found.iter().find(|saving| saving.setting.starts_with(setting)).unwrap();
        assert!(saving.usd > 1.0, "{saving:?}");
    }
    let gateway = found.iter().find(|saving| saving.setting == "network.nat: single").unwrap();
    // One gateway and its address less.
    assert!((gateway.usd - 730.0 * (0.062 + 0.005)).abs() < 1e-9, "{gateway:?}");

    // What saves a share of the tasks saves more of more tasks; what changes nothing is not offered.
    let spot = |scenario| {
        let found = savings(&project(), &production, &prices(), scenario).unwrap();
        found.iter().find(|saving| saving.setting == "task.capacity: spot").unwrap().usd
    };
    assert!(spot(Scenario::Peak) > 4.0 * spot(Scenario::Base));
    production.autoscaling.desired = 1;
    production.autoscaling.min = 1;
    let found = savings(&project(), &production, &prices(), Scenario::Base).unwrap();
    assert!(found.iter().all(|saving| !saving.setting.starts_with("autoscaling.schedules")), "{found:?}");
}

/// A line counts them, or what they make. These are beginnings of names of types.
#[rustfmt::skip]
const COUNTED: &[&str] = &[
    "CloudWatch::", "CodeBuild::", "CodePipeline::", "DynamoDB::", "EC2::EIP", "EC2::NatGateway", "EC2::VPCEndpoint",
    "ECR::", "ECS::", "ElasticLoadBalancingV2::LoadBalancer", "KMS::Key", "Logs::LogGroup", "Logs::MetricFilter",
    "S3::Bucket", "SecretsManager::Secret", "StepFunctions::", "WAFv2::WebACL",
];
/// `NOT_COUNTED` says so.
const APART: &[&str] =
    &["EC2::FlowLog", "Lambda::", "SecretsManager::RotationSchedule", "SNS::Subscription", "SNS::Topic"];
/// AWS takes nothing for them.
#[rustfmt::skip]
const FREE: &[&str] = &[
    "ApplicationAutoScaling::", "Chatbot::", "CodeConnections::", "CodeDeploy::", "EC2::InternetGateway", "EC2::Route",
    "EC2::SecurityGroup", "EC2::Subnet", "EC2::VPC", "ElasticLoadBalancingV2::Listener",
    "ElasticLoadBalancingV2::TargetGroup", "Events::Rule", "IAM::", "KMS::Alias", "Logs::ResourcePolicy", "S3::BucketPolicy",
    "SNS::TopicPolicy", "SSM::Parameter", "WAFv2::LoggingConfiguration", "WAFv2::WebACLAssociation",
];

#[test]
fn nothing_is_made_of_which_nobody_knows_what_it_costs() {
    let Fixture { project, environments } = aws();
    for environment in &environments {
        for stack in templates(&project, environment).unwrap() {
            for resource in stack.template["Resources"].as_object().unwrap().values() {
                let kind = resource["Type"].as_str().unwrap();
                let name = kind.strip_prefix("AWS::").unwrap();
                let known = [COUNTED, APART, FREE].concat().iter().any(|beginning| name.starts_with(beginning));
                assert!(known, "is {kind} counted, free, or in NOT_COUNTED?");
            }
        }
    }
}

#[test]
fn what_is_there_is_counted_and_what_is_used_beyond_the_free_part() {
    let Fixture { project, mut environments } = aws();
    let production = &mut environments[1];
    let line = |bill: &Estimate, name: &str| bill.lines.iter().find(|line| line.name == name).map(|line| line.usd);
    let own = of_environment(&project, production, &prices(), Scenario::Base).unwrap();
    // One firewall, three rules, five million requests.
    assert_eq!(line(&own, "firewall"), Some(5.0));
    assert_eq!(line(&own, "firewall: rules"), Some(3.0));
    assert_eq!(line(&own, "firewall: requests"), Some(3.0));
    // Eight alarms; one is on three metrics, another on two.
    assert!((line(&own, "alarms").unwrap() - 1.1).abs() < 1e-9);
    assert_eq!(line(&own, "alarms over alarms"), Some(1.0));

    let watch = |environment: &_| {
        let shared = shared(&project, environment, &prices(), Scenario::Base).unwrap();
        line(&shared, "watch over approvals")
    };
    assert_eq!(watch(production), None, "4,000 steps are free");
    production.cost.deployments_per_day = 40;
    // 40 deployments on 30 days, 5 steps each: 2,000 beyond.
    assert!((watch(production).unwrap() - 2.0 * 0.025).abs() < 1e-9);
}

#[test]
fn the_peak_and_ten_deployments_cost_more() {
    let production = committed().remove(1);
    let total = |scenario| {
        let own = of_environment(&project(), &production, &prices(), scenario).unwrap().total();
        own + shared(&project(), &production, &prices(), scenario).unwrap().total()
    };
    let [base, peak, ten] = [Scenario::Base, Scenario::Peak, Scenario::TenDeploys].map(total);
    assert!(base < peak && peak < ten, "{base} {peak} {ten}");
}

#[test]
fn a_table_with_a_row_missing_or_twice_is_refused() {
    let without: String =
        Prices::TOKYO.lines().filter(|line| !line.contains("key-month")).map(|line| format!("{line}\n")).collect();
    assert!(Prices::parse(&without).unwrap_err().to_string().contains("hint: "));
    let line = Prices::TOKYO.lines().find(|line| line.contains("key-month")).unwrap();
    assert!(Prices::parse(&format!("{}{line}\n", Prices::TOKYO)).is_err());
}
