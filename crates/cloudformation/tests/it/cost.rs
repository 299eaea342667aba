//! What a month costs.

use cloudformation::cost::{Prices, Scenario, brief, of_environment, savings, shared};
use environment::{Architecture, Capacity, Nat, Schedule};

use crate::variants::{committed, project};

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
    let found = savings(&project(), &production, &prices()).unwrap();
    for setting in ["task.capacity: spot", "autoscaling.schedules", "network.nat: single"] {
        let saving = found.iter().find(|saving| saving.setting.starts_with(setting)).unwrap();
        assert!(saving.usd > 1.0, "{saving:?}");
    }
    let gateway = found.iter().find(|saving| saving.setting == "network.nat: single").unwrap();
    // One gateway and its address less.
    assert!((gateway.usd - 730.0 * (0.062 + 0.005)).abs() < 1e-9, "{gateway:?}");
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
