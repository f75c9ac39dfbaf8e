//! How many instances of each agency have a node, and which have none.

use fleet::RegionCoverage;
use hub::{Coverage, Timestamp};
use serde::Serialize;

use super::agencies::Agency;
use super::table::{Cell, Columns, Row};
use super::time::{counted, grouped, rough};
use crate::terminal::Sign;

/// The columns of the table of Regions.
pub const COLUMNS: Columns = Columns {
    headers: &["AGENCY", "REGION", "RUNNING", "STOPPED", "MANAGED", "LAST CHANGE"],
    kept: 2,
    keys: &["account", "name", "region", "running", "stopped", "managed", "unmanaged", "lastChange"],
};

/// The columns of the table of instances without a node.
pub const UNMANAGED_COLUMNS: Columns = Columns {
    headers: &["INSTANCE", "AGENCY", "REGION"],
    kept: 2,
    keys: &["ec2InstanceId", "account", "name", "region"],
};

/// An agency and Region, beside what the agency is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// What is kept.
    pub of: &'a RegionCoverage,
    /// What its grant calls the agency.
    pub name: Option<&'a str>,
}

/// The same for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Json<'a> {
    account: &'a str,
    name: Option<&'a str>,
    region: &'a str,
    #[serde(flatten)]
    coverage: &'a Coverage,
    last_change: Option<Timestamp>,
}

impl<'a> Line<'a> {
    /// What is kept, with the name of its agency.
    pub fn new(of: &'a RegionCoverage, agencies: &'a [Agency]) -> Self {
        let agency = agencies.iter().find(|agency| agency.account == of.account);
        Self { of, name: agency.and_then(|agency| agency.name.as_deref()) }
    }

    fn label(&self) -> &'a str {
        self.name.unwrap_or(self.of.account.as_str())
    }

    /// Its row in the table of Regions.
    pub fn row(&self, now: Timestamp) -> Row {
        let RegionCoverage { account, region, coverage, changed_at } = self.of;
        let sign = if self.of.unmanaged() == 0 { Sign::Good } else { Sign::Look };
        let managed = format!("{} of {}", grouped(coverage.managed), grouped(self.of.instances()));
        let age = |at: Timestamp| format!("{} ago", rough(now.unix_seconds() - at.unix_seconds()));
        Row {
            cells: vec![
                Cell::text(self.label()),
                Cell::text(region.as_str()),
                Cell::text(grouped(coverage.running)),
                Cell::text(grouped(coverage.stopped)),
                Cell::mark(sign, managed),
                Cell::text(changed_at.map_or_else(|| "-".to_owned(), age)),
            ],
            piped: vec![
                account.to_string(),
                self.name.unwrap_or("-").to_owned(),
                region.to_string(),
                coverage.running.to_string(),
                coverage.stopped.to_string(),
                coverage.managed.to_string(),
                self.of.unmanaged().to_string(),
                changed_at.map_or_else(|| "-".to_owned(), |at| at.to_string()),
            ],
        }
    }

    /// A row for each of its instances without a node.
    pub fn unmanaged_rows(&self) -> impl Iterator<Item = Row> {
        self.of.coverage.unmanaged.iter().map(|instance| Row {
            cells: vec![Cell::text(instance), Cell::text(self.label()), Cell::text(self.of.region.as_str())],
            piped: vec![
                instance.clone(),
                self.of.account.to_string(),
                self.name.unwrap_or("-").to_owned(),
                self.of.region.to_string(),
            ],
        })
    }

    /// The same for programs.
    pub fn json(&self) -> Json<'a> {
        let RegionCoverage { account, region, coverage, changed_at } = self.of;
        Json { account: account.as_str(), name: self.name, region: region.as_str(), coverage, last_change: *changed_at }
    }
}

/// All of it in a line.
pub fn summary(all: &[Line<'_>]) -> String {
    let sum = |of: fn(&RegionCoverage) -> usize| all.iter().fold(0_usize, |sum, line| sum.saturating_add(of(line.of)));
    let mut words = format!(
        "{} of {} managed",
        grouped(sum(|one| one.coverage.managed)),
        counted(sum(RegionCoverage::instances), "instance")
    );
    if sum(RegionCoverage::unmanaged) > 0 {
        words += &format!("; {} running without a node", grouped(sum(RegionCoverage::unmanaged)));
    }
    if sum(|one| one.coverage.unmanaged_omitted) > 0 {
        words += &format!(", {} of them not listed", grouped(sum(|one| one.coverage.unmanaged_omitted)));
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terminal::{Color, Stream};
    use crate::view::table::{render, tabs};

    const NAME: &str = "/tag-hub/test-coverage/222222222222/us-west-2";
    const VALUE: &str =
        r#"{"running":4,"stopped":1,"managed":3,"unmanaged":["i-0bbbbbbbbbbbbbbbb"],"unmanagedOmitted":1}"#;

    fn kept() -> RegionCoverage {
        RegionCoverage::of(NAME, VALUE, Some("2026-11-23T05:00:00Z".parse().unwrap())).unwrap()
    }

    #[test]
    fn a_region_for_people_and_for_programs() {
        let (kept, agencies) = (
            kept(),
            [Agency {
                account: "222222222222".parse().unwrap(),
                name: Some("Parks".to_owned()),
                manager_version: "7".to_owned(),
            }],
        );
        let line = Line::new(&kept, &agencies);
        let stream = Stream::new(Some((100, 24)), Color::Never, |name| (name == "LANG").then(|| "C.UTF-8".to_owned()));
        let now = "2026-11-23T06:00:00Z".parse().unwrap();
        insta::assert_snapshot!(render(&COLUMNS, &[line.row(now)], &stream), @r"
        AGENCY  REGION     RUNNING  STOPPED  MANAGED   LAST CHANGE
        Parks   us-west-2  4        1        ! 3 of 5  1 h ago
        ");
        assert_eq!(tabs(&line.row(now)), "222222222222\tParks\tus-west-2\t4\t1\t3\t2\t2026-11-23T05:00:00Z\n");
        let rows: Vec<Row> = line.unmanaged_rows().collect();
        assert_eq!(rows.iter().map(tabs).collect::<String>(), "i-0bbbbbbbbbbbbbbbb\t222222222222\tParks\tus-west-2\n");
        let json = serde_json::to_value(line.json()).unwrap();
        assert_eq!((&json["unmanagedOmitted"], &json["lastChange"]), (&json!(1), &json!("2026-11-23T05:00:00Z")));
        assert_eq!(summary(&[line]), "3 of 5 instances managed; 2 running without a node, 1 of them not listed");
    }
}
