//! The tag keys with a meaning of their own.

/// On a managed node: the account that owns it. Written by the activation, never by a function.
pub const AGENCY_TAG_KEY: &str = "tag-hub:agency";

/// On a managed node: the EC2 instance behind it, `<account>/<region>/<EC2 instance id>`.
pub const SOURCE_TAG_KEY: &str = "tag-hub:source";

/// On a managed node: when the last applied report was observed, and which keys the hub set.
pub const APPLIED_TAG_KEY: &str = "tag-hub:applied";

/// On a managed node: when the EC2 instance behind it was reported as terminated, in unix seconds. Absent on a node
/// that lives.
pub const TERMINATED_TAG_KEY: &str = "tag-hub:terminated";

/// On an EC2 instance: the id of its managed node. The join key, and never copied.
pub const MANAGED_INSTANCE_ID_TAG_KEY: &str = "managedinstanceid";

/// True for a key that no EC2 tag may carry over: `tag-hub:` and `aws:` in any case, and the join key.
///
/// ```
/// assert!(hub::is_reserved("AWS:cloudformation:stack-name"));
/// assert!(!hub::is_reserved("Env"));
/// ```
///
/// AWS reserves `aws:` in any case: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html>
pub fn is_reserved(key: &str) -> bool {
    let starts_with = |prefix: &str| key.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    starts_with("tag-hub:") || starts_with("aws:") || key == MANAGED_INSTANCE_ID_TAG_KEY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_keys() {
        for key in [AGENCY_TAG_KEY, SOURCE_TAG_KEY, APPLIED_TAG_KEY, TERMINATED_TAG_KEY] {
            assert!(is_reserved(key), "{key}");
        }
        for key in ["tag-hub:agency", "TAG-hub:x", "aws:cloudformation:stack-name", "AWS:x", "managedinstanceid"] {
            assert!(is_reserved(key), "{key}");
        }
        for key in ["Env", "aws", "awsome", "tag-hub", "xaws:", "ManagedInstanceId", "äws:", ""] {
            assert!(!is_reserved(key), "{key}");
        }
    }
}
