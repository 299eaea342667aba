//! The price table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What is billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is named after what is billed and its unit")]
pub enum Item {
    #[serde(rename = "fargate-x86-vcpu-hour")]
    FargateX86VcpuHour,
    #[serde(rename = "fargate-x86-gigabyte-hour")]
    FargateX86GigabyteHour,
    FargateArmVcpuHour,
    FargateArmGigabyteHour,
    FargateSpotShare,
    LoadBalancerHour,
    LoadBalancerLcuHour,
    NatGatewayHour,
    NatGigabyte,
    InterfaceEndpointZoneHour,
    InterfaceEndpointGigabyte,
    PublicAddressHour,
    DataOutGigabyte,
    ImageGigabyteMonth,
    PipelineActionMinute,
    #[serde(rename = "pipeline-v1-month")]
    PipelineV1Month,
    BuildSmallMinute,
    BuildMediumMinute,
    BuildLargeMinute,
    LogGigabyteIn,
    LogGigabyteMonth,
    MetricMonth,
    AlarmMonth,
    CompositeAlarmMonth,
    DashboardMonth,
    SecretMonth,
    KeyMonth,
    ObjectGigabyteMonth,
    WorkflowThousandSteps,
    FirewallMonth,
    FirewallRuleMonth,
    FirewallMillionRequests,
    TableMillionWrites,
    TableMillionReads,
    TableGigabyteMonth,
}

impl Item {
    /// The last one, so that a table can be checked for being complete.
    const LAST: Item = Item::TableGigabyteMonth;
}

/// A price, and where it is from.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What is billed.
    pub item: Item,
    /// US dollars for one.
    pub usd: f64,
    /// Where it is from.
    pub source: String,
    /// When it was written down.
    pub date: String,
    /// Whether someone has compared it with AWS's list.
    pub verified: bool,
}

/// A region's prices.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    region: String,
    rows: BTreeMap<Item, Row>,
}

/// A table that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    /// It is no table.
    #[error("it is no price table: {0}\n  hint: crates/cloudformation/prices/ap-northeast-1.yaml is one")]
    Malformed(String),
    /// It is not complete, or not unique.
    #[error("it has {found} items of {wanted}, each once\n  hint: add the missing rows")]
    Incomplete {
        /// Items that it has.
        found: usize,
        /// Items that there are.
        wanted: usize,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    region: String,
    rows: Vec<Row>,
}

impl Prices {
    /// The committed table, Tokyo.
    pub const TOKYO: &str = include_str!("../../prices/ap-northeast-1.yaml");

    /// Reads a table.
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        let file: File = serde_yaml::from_str(text).map_err(|error| PriceError::Malformed(error.to_string()))?;
        let listed = file.rows.len();
        let rows: BTreeMap<Item, Row> = file.rows.into_iter().map(|row| (row.item, row)).collect();
        let wanted = Item::LAST as usize + 1;
        if rows.len() != wanted || listed != wanted {
            return Err(PriceError::Incomplete { found: rows.len(), wanted });
        }
        Ok(Prices { region: file.region, rows })
    }

    /// The price of one.
    pub fn of(&self, item: Item) -> f64 {
        self.rows[&item].usd
    }

    /// The region that they are of.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// All rows.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }
}
