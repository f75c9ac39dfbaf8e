//! What the agent's log says about the identity that it uses.
//!
//! `ssm-cli` answers from what the agent noted when it started: it names a node also where Systems Manager refuses the
//! agent. Only the log tells. The words are those of amazon-ssm-agent 3.3.0.0 (`core/app/credentialrefresher`,
//! `agent/managedInstances/fingerprint`, `common/identity`).

/// Where the agent writes its log.
pub(crate) const LOG_FILE: &str = "/var/log/amazon/ssm/amazon-ssm-agent.log";

/// How much of the end of the log is read.
pub(crate) const TAIL_BYTES: u64 = 256 * 1024;

/// How the agent stands with Systems Manager, by the last line of its log that says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The log does not say.
    #[default]
    Silent,
    /// The agent started, and nothing more yet.
    Starting,
    /// It has credentials of its node.
    Ready,
    /// It does not reach Systems Manager, in the words of the log.
    Unreachable(String),
    /// Systems Manager does not take it for the node, in the words of the log.
    Refused(Kind, String),
}

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The machine is no longer the one that was registered: resized, restored, copied.
    Fingerprint,
    /// The node was deregistered, or its key is not the one that Systems Manager knows.
    Denied,
    /// The time of the machine is off. It says nothing about the registration.
    Clock,
}

/// The agent has credentials.
const READY: &str = "Credentials ready";
const STILL_READY: &str = "Next credential rotation will be in";

/// What was before counts no longer.
const STARTING: [&str; 2] = ["Starting Core Agent", "Successfully registered the instance"];

/// The agent calls itself ready without having asked Systems Manager: after the first, because it does not share its
/// credentials, and before the second, because those of before the start have not expired.
const NOT_SHARED: &str = "Identity does not want core agent to rotate credentials";
const FROM_BEFORE: &str = "Starting credentials refresher loop";

/// The agent asked for credentials and did not get any.
const UNREACHABLE: &str = "Retrieve credentials produced error";

const FINGERPRINT: [&str; 4] = [
    "MachineFingerprintDoesNotMatch",
    "fingerprint does not match",
    "has changed from the registered value",
    "configuration has changed more than the allowed threshold",
];

/// Refusals of a caller, as AWS words them.
const DENIED: [&str; 8] = [
    "AccessDenied",
    "InvalidInstanceId",
    "UnrecognizedClient",
    "InvalidSignature",
    "InvalidClientTokenId",
    "not authorized to perform",
    "security token included in the request is invalid",
    "is not registered",
];

/// Refusals for the time of the machine, by AWS and by whoever looks at certificates.
const CLOCK: [&str; 5] = [
    "Signature expired",
    "Signature not yet current",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "certificate has expired or is not yet valid",
];

/// What the agent does under its own identity.
const IDENTITY: [&str; 8] = [
    "credential",
    "roletoken",
    "updateinstanceinformation",
    "health",
    "hibernat",
    "controlchannel",
    "control channel",
    "messagesservice",
];

/// The programs that run commands and sessions, and their plugins. What they print is not the agent's own, and they are
/// refused for other reasons, such as a bucket's policy.
const OTHERS: [&str; 4] = ["[ssm-document-worker]", "[ssm-session-worker]", "[aws:", "PluginName"];

const LEVELS: [&str; 7] = ["TRACE", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL"];

/// True for a line that begins an entry, such as `2026-11-22 02:00:00.0000 INFO …`. Others go on with the one before.
fn is_begin(line: &str) -> bool {
    line.split(' ').take(3).any(|word| LEVELS.contains(&word))
}

/// The entries of the agent itself, the lines of each joined.
fn entries(log: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    // The file may begin in the middle of an entry.
    for line in log.lines().skip_while(|line| !is_begin(line)) {
        match entries.last_mut().filter(|_| !is_begin(line)) {
            Some(entry) => *entry = format!("{entry} {}", line.trim()),
            None => entries.push(line.to_owned()),
        }
    }
    entries.retain(|entry| !OTHERS.iter().any(|words| entry.contains(words)));
    entries
}

/// Reads a log.
pub(crate) fn standing(log: &str) -> Standing {
    let (mut standing, mut asks) = (Standing::Silent, true);
    for line in &entries(log) {
        let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
        if line.contains(READY) || line.contains(STILL_READY) && standing != Standing::Starting {
            standing = if asks { Standing::Ready } else { Standing::Starting };
        } else if has(&STARTING) {
            (standing, asks) = (Standing::Starting, true);
        } else if line.contains(NOT_SHARED) {
            asks = false;
        } else if line.contains(FROM_BEFORE) && standing == Standing::Ready {
            standing = Standing::Starting;
        } else if is_about_ec2(line) {
            // Before it is registered, an agent asks for credentials of the EC2 instance, and is refused in many accounts.
        } else if let Some(kind) = kind(line) {
            standing = Standing::Refused(kind, shortened(line));
        } else if line.contains(UNREACHABLE) {
            standing = Standing::Unreachable(shortened(line));
        }
    }
    standing
}

fn is_about_ec2(line: &str) -> bool {
    ["EC2Identity", "EC2RoleProvider", "ec2 identity", "Default Host Management", "IIRRoleProvider"]
        .iter()
        .any(|words| line.contains(words))
}

fn kind(line: &str) -> Option<Kind> {
    let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
    if has(&CLOCK) && (line.contains(UNREACHABLE) || is_about_identity(line)) {
        return Some(Kind::Clock);
    }
    if FINGERPRINT.iter().any(|words| contains_ignoring_case(line, words)) {
        return Some(Kind::Fingerprint);
    }
    (is_about_identity(line) && has(&DENIED) && !has_credentials(line)).then_some(Kind::Denied)
}

/// True if the refusal names a session of the node's own role: then its registration is good, and a policy forbids the call.
fn has_credentials(line: &str) -> bool {
    line.contains("assumed-role/") && line.contains("/mi-")
}

fn is_about_identity(line: &str) -> bool {
    IDENTITY.iter().any(|words| contains_ignoring_case(line, words))
}

fn contains_ignoring_case(text: &str, words: &str) -> bool {
    text.to_ascii_lowercase().contains(&words.to_ascii_lowercase())
}

fn shortened(line: &str) -> String {
    const CHARACTERS: usize = 300;
    line.trim().chars().take(CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT_LINE: &str = "2026-11-22 02:00:01.0000 ERROR [CredentialRefresher] Retrieve credentials produced error: MachineFingerprintDoesNotMatch: Fingerprint doesn't match\n\tstatus code: 400, request id: 1";
    const READY_LINE: &str = "2026-11-22 03:00:00.0000 INFO [CredentialRefresher] Credentials ready";

    fn check(log: &str, expected: &str) {
        let found = match standing(log) {
            Standing::Silent => "silent",
            Standing::Starting => "starting",
            Standing::Ready => "ready",
            Standing::Unreachable(_) => "unreachable",
            Standing::Refused(Kind::Fingerprint, _) => "fingerprint",
            Standing::Refused(Kind::Denied, _) => "denied",
            Standing::Refused(Kind::Clock, _) => "clock",
        };
        assert_eq!(found, expected, "{log}");
    }

    #[test]
    fn the_last_word_counts() {
        let start = "2026-11-22 03:00:00.0000 INFO [amazon-ssm-agent] Starting Core Agent";
        check("", "silent");
        check(FINGERPRINT_LINE, "fingerprint");
        check(&format!("{FINGERPRINT_LINE}\n{READY_LINE}"), "ready");
        check(&format!("{READY_LINE}\n{FINGERPRINT_LINE}"), "fingerprint");
        check(&format!("{READY_LINE}\n{FINGERPRINT_LINE}\n2026-11-22 INFO Sleeping for 27m"), "fingerprint");
        check(&format!("{FINGERPRINT_LINE}\n{start}\n2026-11-22 INFO noise"), "starting");
        check(&format!("{start}\n{FINGERPRINT_LINE}"), "fingerprint");
    }

    #[test]
    fn an_agent_that_asked_nobody_is_not_ready() {
        let start = "INFO [amazon-ssm-agent] Starting Core Agent";
        let (ready, unasked) = ("INFO [CredentialRefresher] Credentials ready", "INFO [CredentialRefresher] ");
        let (not_shared, loop_starts) = (format!("{unasked}{NOT_SHARED}"), format!("{unasked}{FROM_BEFORE}"));
        let rotation = format!("{unasked}Next credential rotation will be in 29.9 minutes");
        check(&[start, &not_shared, ready].join("\n"), "starting");
        check(&[start, &not_shared, ready, FINGERPRINT_LINE].join("\n"), "fingerprint");
        check(&[start, ready, &loop_starts, &rotation].join("\n"), "starting");
        check(&[start, &loop_starts, ready, &rotation].join("\n"), "ready");
        check(&[start, ready, &loop_starts, &rotation, ready, &rotation].join("\n"), "ready");
        check(&rotation, "ready");
    }

    #[test]
    fn what_plugins_say_is_not_about_the_identity() {
        let denied = "AccessDeniedException: User: arn:aws:sts::1:assumed-role/x is not authorized to perform: logs:PutLogEvents (credential scope)";
        for line in [
            format!("ERROR [ssm-session-worker] error uploading to CloudWatch: {denied}"),
            format!("2026-11-22 02:00:00.0000 ERROR [ssm-document-worker] [1a2b] [aws:downloadContent] {denied}"),
            format!("ERROR [ssm-agent-worker] [LongRunningPluginsManager] [aws:cloudWatch] {denied}"),
            "ERROR [ssm-document-worker] a script said: machine fingerprint does not match".to_owned(),
            // The lines of a script have no time.
            format!(
                "INFO [ssm-document-worker] output:\nRetrieve credentials produced error: {denied}\nCredentials ready"
            ),
        ] {
            check(&line, "silent");
            check(&format!("{READY_LINE}\n{line}"), "ready");
            check(&format!("{FINGERPRINT_LINE}\n{line}"), "fingerprint");
        }
        check(&format!("fingerprint does not match\n{READY_LINE}"), "ready");
        // The error of AWS stands on the next line.
        check(
            "ERROR [CredentialRefresher] Retrieve credentials produced error: \n\tAccessDeniedException: no",
            "denied",
        );
    }

    #[test]
    fn refusals_of_the_identity_are_told_from_others() {
        let retrieve = "ERROR [CredentialRefresher] Retrieve credentials produced error:";
        for (line, expected) in [
            (
                "ERROR Cannot connect to AWS Systems Manager.  The hardware ID (a) has changed from the registered value (b).",
                "fingerprint",
            ),
            (
                "ERROR Cannot connect to AWS Systems Manager.  Machine configuration has changed more than the allowed threshold.",
                "fingerprint",
            ),
            ("ERROR machine fingerprint does not match", "fingerprint"),
            (&format!("{retrieve} AccessDeniedException: "), "denied"),
            (&format!("{retrieve} InvalidSignatureException: Signature expired: 2026 is now earlier than"), "clock"),
            (
                &format!(
                    "{retrieve} RequestError: send request failed x509: certificate has expired or is not yet valid"
                ),
                "clock",
            ),
            ("WARN [ssm-document-worker] curl: certificate has expired or is not yet valid", "silent"),
            ("ERROR [HealthCheck] error when calling AWS APIs. error details - InvalidInstanceId: ", "denied"),
            (
                "ERROR [ssm-agent-worker] [HealthCheck] error when calling AWS APIs. error details - AccessDeniedException: \
                 User: arn:aws:sts::111111111111:assumed-role/TagHubNode/mi-0123456789abcdef0 is not authorized",
                "silent",
            ),
            ("ERROR error calling RequestManagedInstanceRoleToken: UnrecognizedClientException: ", "denied"),
            (
                "ERROR [EC2Identity] failed to get credentials: AccessDeniedException: not configured for account",
                "silent",
            ),
            (
                &format!(
                    "{retrieve} no valid credentials could be retrieved for ec2 identity. Err: AccessDeniedException"
                ),
                "silent",
            ),
            ("ERROR [ssm-document-worker] failed to upload output to S3: AccessDenied: Access Denied", "silent"),
            (&format!("{retrieve} RequestError: send request failed"), "unreachable"),
        ] {
            check(line, expected);
        }
    }
}
