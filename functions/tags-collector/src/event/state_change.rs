//! The event in which EC2 says that an instance changed its state.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use hub::{AccountId, Ec2InstanceId, Region, WireError, decode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::InstanceArn;

/// `detail-type` of the event.
pub(crate) const STATE_CHANGE: &str = "EC2 Instance State-change Notification";

const TERMINATED: &str = "terminated";

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-instance-state-changes.html>
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    instance_id: Ec2InstanceId,
    state: String,
}

/// The instance that the event says is gone for good; nothing where it says another state.
///
/// # Errors
/// Names the place that does not fit.
pub(crate) fn ended(event: &Value) -> Result<Option<InstanceArn>, WireError> {
    let event: EventBridgeEvent<Detail> = decode(event)?;
    if event.detail.state != TERMINATED {
        return Ok(None);
    }
    let region = part::<Region>("region", event.region)?;
    let account = part::<AccountId>("account", event.account)?;
    Ok(Some(InstanceArn { region, account, id: event.detail.instance_id }))
}

fn part<T: TryFrom<String, Error = hub::Invalid>>(path: &str, value: Option<String>) -> Result<T, WireError> {
    let wrong = |problem: String| WireError { path: path.to_owned(), problem };
    let value = value.ok_or_else(|| wrong("expected one, got nothing".to_owned()))?;
    T::try_from(value).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        serde_json::from_str(include_str!("../../../../events/tags-collector/terminated.json")).unwrap()
    }

    fn with(pointer: &str, value: Value) -> Value {
        let mut event = sample();
        *event.pointer_mut(pointer).unwrap() = value;
        event
    }

    #[test]
    fn only_the_end_of_an_instance_counts() {
        let instance = ended(&sample()).unwrap().unwrap();
        assert_eq!(instance.id.as_str(), "i-0abcdef0123456789");
        assert_eq!((instance.region.as_str(), instance.account.as_str()), ("us-east-1", "222222222222"));
        for state in ["pending", "running", "shutting-down", "stopping", "stopped", "Terminated", "new"] {
            assert_eq!(ended(&with("/detail/state", json!(state))), Ok(None), "{state}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_place() {
        for (event, expected) in [
            (with("/detail", json!({"state": "terminated"})), "detail: missing field `instance-id`"),
            (
                with("/detail/instance-id", json!("mi-0123456789abcdef0")),
                "detail.instance-id: expected an EC2 instance id: i- and 8 or 17 lowercase hexadecimal digits, \
                 got \"mi-0123456789abcdef0\"",
            ),
            (with("/region", json!("mars")), "region: expected a Region code such as us-east-1, got \"mars\""),
            (with("/account", json!(null)), "account: expected one, got nothing"),
        ] {
            assert_eq!(ended(&event).unwrap_err().to_string(), expected, "{event}");
        }
    }
}
