//! What the agent says when it registers.

use hub::ManagedInstanceId;

/// Why the agent did not register, read from its output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The activation expired.
    Expired,
    /// The activation has registered as many instances as it may.
    Exhausted,
    /// Systems Manager does not know this ID with this code.
    Invalid,
    /// The agent holds a registration, and was not told to overwrite it.
    AlreadyRegistered,
    /// The time of the machine does not fit a certificate.
    Clock,
    /// This try will fail again, whatever the time: the disk, the agent's own command line.
    Permanent,
    /// The network or the service; the same try may succeed later.
    Transient,
    /// Words that are not known. The same try may succeed later.
    Unknown,
}

/// The words of Systems Manager and of the agent (3.3), each with what it means. The first that is found counts.
const WORDS: [(&str, Refusal); 32] = [
    ("ActivationExpired", Refusal::Expired),
    ("RegistrationLimitExceeded", Refusal::Exhausted),
    ("InvalidActivation", Refusal::Invalid),
    ("Instance already registered", Refusal::AlreadyRegistered),
    ("InstanceAlreadyRegistered", Refusal::AlreadyRegistered),
    ("Unable to save registration information", Refusal::Permanent),
    ("error persisting the instance registration information", Refusal::Permanent),
    ("flag provided but not defined", Refusal::Permanent),
    ("InvalidPublicKey", Refusal::Permanent),
    ("ValidationException", Refusal::Permanent),
    ("UnsupportedPlatformType", Refusal::Permanent),
    ("AccessDenied", Refusal::Permanent),
    ("UnrecognizedClient", Refusal::Permanent),
    ("InvalidClientTokenId", Refusal::Permanent),
    ("OptInRequired", Refusal::Permanent),
    ("certificate has expired or is not yet valid", Refusal::Clock),
    // Any other certificate that the agent does not take, as that of a proxy that looks into what it passes on.
    ("x509: ", Refusal::Permanent),
    ("TooManyUpdates", Refusal::Transient),
    ("InternalServerError", Refusal::Transient),
    ("ServiceUnavailable", Refusal::Transient),
    ("Throttl", Refusal::Transient),
    ("RequestLimitExceeded", Refusal::Transient),
    ("RequestError: send request failed", Refusal::Transient),
    ("Proxy Authentication Required", Refusal::Transient),
    ("proxyconnect", Refusal::Transient),
    ("no such host", Refusal::Transient),
    ("i/o timeout", Refusal::Transient),
    ("connection refused", Refusal::Transient),
    ("connection reset", Refusal::Transient),
    ("network is unreachable", Refusal::Transient),
    ("TLS handshake timeout", Refusal::Transient),
    ("status code: 5", Refusal::Transient),
];

/// Reads a refusal from what the agent printed.
pub(crate) fn refusal(output: &str) -> Refusal {
    let found = WORDS.iter().find(|(word, _)| output.contains(word));
    found.map_or(Refusal::Unknown, |(_, refusal)| *refusal)
}

/// The node that the agent says it was registered as. The last such line counts.
pub(crate) fn registered_node(output: &str) -> Option<ManagedInstanceId> {
    output.lines().rev().filter(|line| line.contains("Successfully registered")).find_map(node_in)
}

/// The first managed instance ID in a text.
fn node_in(text: &str) -> Option<ManagedInstanceId> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).find_map(|word| word.parse().ok())
}

/// The last lines that say something, on one line and not too long, for an error message.
pub(crate) fn tail(output: &str) -> String {
    const LINES: usize = 3;
    const CHARACTERS: usize = 600;
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = lines[lines.len().saturating_sub(LINES)..].join(" | ");
    match text.char_indices().rev().nth(CHARACTERS) {
        Some((start, _)) => format!("…{}", &text[start..]),
        None if text.is_empty() => "it printed nothing".to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let because = |cause: &str| {
            format!("ERROR Registration failed due to error registering the instance with AWS SSM. {cause}")
        };
        for (output, expected) in [
            (because("ActivationExpired: The activation has expired"), Refusal::Expired),
            (because("RegistrationLimitExceeded: limit of 1000"), Refusal::Exhausted),
            (because("InvalidActivation: \n\tstatus code: 400"), Refusal::Invalid),
            (because("TooManyUpdates: there are concurrent updates"), Refusal::Transient),
            (because("ThrottlingException: Rate exceeded\n\tstatus code: 400"), Refusal::Transient),
            (because("Throttling: Rate exceeded"), Refusal::Transient),
            (because("SerializationError: failed\n\tstatus code: 503, request id: "), Refusal::Transient),
            (because("RequestError: send request failed\ncaused by: Post"), Refusal::Transient),
            (because("dial tcp: lookup ssm.us-east-1.amazonaws.com: no such host"), Refusal::Transient),
            (because("proxyconnect tcp: EOF"), Refusal::Transient),
            (
                because(
                    "RequestError: send request failed\ncaused by: x509: certificate has expired or is not yet valid",
                ),
                Refusal::Clock,
            ),
            (because("InvalidPublicKey"), Refusal::Permanent),
            (because("AccessDeniedException: no"), Refusal::Permanent),
            (because("UnrecognizedClientException: The security token"), Refusal::Permanent),
            (because("UnsupportedPlatformType: "), Refusal::Permanent),
            (because("InvalidActivationId: "), Refusal::Invalid),
            (
                because("RequestError: send request failed\ncaused by: x509: certificate signed by unknown authority"),
                Refusal::Permanent,
            ),
            (
                "ERROR Registration failed due to Unable to save registration information. no space left on device"
                    .into(),
                Refusal::Permanent,
            ),
            (because("SomethingNew: of next year"), Refusal::Unknown),
            ("\nInstance already registered. Would you like to override".to_owned(), Refusal::AlreadyRegistered),
            (String::new(), Refusal::Unknown),
        ] {
            assert_eq!(refusal(&output), expected, "{output}");
        }
    }

    #[test]
    fn the_node_is_read_from_the_line_of_success_alone() {
        let line = "2026-11-22 02:00:00 INFO Successfully registered the instance with AWS SSM using Managed instance-id: mi-0123456789abcdef0";
        let node = |output: &str| registered_node(output).map(|id| id.to_string());
        assert_eq!(node(line).as_deref(), Some("mi-0123456789abcdef0"));
        assert_eq!(node(&format!("noise mi-11111111111111111\n{line}\nmore")).as_deref(), Some("mi-0123456789abcdef0"));
        assert_eq!(node("was registered before as mi-0123456789abcdef0"), None);
        assert_eq!(node("Successfully registered … mi-short"), None);
    }

    #[test]
    fn an_excerpt_is_short_and_cut_between_characters() {
        assert_eq!(tail(""), "it printed nothing");
        assert_eq!(tail("a\n\n b \nc\nd\n"), "b | c | d");
        assert!(tail(&"ü".repeat(5000)).chars().count() <= 602);
    }
}
