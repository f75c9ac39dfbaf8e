//! The permission that a message says is missing.

/// An action such as `ec2:StopInstances`, where the message names one that was denied.
pub fn missing_permission(message: &str) -> Option<String> {
    let at = message.find("not authorized to perform")? + "not authorized to perform".len();
    let rest = message[at..].trim_start_matches([':', ' ']);
    let action = rest.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | ')' | '"' | '\'')).next()?;
    let action = action.trim_end_matches('.');
    let (service, name) = action.split_once(':')?;
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (is_word(service) && is_word(name)).then(|| action.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_action_is_read_from_iams_own_sentence() {
        for (message, expected) in [
            ("User: x is not authorized to perform: ec2:StopInstances on resource: y", Some("ec2:StopInstances")),
            ("is not authorized to perform: ssm:DescribeDocument because no policy", Some("ssm:DescribeDocument")),
            ("You are not authorized to perform this operation.", None),
            ("Access denied", None),
            ("", None),
        ] {
            assert_eq!(missing_permission(message).as_deref(), expected, "{message}");
        }
    }
}
