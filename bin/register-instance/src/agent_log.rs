//! What the agent's log says about the identity that it uses.
//!
//! `ssm-cli` answers from what the agent noted when it started: it names a node also where Systems Manager refuses the
//! agent. The log tells, in the words of amazon-ssm-agent 3.1 to 3.3 (`core/app/credentialrefresher`,
//! `agent/managedInstances/fingerprint`, `agent/messageservice`, `common/identity`).

/// Where the agent writes its log.
pub(crate) const LOG_FILE: &str = "/var/log/amazon/ssm/amazon-ssm-agent.log";

/// Where it writes the errors of its log once more.
pub(crate) const ERROR_FILE: &str = "/var/log/amazon/ssm/errors.log";

/// How much of the end of a log is read. The agent begins a new file after 30 MB.
pub(crate) const TAIL_BYTES: u64 = 8 * 1024 * 1024;

/// How the agent stands with Systems Manager, by the last entry of its log that says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The log does not say.
    #[default]
    Silent,
    /// The agent started, and nothing more yet.
    Starting,
    /// It started with credentials of before, and has not asked for others since.
    NotAsked,
    /// It leaves it to its workers to ask for credentials, and notes none.
    NotShared,
    /// It has credentials of its node. They may be of before it started: it says that it did not ask for others just after.
    Ready,
    /// Systems Manager gave it credentials since it started, or connected it.
    Accepted,
    /// It does not reach Systems Manager, in the words of the log.
    Unreachable(String),
    /// Systems Manager does not take it for the node, in the words of the log.
    Refused(Kind, String),
    /// One of these two, in words of which it is not known whether they are of the agent, or of the one that runs.
    Doubtful(String),
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

/// The agent's worker is connected, with the credentials of its node.
const CONNECTED: [&str; 2] = ["Set up control channel successfully", "Successfully opened websocket connection to"];

/// What was before counts no longer.
const STARTING: [&str; 2] = ["Starting Core Agent", "Successfully registered the instance"];

/// The agent calls itself ready without having asked Systems Manager: after the first, because it does not share its
/// credentials; before the second, and after the third (3.1), because those of before the start have not expired. After the
/// second it calls itself ready only with what Systems Manager gave it.
const NOT_SHARED: &str = "Identity does not want core agent to rotate credentials";
const ASKING: &str = "Starting credentials refresher loop";
const NOT_EXPIRED: &str = "Credentials exist and have not expired";

/// The agent asked for credentials and did not get any.
const UNREACHABLE: [&str; 2] = ["Retrieve credentials produced", "failed to refresh credentials"];

/// What follows upon that, and is all that is left of it where errors are not logged.
const RETRYING: [&str; 2] = ["returned from AWS API", "before retrying retrieve credentials"];

/// The error of Systems Manager.
const MISMATCH: &str = "MachineFingerprintDoesNotMatch";

/// What the agent says when it compares the hardware by itself.
const CANNOT_CONNECT: &str = "Cannot connect to AWS Systems Manager";
const FINGERPRINT: [&str; 2] =
    ["has changed from the registered value", "configuration has changed more than the allowed threshold"];

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

/// What the agent does under its own identity: its parts, its calls, and its words for them.
const IDENTITY: [&str; 13] = [
    "[credentialrefresher]",
    "[onpremcredsprovider]",
    "[onpremidentity]",
    "[sharedcredentialsprovider]",
    "[tokenrequestservice]",
    "[healthcheck]",
    "[hibernat",
    "[messag",
    "retrieve credentials produced",
    "failed to refresh credentials",
    "returned from aws api",
    "requestmanagedinstanceroletoken",
    "updateinstanceinformation",
];

/// The programs that run commands and sessions, and their plugins. What they print is not the agent's own, and they are
/// refused for other reasons, such as a bucket's policy.
const OTHERS: [&str; 4] = ["[ssm-document-worker]", "[ssm-session-worker]", "[aws:", "PluginName"];

const LEVELS: [&str; 7] = ["TRACE", "DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL"];

/// True for a line that begins an entry, such as `2026-11-22 02:00:00.0000 INFO …`. Others go on with the one before,
/// whatever words they have.
fn is_begin(line: &str) -> bool {
    let mut words = line.split(' ');
    let (Some(date), Some(time), Some(level)) = (words.next(), words.next(), words.next()) else { return false };
    let time = time
        .split_once('.')
        .map_or(time, |(time, fraction)| if fraction.bytes().all(|byte| byte.is_ascii_digit()) { time } else { "" });
    has_form(date, "0000-00-00") && has_form(time, "00:00:00") && LEVELS.contains(&level)
}

/// True if the text has digits where the form has them, and else the same.
fn has_form(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, form)| byte == form || form == b'0' && byte.is_ascii_digit())
}

/// What the agent wrote at once. It says what it does on the first line; on the others stands what somebody else said,
/// such as AWS or a program that was run.
struct Entry<'a> {
    first: &'a str,
    /// All lines, joined.
    whole: String,
}

impl<'a> Entry<'a> {
    fn new(line: &'a str) -> Self {
        Self { first: line, whole: line.to_owned() }
    }

    fn is_own(&self) -> bool {
        !OTHERS.iter().any(|words| self.whole.contains(words))
    }

    fn is_about_identity(&self) -> bool {
        let first = self.first.to_ascii_lowercase();
        IDENTITY.iter().any(|words| first.contains(words))
    }

    /// The words of the log, not too long.
    fn shown(&self) -> String {
        const CHARACTERS: usize = 300;
        self.whole.trim().chars().take(CHARACTERS).collect()
    }
}

/// The entries of a log.
fn entries(log: &str) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    // The file may begin in the middle of an entry.
    for line in log.lines().skip_while(|line| !is_begin(line)) {
        match entries.last_mut().filter(|_| !is_begin(line)) {
            Some(entry) => {
                entry.whole.push(' ');
                entry.whole.push_str(line.trim());
            }
            None => entries.push(Entry::new(line)),
        }
    }
    entries
}

/// Reads a log.
pub(crate) fn standing(log: &str) -> Standing {
    if log.lines().any(is_begin) {
        return read(entries(log).into_iter());
    }
    // Somebody gave the log another form. Whose each line is cannot be told.
    read(log.lines().map(Entry::new)).doubted()
}

impl Standing {
    /// True if it speaks against the agent.
    pub(crate) fn is_bad(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Refused(..) | Self::Doubtful(_))
    }

    /// What is left of it if it may be about another process.
    pub(crate) fn doubted(self) -> Self {
        match self {
            Self::Unreachable(line) | Self::Refused(_, line) | Self::Doubtful(line) => Self::Doubtful(line),
            _ => Self::Silent,
        }
    }
}

fn read<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Standing {
    let (mut standing, mut is_shared, mut is_asking, mut is_of_ec2) = (Standing::Silent, true, false, false);
    for entry in entries.filter(Entry::is_own) {
        let line = entry.first;
        let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
        let is_bad = matches!(standing, Standing::Refused(..) | Standing::Unreachable(_));
        if line.contains(NOT_EXPIRED) {
            standing = Standing::NotAsked;
        } else if line.contains(READY) {
            standing = match standing {
                Standing::Accepted => Standing::Accepted,
                _ if !is_shared => Standing::NotShared,
                _ if is_asking => Standing::Accepted,
                _ => Standing::Ready,
            };
        } else if has(&STARTING) {
            (standing, is_shared, is_asking, is_of_ec2) = (Standing::Starting, true, false, false);
        } else if has(&CONNECTED) {
            // The credentials of before a refusal are good for a while.
            if !matches!(standing, Standing::Refused(..)) {
                standing = Standing::Accepted;
            }
        } else if line.contains(NOT_SHARED) {
            is_shared = false;
        } else if line.contains(ASKING) {
            is_asking = true;
            if standing == Standing::Ready {
                standing = Standing::NotAsked;
            }
        } else if is_about_ec2(&entry.whole) {
            // Before it is registered, an agent asks for credentials of the EC2 instance, and is refused in many accounts.
            is_of_ec2 = true;
        } else if let Some(kind) = kind(&entry) {
            standing = Standing::Refused(kind, entry.shown());
        } else if has(&UNREACHABLE) {
            (standing, is_of_ec2) = (Standing::Unreachable(entry.shown()), false);
        } else if has(&RETRYING) && !is_bad && !is_of_ec2 {
            standing = Standing::Unreachable(entry.shown());
        }
    }
    standing
}

fn is_about_ec2(line: &str) -> bool {
    ["EC2Identity", "EC2RoleProvider", "ec2 identity", "Default Host Management", "IIRRoleProvider"]
        .iter()
        .any(|words| line.contains(words))
}

fn kind(entry: &Entry<'_>) -> Option<Kind> {
    let whole = &entry.whole;
    let has = |words: &[&str]| words.iter().any(|word| whole.contains(word));
    if entry.first.contains(CANNOT_CONNECT) && has(&FINGERPRINT) || entry.first.contains(MISMATCH) {
        return Some(Kind::Fingerprint);
    }
    if !has(&CLOCK) && !has(&DENIED) && !has(&[MISMATCH]) || !entry.is_about_identity() {
        return None;
    }
    if has(&CLOCK) {
        Some(Kind::Clock)
    } else if has(&[MISMATCH]) {
        Some(Kind::Fingerprint)
    } else {
        (!has_credentials(whole)).then_some(Kind::Denied)
    }
}

/// True if the refusal names a session of the node's own role: then its registration is good, and a policy forbids the call.
fn has_credentials(line: &str) -> bool {
    line.contains("assumed-role/") && line.contains("/mi-")
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
            Standing::NotAsked => "not asked",
            Standing::NotShared => "not shared",
            Standing::Doubtful(_) => "doubtful",
            Standing::Ready => "ready",
            Standing::Accepted => "accepted",
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
        check(
            &format!(
                "{READY_LINE}\n{FINGERPRINT_LINE}\n2026-11-22 02:00:02 INFO Sleeping for 27m before retrying retrieve credentials"
            ),
            "fingerprint",
        );
        check(&format!("{FINGERPRINT_LINE}\n{start}\n2026-11-22 02:00:02 INFO noise"), "starting");
        check(&format!("{start}\n{FINGERPRINT_LINE}"), "fingerprint");
    }

    #[test]
    fn an_agent_that_asked_nobody_is_not_ready() {
        let start = "2026-11-22 02:00:00 INFO [amazon-ssm-agent] Starting Core Agent";
        let (ready, unasked) = (
            "2026-11-22 02:00:00 INFO [CredentialRefresher] Credentials ready",
            "2026-11-22 02:00:00 INFO [CredentialRefresher] ",
        );
        let (not_shared, loop_starts) = (format!("{unasked}{NOT_SHARED}"), format!("{unasked}{ASKING}"));
        let rotation = format!("{unasked}Next credential rotation will be in 29.9 minutes");
        check(&[start, &not_shared, ready].join("\n"), "not shared");
        check(&[start, &not_shared, ready, FINGERPRINT_LINE].join("\n"), "fingerprint");
        check(&[start, ready, &loop_starts, &rotation].join("\n"), "not asked");
        check(&[start, ready].join("\n"), "ready");
        check(&[start, &loop_starts, ready, &rotation].join("\n"), "accepted");
        check(&[start, ready, &loop_starts, &rotation, ready, &rotation].join("\n"), "accepted");
        check(&[start, &loop_starts, ready, start, ready].join("\n"), "ready");
        check(&[start, &loop_starts, FINGERPRINT_LINE, ready].join("\n"), "accepted");
        // By itself it does not say whether they are of before the start.
        check(&rotation, "silent");
        let not_expired = format!("{unasked}Credentials exist and have not expired, sending ready message");
        check(&[start, &not_expired, &loop_starts].join("\n"), "not asked");
        // The worker has used them.
        let connected = "2026-11-22 02:00:00 INFO [ssm-agent-worker] [MessageService] [MGSInteractor] Set up control channel successfully";
        check(&[start, ready, &loop_starts, &rotation, connected].join("\n"), "accepted");
        check(&[start, &not_shared, ready, connected].join("\n"), "accepted");
        check(&[start, &not_shared, connected, ready].join("\n"), "accepted");
        check(&[start, FINGERPRINT_LINE, connected].join("\n"), "fingerprint");
    }

    #[test]
    fn what_plugins_say_is_not_about_the_identity() {
        let denied = "AccessDeniedException: User: arn:aws:sts::1:assumed-role/x is not authorized to perform: logs:PutLogEvents (credential scope)";
        for line in [
            format!("2026-11-22 02:00:00 ERROR [ssm-session-worker] error uploading to CloudWatch: {denied}"),
            format!("2026-11-22 02:00:00.0000 ERROR [ssm-document-worker] [1a2b] [aws:downloadContent] {denied}"),
            format!(
                "2026-11-22 02:00:00 ERROR [ssm-agent-worker] [LongRunningPluginsManager] [aws:cloudWatch] {denied}"
            ),
            "2026-11-22 02:00:00 ERROR [ssm-document-worker] a script said: MachineFingerprintDoesNotMatch".to_owned(),
            // The lines of a script have no time.
            format!(
                "2026-11-22 02:00:00 INFO [ssm-document-worker] output:\n2026-11-22 ERROR [CredentialRefresher] Retrieve \
                 credentials produced error: {denied}\nERROR [HealthCheck] {denied}\nCredentials ready"
            ),
        ] {
            check(&line, "silent");
            check(&format!("{READY_LINE}\n{line}"), "ready");
            check(&format!("{FINGERPRINT_LINE}\n{line}"), "fingerprint");
        }
        check(&format!("MachineFingerprintDoesNotMatch\n{READY_LINE}"), "ready");
        // Of an entry of the agent too, only the first line is its own word.
        let quoted =
            format!("2026-11-22 02:00:00 INFO [ssm-agent-worker] it said:\n[HealthCheck] {denied}\nCredentials ready");
        for (before, expected) in [("", "silent"), (READY_LINE, "ready"), (FINGERPRINT_LINE, "fingerprint")] {
            check(&format!("{before}\n{quoted}"), expected);
        }
        // The error of AWS stands on the next line.
        check(
            "2026-11-22 02:00:00 ERROR [CredentialRefresher] Retrieve credentials produced error: \n\tAccessDeniedException: no",
            "denied",
        );
    }

    #[test]
    fn refusals_of_the_identity_are_told_from_others() {
        let retrieve = "2026-11-22 02:00:00 ERROR [CredentialRefresher] Retrieve credentials produced error:";
        for (line, expected) in [
            (
                "2026-11-22 02:00:00 ERROR Cannot connect to AWS Systems Manager.  The hardware ID (a) has changed from the registered value (b).",
                "fingerprint",
            ),
            (
                "2026-11-22 02:00:00 ERROR Cannot connect to AWS Systems Manager.  Machine configuration has changed more than the allowed threshold.",
                "fingerprint",
            ),
            // Loose words are no identity.
            (
                "2026-11-22 02:00:00 ERROR [ssm-agent-worker] git clone failed: host key fingerprint does not match",
                "silent",
            ),
            ("2026-11-22 02:00:00 WARN [ssm-agent-worker] health: docker registry AccessDenied", "silent"),
            ("2026-11-22 02:00:00 ERROR [ssm-agent-worker] s3 credential AccessDenied for role Backup", "silent"),
            ("2026-11-22 02:00:00 ERROR [ssm-agent-worker] the volume has changed from the registered value", "silent"),
            (&format!("{retrieve} AccessDeniedException: "), "denied"),
            (&format!("{retrieve} InvalidSignatureException: Signature expired: 2026 is now earlier than"), "clock"),
            (
                &format!(
                    "{retrieve} RequestError: send request failed x509: certificate has expired or is not yet valid"
                ),
                "clock",
            ),
            (
                "2026-11-22 02:00:00 WARN [ssm-document-worker] curl: certificate has expired or is not yet valid",
                "silent",
            ),
            (
                "2026-11-22 02:00:00 ERROR [HealthCheck] error when calling AWS APIs. error details - InvalidInstanceId: ",
                "denied",
            ),
            (
                "2026-11-22 02:00:00 ERROR [ssm-agent-worker] [HealthCheck] error when calling AWS APIs. error details - AccessDeniedException: \
                 User: arn:aws:sts::111111111111:assumed-role/TagHubNode/mi-0123456789abcdef0 is not authorized",
                "silent",
            ),
            (
                "2026-11-22 02:00:00 ERROR error calling RequestManagedInstanceRoleToken: UnrecognizedClientException: ",
                "denied",
            ),
            (
                "2026-11-22 02:00:00 ERROR [EC2Identity] failed to get credentials: AccessDeniedException: not configured for account",
                "silent",
            ),
            (
                &format!(
                    "{retrieve} no valid credentials could be retrieved for ec2 identity. Err: AccessDeniedException"
                ),
                "silent",
            ),
            (
                "2026-11-22 02:00:00 ERROR [ssm-document-worker] failed to upload output to S3: AccessDenied: Access Denied",
                "silent",
            ),
            (&format!("{retrieve} RequestError: send request failed"), "unreachable"),
            // The words of 3.1, and what is left where errors are not logged.
            (&retrieve.replace("error:", "aws error: InternalServerError: x"), "unreachable"),
            (&retrieve.replace("error:", "unrecoverable aws error: AccessDeniedException: x"), "denied"),
            ("2026-11-22 02:00:00 ERROR [CredentialRefresher] failed to refresh credentials: EOF", "unreachable"),
            (
                "2026-11-22 02:00:00 WARN [CredentialRefresher] Status code %!s(int=400) returned from AWS API. RequestId: x",
                "unreachable",
            ),
            (
                "2026-11-22 02:00:00 INFO [CredentialRefresher] Sleeping for 19s before retrying retrieve credentials",
                "unreachable",
            ),
        ] {
            check(line, expected);
        }
    }
    #[test]
    fn a_log_of_another_form_is_doubted() {
        let words = "[CredentialRefresher] Retrieve credentials produced error: MachineFingerprintDoesNotMatch: x";
        for line in [
            format!("2026-11-27T22:00:00Z [ERROR] {words}"),
            format!(r#"{{"t":"2026","level":"ERROR","msg":"{words}"}}"#),
            format!("2026-11-27 22:00:00 error {words}"),
            format!("2026-11-27 22:00:00.x ERROR {words}"),
            format!("Nov 27 22:00:00 ip-10-0-0-1 ERROR {words}"),
            format!("ERROR {words}"),
        ] {
            check(&line, "doubtful");
            check(&format!("{line}\n{}", line.replace("Retrieve", "Credentials ready")), "silent");
        }
        check("ERROR [ssm-document-worker] MachineFingerprintDoesNotMatch", "silent");
    }

    #[test]
    fn what_follows_a_refusal_does_not_soften_it() {
        let retrying = "2026-11-22 02:00:02 ERROR [CredentialRefresher] Status code 400 returned from AWS API. RequestId: x Message: \n\
            2026-11-22 02:00:02 INFO [CredentialRefresher] Sleeping for 28m12s before retrying retrieve credentials";
        check(&format!("{FINGERPRINT_LINE}\n{retrying}"), "fingerprint");
        check(&format!("{READY_LINE}\n{retrying}"), "unreachable");
        // An agent that is not registered asks for credentials of the EC2 instance.
        let ec2 = "2026-11-22 02:00:01 ERROR [CredentialRefresher] Retrieve credentials produced error: no valid credentials could be retrieved for ec2 identity";
        check(&format!("{ec2}\n{retrying}"), "silent");
    }
}
