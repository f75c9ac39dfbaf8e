//! Queues of what was given up.

use hub::AwsError;
use serde_json::json;

use crate::aws::hub::About;
use crate::aws::json::{SQS, call};
use crate::aws::session::Session;

/// The names of the hub's queues.
pub fn names(about: &About) -> Vec<String> {
    about.names.functions().map(|function| format!("{function}-failures")).collect()
}

/// How many messages a queue holds; nothing if there is no such queue.
///
/// # Errors
/// What SQS answers.
pub async fn depth(session: &Session, name: &str) -> Result<Option<usize>, AwsError> {
    let url = match call(session, SQS, "sqs:GetQueueUrl", &json!({"QueueName": name})).await {
        Ok(answer) => answer["QueueUrl"].clone(),
        Err(error) if error.code.contains("NonExistentQueue") || error.code.contains("QueueDoesNotExist") => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let ask = json!({"QueueUrl": url, "AttributeNames": ["ApproximateNumberOfMessages"]});
    let answer = call(session, SQS, "sqs:GetQueueAttributes", &ask).await?;
    Ok(answer["Attributes"]["ApproximateNumberOfMessages"].as_str().and_then(|count| count.parse().ok()))
}
