//! The brief's own table, line by line, beside what the same things cost by the price table.

use super::{HOURS, Item, Prices, Scenario};

/// A line of the brief and today's list price of the same thing.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Comparison {
    /// What for, in the brief's words.
    pub name: &'static str,
    /// What the brief assumes.
    pub assumes: String,
    /// The brief's sum, US dollars a month.
    pub brief: f64,
    /// The same by the price table.
    pub list: f64,
    /// Why they differ.
    pub because: String,
}

/// What the brief's rows come down to for one unit.
const DOLLARS_A_TASK: f64 = 7.5;
const DOLLARS_A_BUILD_MINUTE: f64 = 0.05;
/// What the brief gives a task: 0.25 vCPU and 0.5 GB.
const VCPUS: f64 = 0.25;
const GIGABYTES: f64 = 0.5;
/// Metrics, alarms and a dashboard that make "logs 5 GB and metrics" of a service like this one.
const METRICS: f64 = 10.0;
const ALARMS: f64 = 10.0;

/// What the brief says that all of it costs: its sums, rounded.
pub fn brief_says(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Base => "about $102",
        Scenario::Peak => "about $170",
        Scenario::TenDeploys => "about $180",
    }
}

/// The brief's lines. Its third total counts ten deployments a day on top of the peak: 172 + 10.
pub fn brief(prices: &Prices, scenario: Scenario) -> Vec<Comparison> {
    let (tasks, lcu_dollars, lcus, minutes) = match scenario {
        Scenario::Base => (2.0, 0.0, 1.0, 100.0),
        Scenario::Peak => (10.0, 10.0, 2.7, 100.0),
        Scenario::TenDeploys => (10.0, 10.0, 2.7, 300.0),
    };
    let price = |item| prices.of(item);
    let task = |vcpu, gigabyte| (VCPUS * price(vcpu) + GIGABYTES * price(gigabyte)) * HOURS;
    let x86 = task(Item::FargateX86VcpuHour, Item::FargateX86GigabyteHour);
    let arm = task(Item::FargateArmVcpuHour, Item::FargateArmGigabyteHour);
    let spot = x86 * price(Item::FargateSpotShare);
    let balancer = HOURS * (price(Item::LoadBalancerHour) + lcus * price(Item::LoadBalancerLcuHour));
    let build = price(Item::BuildSmallMinute);
    let logs = 5.0 * (price(Item::LogGigabyteIn) + price(Item::LogGigabyteMonth));
    let watch = METRICS * price(Item::MetricMonth) + ALARMS * price(Item::AlarmMonth) + price(Item::DashboardMonth);
    vec![
        Comparison {
            name: "ECS Fargate",
            assumes: format!("{tasks} tasks x {VCPUS} vCPU x {GIGABYTES} GB, ${DOLLARS_A_TASK} each"),
            brief: tasks * DOLLARS_A_TASK,
            list: tasks * x86,
            because: format!(
                "a task all month is ${x86:.2} on demand on x86_64, ${arm:.2} on arm64, ${spot:.2} on Spot; $7.50 is {:.0} % \
                 of the x86_64 price",
                100.0 * DOLLARS_A_TASK / x86
            ),
        },
        Comparison {
            name: "ALB",
            assumes: format!("1 ALB + LCU{}", if lcu_dollars > 0.0 { ", LCU +$10" } else { "" }),
            brief: 25.0 + lcu_dollars,
            list: balancer,
            because: format!(
                "${:.2} for the hours and {lcus} LCU on average at ${:.2} a month each",
                HOURS * price(Item::LoadBalancerHour),
                HOURS * price(Item::LoadBalancerLcuHour)
            ),
        },
        Comparison {
            name: "NAT Gateway",
            assumes: "1 zone".to_owned(),
            brief: 45.0,
            list: HOURS * price(Item::NatGatewayHour),
            because: format!("rounded; data is ${} a GB on top, in neither sum", price(Item::NatGigabyte)),
        },
        Comparison {
            name: "ECR",
            assumes: "10 GB".to_owned(),
            brief: 1.0,
            list: 10.0 * price(Item::ImageGigabyteMonth),
            because: "the same".to_owned(),
        },
        Comparison {
            name: "CodePipeline",
            assumes: "1 pipeline".to_owned(),
            brief: 1.0,
            list: price(Item::PipelineV1Month),
            because: format!(
                "a pipeline of type V1; ours is V2, ${} for each minute of an action after 100",
                price(Item::PipelineActionMinute)
            ),
        },
        Comparison {
            name: "CodeBuild",
            assumes: format!("{minutes} minutes, ${DOLLARS_A_BUILD_MINUTE} each"),
            brief: minutes * DOLLARS_A_BUILD_MINUTE,
            list: (minutes - 100.0) * build,
            because: format!("general1.small is ${build} a minute, a tenth of the brief's, and 100 minutes are free"),
        },
        Comparison {
            name: "CloudWatch",
            assumes: "logs 5 GB and metrics".to_owned(),
            brief: 10.0,
            list: logs + watch,
            because: format!(
                "logs ${logs:.2}; {METRICS} metrics, {ALARMS} alarms and a dashboard ${watch:.2} (free tier not counted)"
            ),
        },
    ]
}
