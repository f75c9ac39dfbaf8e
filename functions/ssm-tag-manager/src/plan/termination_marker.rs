//! The mark on a node whose EC2 instance is gone: the tag `tag-hub:terminated`.

use hub::{TERMINATED_TAG_KEY, Timestamp};

use super::Tags;

/// When the EC2 instance behind a node was reported as terminated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TerminationMarker(pub Timestamp);

impl TerminationMarker {
    /// The mark that a node carries. Nothing where there is none, or one that the hub did not write.
    ///
    /// ```
    /// use ssm_tag_manager::plan::{Tags, TerminationMarker};
    ///
    /// let tags = Tags::from([("tag-hub:terminated".to_owned(), "1795312800".to_owned())]);
    /// assert_eq!(TerminationMarker::of(&tags).map(|marker| marker.0.to_string()).as_deref(), Some("2026-11-22T02:00:00Z"));
    /// ```
    pub fn of(tags: &Tags) -> Option<Self> {
        let value = tags.get(TERMINATED_TAG_KEY)?;
        if !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self(Timestamp::from_unix_seconds(value.parse().ok()?)))
    }

    /// The mark as a tag.
    pub fn to_tags(self) -> Tags {
        Tags::from([(TERMINATED_TAG_KEY.to_owned(), self.0.unix_seconds().to_string())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_unix_seconds() {
        let mark = TerminationMarker(Timestamp::from_unix_seconds(1_795_312_800));
        assert_eq!(mark.to_tags()["tag-hub:terminated"], "1795312800");
        assert_eq!(TerminationMarker::of(&mark.to_tags()), Some(mark));
    }

    #[test]
    fn what_the_hub_did_not_write_is_no_mark() {
        assert_eq!(TerminationMarker::of(&Tags::new()), None);
        for value in ["", "yes", "-1", "+1", " 1", "1.5", "2026-11-22T02:00:00Z", "99999999999999999999"] {
            let tags = Tags::from([(TERMINATED_TAG_KEY.to_owned(), value.to_owned())]);
            assert_eq!(TerminationMarker::of(&tags), None, "{value}");
        }
    }
}
