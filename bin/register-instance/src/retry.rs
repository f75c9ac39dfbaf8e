//! Which errors of AWS are worth another try, and when.

use std::time::Duration;

use hub::AwsError;

/// For how long after boot a refusal may only mean that the instance profile is not yet known everywhere.
const BOOT: Duration = Duration::from_mins(5);

/// The longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// The code of an error for an instance that has no credentials to call AWS with.
pub(crate) const NO_CREDENTIALS: &str = "NoCredentials";

/// The code of an error for a metadata service that does not answer.
pub(crate) const IMDS_UNAVAILABLE: &str = "ImdsUnavailable";

/// What an error means for trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No answer came.
    Network,
    /// AWS asked to come again later.
    Busy,
    /// AWS refused the caller.
    Denied,
    /// The same call will fail again.
    Permanent,
}

/// How patient a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// How long the machine has been up, where that can be seen.
    pub(crate) uptime: Option<Duration>,
    /// Whether the network may take as long as the whole run may.
    pub(crate) wait_for_network: bool,
}

/// Reads an error.
pub(crate) fn kind(error: &AwsError) -> Kind {
    match error.code.as_str() {
        IMDS_UNAVAILABLE | "Timeout" | "DispatchFailure" | "ResponseError" => Kind::Network,
        NO_CREDENTIALS | "UnrecognizedClientException" | "InvalidClientTokenId" | "AuthFailure" => Kind::Denied,
        _ if error.is_access_denied() => Kind::Denied,
        // An instance that was just launched is not known to every part of EC2 at once.
        "InvalidInstanceID.NotFound" => Kind::Busy,
        _ if error.retryable => Kind::Busy,
        _ => Kind::Permanent,
    }
}

/// How long to wait before the next try, after `tries` of them; none where it is of no use.
pub(crate) fn pause(kind: Kind, tries: u32, patience: Patience) -> Option<Duration> {
    let tries_max = match kind {
        Kind::Network if patience.wait_for_network => u32::MAX,
        Kind::Network => 4,
        Kind::Busy => 6,
        Kind::Denied if patience.uptime.is_some_and(|uptime| uptime < BOOT) => 6,
        Kind::Denied | Kind::Permanent => 1,
    };
    (tries < tries_max).then(|| backoff(tries))
}

/// 1, 2, 4, 8, then 15 seconds.
pub(crate) fn backoff(tries: u32) -> Duration {
    Duration::from_secs(1 << tries.saturating_sub(1).min(4)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, retryable: bool) -> AwsError {
        AwsError {
            operation: "ssm:GetParameter",
            code: code.to_owned(),
            message: String::new(),
            request_id: None,
            retryable,
        }
    }

    #[test]
    fn kinds() {
        for (code, retryable, expected) in [
            ("DispatchFailure", true, Kind::Network),
            ("Timeout", true, Kind::Network),
            ("ImdsUnavailable", true, Kind::Network),
            ("ThrottlingException", true, Kind::Busy),
            ("InternalServerError", true, Kind::Busy),
            ("InvalidInstanceID.NotFound", false, Kind::Busy),
            ("AccessDeniedException", false, Kind::Denied),
            ("UnauthorizedOperation", false, Kind::Denied),
            ("NoCredentials", false, Kind::Denied),
            ("ParameterNotFound", false, Kind::Permanent),
        ] {
            assert_eq!(kind(&error(code, retryable)), expected, "{code}");
        }
    }

    #[test]
    fn pauses_grow_and_end() {
        let pauses = |kind, uptime: Option<u64>, wait_for_network| -> Vec<u64> {
            let patience = Patience { uptime: uptime.map(Duration::from_secs), wait_for_network };
            (1..=8).map_while(|tries| pause(kind, tries, patience)).map(|pause| pause.as_secs()).collect()
        };
        assert_eq!(pauses(Kind::Network, None, false), [1, 2, 4]);
        assert_eq!(pauses(Kind::Network, None, true), [1, 2, 4, 8, 15, 15, 15, 15]);
        assert_eq!(pauses(Kind::Busy, None, false), [1, 2, 4, 8, 15]);
        assert_eq!(pauses(Kind::Denied, Some(60), false), [1, 2, 4, 8, 15]);
        assert_eq!(pauses(Kind::Denied, Some(600), true), [0_u64; 0]);
        assert_eq!(pauses(Kind::Denied, None, false), [0_u64; 0]);
        assert_eq!(pauses(Kind::Permanent, Some(1), true), [0_u64; 0]);
        assert_eq!(backoff(u32::MAX), PAUSE_MAX);
    }
}
