//! Which errors of AWS are worth another try, and when.

use std::time::Duration;

use hub::AwsError;

/// For how long after boot a refusal may only mean that the instance profile is not yet known everywhere.
const BOOT: Duration = Duration::from_mins(5);

/// How long a metadata service that does not answer is waited for, unless the run waits for the network.
const METADATA: Duration = Duration::from_secs(8);

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// The code of an error for an instance that has no credentials to call AWS with.
pub(crate) const NO_CREDENTIALS: &str = "NoCredentials";

/// The code of an error for a metadata service that does not answer.
pub(crate) const IMDS_UNAVAILABLE: &str = "ImdsUnavailable";

/// The code of an error for a metadata service that the environment forbids to ask.
pub(crate) const METADATA_DISABLED: &str = "MetadataDisabled";

/// The code of an error for a role that EC2 cannot assume for the instance.
pub(crate) const ROLE_NOT_ASSUMED: &str = "RoleNotAssumed";

/// What an error means for trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The metadata service does not answer.
    Metadata,
    /// No answer came.
    Network,
    /// AWS asked to come again later.
    Busy,
    /// AWS refused the caller.
    Denied,
    /// AWS refused the time of this machine.
    Clock,
    /// The same call will fail again.
    Permanent,
}

/// How patient a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// How long the machine has been up by now, if that can be seen.
    pub(crate) uptime: Option<Duration>,
    /// Whether what belongs to a boot may take as long as the whole run may.
    pub(crate) wait_for_network: bool,
}

/// Reads an error.
pub(crate) fn kind(error: &AwsError) -> Kind {
    match error.code.as_str() {
        IMDS_UNAVAILABLE => Kind::Metadata,
        "DispatchFailure" if is_about_certificates_of_another_time(&error.message) => Kind::Clock,
        // Of this run, such as a custom endpoint with FIPS.
        "DispatchFailure" if error.message.contains("Invalid Configuration") => Kind::Permanent,
        "Timeout" | "DispatchFailure" | "ResponseError" => Kind::Network,
        "RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture" => Kind::Clock,
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "AuthFailure" if is_about_time(&error.message) => {
            Kind::Clock
        }
        NO_CREDENTIALS | ROLE_NOT_ASSUMED | "UnrecognizedClientException" | "InvalidClientTokenId" | "AuthFailure" => {
            Kind::Denied
        }
        _ if error.is_access_denied() => Kind::Denied,
        // An instance that was just launched is not known to every part of EC2 at once.
        "InvalidInstanceID.NotFound" => Kind::Busy,
        _ if error.retryable => Kind::Busy,
        _ => Kind::Permanent,
    }
}

/// How rustls words it. An endpoint of AWS never shows such a certificate, so it is the machine's clock, or a proxy.
fn is_about_certificates_of_another_time(message: &str) -> bool {
    ["certificate expired", "certificate not valid yet", "Expired", "NotValidYet"]
        .iter()
        .any(|words| message.contains(words))
}

fn is_about_time(message: &str) -> bool {
    ["Signature expired", "Signature not yet current", "time"].iter().any(|words| message.contains(words))
}

/// How long to wait before the next try, after `tries` of them that took `waited`; none if it is of no use.
///
/// What may pass is tried until the time of the whole run is up, which is not decided here. `random` is from 0 to 1.
pub(crate) fn pause(kind: Kind, tries: u32, waited: Duration, patience: Patience, random: f64) -> Option<Duration> {
    let is_worth_it = match kind {
        Kind::Network | Kind::Busy => true,
        Kind::Metadata => patience.wait_for_network || waited < METADATA,
        Kind::Denied => patience.uptime.is_some_and(|uptime| uptime < BOOT),
        Kind::Clock | Kind::Permanent => false,
    };
    is_worth_it.then(|| backoff(tries, random))
}

/// 1, 2, 4, 8, then 15 seconds, less up to half by chance: many instances that boot together must not ask together.
pub(crate) fn backoff(tries: u32, random: f64) -> Duration {
    let full = Duration::from_secs(1 << tries.saturating_sub(1).min(4)).min(PAUSE_MAX);
    full.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, message: &str, retryable: bool) -> AwsError {
        AwsError {
            operation: "ssm:GetParameter",
            code: code.to_owned(),
            message: message.to_owned(),
            request_id: None,
            retryable,
        }
    }

    #[test]
    fn kinds() {
        for (code, message, retryable, expected) in [
            ("DispatchFailure", "", true, Kind::Network),
            ("DispatchFailure", "other: Invalid Configuration: FIPS and custom endpoint", true, Kind::Permanent),
            ("Timeout", "", true, Kind::Network),
            ("ImdsUnavailable", "", true, Kind::Metadata),
            ("ThrottlingException", "", true, Kind::Busy),
            ("InternalServerError", "", true, Kind::Busy),
            ("InvalidInstanceID.NotFound", "", false, Kind::Busy),
            ("AccessDeniedException", "", false, Kind::Denied),
            ("UnauthorizedOperation", "", false, Kind::Denied),
            ("NoCredentials", "", false, Kind::Denied),
            (
                "InvalidSignatureException",
                "Signature expired: 20261122T020000Z is now earlier than …",
                false,
                Kind::Clock,
            ),
            ("InvalidSignatureException", "Signature not yet current: …", false, Kind::Clock),
            ("RequestExpired", "Request has expired.", false, Kind::Clock),
            (
                "DispatchFailure",
                "invalid peer certificate: certificate not valid yet: verification time 0 (UNIX), but …",
                true,
                Kind::Clock,
            ),
            ("ParameterNotFound", "", false, Kind::Permanent),
        ] {
            assert_eq!(kind(&error(code, message, retryable)), expected, "{code}");
        }
    }

    #[test]
    fn pauses_grow_and_last_as_long_as_they_are_of_use() {
        let pauses = |kind, uptime: Option<u64>, wait_for_network| -> Vec<u64> {
            let mut waited = Duration::ZERO;
            let pauses = (1..=8).map_while(|tries| {
                let uptime = uptime.map(|uptime| Duration::from_secs(uptime) + waited);
                let patience = Patience { uptime, wait_for_network };
                let pause = pause(kind, tries, waited, patience, 0.0)?;
                waited += pause;
                Some(pause.as_secs())
            });
            pauses.collect()
        };
        let until_the_end = [1, 2, 4, 8, 15, 15, 15, 15];
        assert_eq!(pauses(Kind::Network, None, false), until_the_end);
        assert_eq!(pauses(Kind::Busy, None, false), until_the_end);
        assert_eq!(pauses(Kind::Metadata, None, true), until_the_end);
        assert_eq!(pauses(Kind::Metadata, None, false), [1, 2, 4, 8]);
        assert_eq!(pauses(Kind::Denied, Some(60), false), until_the_end);
        assert_eq!(pauses(Kind::Denied, Some(290), false), [1, 2, 4, 8]);
        for (kind, uptime) in
            [(Kind::Denied, Some(600)), (Kind::Denied, None), (Kind::Permanent, Some(1)), (Kind::Clock, None)]
        {
            assert_eq!(pauses(kind, uptime, true), [0_u64; 0], "{kind:?}");
        }
    }

    #[test]
    fn chance_takes_up_to_half() {
        assert_eq!(backoff(u32::MAX, 0.0), PAUSE_MAX);
        assert_eq!(backoff(4, 1.0), Duration::from_secs(4));
        assert_eq!(backoff(4, 7.0), Duration::from_secs(4));
    }
}
