//! The EC2 instance behind a node: the tag `tag-hub:source`.

use std::fmt;

use hub::{AccountId, Ec2InstanceId, Region, SOURCE_TAG_KEY};

use super::Tags;

/// `<account>/<region>/<EC2 instance id>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Whose instance it is.
    pub account: AccountId,
    /// Where it is.
    pub region: Region,
    /// The instance.
    pub ec2_instance_id: Ec2InstanceId,
}

impl Source {
    /// The instance that a node's tags name. Nothing where they name none, or in another form than the hub's.
    pub fn of(tags: &Tags) -> Option<Self> {
        let parts: Vec<&str> = tags.get(SOURCE_TAG_KEY)?.split('/').collect();
        let [account, region, ec2_instance_id] = parts.as_slice() else { return None };
        Some(Self {
            account: account.parse().ok()?,
            region: region.parse().ok()?,
            ec2_instance_id: ec2_instance_id.parse().ok()?,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.account, self.region, self.ec2_instance_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Option<Source> {
        Source::of(&Tags::from([(SOURCE_TAG_KEY.to_owned(), value.to_owned())]))
    }

    #[test]
    fn a_source_reads_as_it_is_written() {
        let source = of("222222222222/us-east-1/i-0abcdef0123456789").unwrap();
        assert_eq!(source.account.as_str(), "222222222222");
        assert_eq!(source.to_string(), "222222222222/us-east-1/i-0abcdef0123456789");
    }

    #[test]
    fn what_is_no_source_is_none() {
        assert_eq!(Source::of(&Tags::new()), None);
        for value in [
            "",
            "//",
            "i-0abcdef0123456789",
            "222222222222/us-east-1",
            "222222222222/us-east-1/mi-0123456789abcdef0",
            "222222222222/us-east-1/i-0abcdef0123456789/x",
            "22222222222/us-east-1/i-0abcdef0123456789",
        ] {
            assert_eq!(of(value), None, "{value}");
        }
    }
}
