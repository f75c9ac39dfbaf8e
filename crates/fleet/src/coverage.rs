//! How many instances of an agency and Region have a node: what the manager keeps of a collector's reports.

use hub::{AccountId, Coverage, Region, Timestamp};

/// What is kept of an agency and Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionCoverage {
    /// The agency.
    pub account: AccountId,
    /// The Region of the instances.
    pub region: Region,
    /// How many there are.
    pub coverage: Coverage,
    /// When that last changed.
    pub changed_at: Option<Timestamp>,
}

impl RegionCoverage {
    /// What a parameter `…/<account>/<Region>` says; nothing if it holds something else.
    pub fn of(name: &str, value: &str, changed_at: Option<Timestamp>) -> Option<Self> {
        let mut parts = name.rsplit('/');
        let (region, account) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { account, region, coverage: serde_json::from_str(value).ok()?, changed_at })
    }

    /// Instances that are not terminated.
    pub fn instances(&self) -> usize {
        self.coverage.running.saturating_add(self.coverage.stopped)
    }

    /// Running instances without a node, those that are not named too.
    pub fn unmanaged(&self) -> usize {
        self.coverage.unmanaged.len().saturating_add(self.coverage.unmanaged_omitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str =
        r#"{"running":4,"stopped":1,"managed":3,"unmanaged":["i-0bbbbbbbbbbbbbbbb"],"unmanagedOmitted":1}"#;

    #[test]
    fn a_parameter_is_read_by_its_name_and_value() {
        let kept = RegionCoverage::of("/tag-hub/test-coverage/222222222222/us-west-2", VALUE, None).unwrap();
        assert_eq!((kept.account.as_str(), kept.region.as_str()), ("222222222222", "us-west-2"));
        assert_eq!((kept.instances(), kept.unmanaged()), (5, 2));
    }

    #[test]
    fn what_is_no_coverage_is_left_out() {
        for (name, value) in [
            ("/tag-hub/coverage/222222222222/us-west-2", "{}"),
            ("/tag-hub/coverage/222222222222/us-west-2", "nonsense"),
            ("/tag-hub/coverage/2222/us-west-2", VALUE),
            ("/tag-hub/coverage/222222222222/mars", VALUE),
            ("us-west-2", VALUE),
        ] {
            assert_eq!(RegionCoverage::of(name, value, None), None, "{name} {value}");
        }
    }
}
