//! Campaigns of a world: started on the deployed state machine, and read by somebody on its topic.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::world::{CENTRAL, HOME_REGION, World};

const WITHIN: Duration = Duration::from_mins(2);
const QUEUE: &str = "campaign-readers";

/// The state machine of a deployed fan-out, and a queue on the topic of its campaigns.
#[derive(Debug)]
pub struct Campaigns<'a> {
    world: &'a World,
    machine: String,
    queue: String,
}

impl<'a> Campaigns<'a> {
    /// Subscribes to the topic of the deployed fan-out.
    pub async fn of(world: &'a World) -> anyhow::Result<Self> {
        let client = world.central();
        let topic = format!("arn:aws:sns:{HOME_REGION}:{CENTRAL}:tag-hub-campaigns");
        let queue = format!("arn:aws:sqs:{HOME_REGION}:{CENTRAL}:{QUEUE}");
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": queue, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}
        }]});
        let made = json!({"QueueName": QUEUE, "Attributes": {"Policy": policy.to_string()}});
        let made = client.json("sqs", "CreateQueue", &made).await?;
        let url = made["QueueUrl"].as_str().context("a queue without a URL")?.to_owned();
        let subscription = [("TopicArn", topic.as_str()), ("Protocol", "sqs"), ("Endpoint", queue.as_str())];
        client.query("sns", "Subscribe", &subscription).await?;
        let machine = format!("arn:aws:states:{HOME_REGION}:{CENTRAL}:stateMachine:tag-hub-campaign");
        Ok(Self { world, machine, queue: url })
    }

    /// Starts a campaign; the ARN of its execution.
    pub async fn start(&self, campaign: &Value) -> anyhow::Result<String> {
        let body = json!({"stateMachineArn": self.machine, "input": campaign.to_string()});
        let started = self.world.central().json("states", "StartExecution", &body).await?;
        started["executionArn"].as_str().map(str::to_owned).context("an execution without an ARN")
    }

    /// Waits until it has ended, and describes it.
    pub async fn ended(&self, execution: &str) -> anyhow::Result<Value> {
        let deadline = Instant::now() + WITHIN;
        loop {
            let body = json!({"executionArn": execution});
            let described = self.world.central().json("states", "DescribeExecution", &body).await?;
            if described["status"] != "RUNNING" {
                return Ok(described);
            }
            ensure!(Instant::now() < deadline, "still running: {described}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The next thing that a campaign tells.
    pub async fn told(&self) -> anyhow::Result<Value> {
        let deadline = Instant::now() + WITHIN;
        let client = self.world.central();
        while Instant::now() < deadline {
            let receive = json!({"QueueUrl": self.queue, "WaitTimeSeconds": 5});
            let answer = client.json("sqs", "ReceiveMessage", &receive).await?;
            let message = &answer["Messages"][0];
            let Some(body) = message["Body"].as_str() else { continue };
            let handle = json!({"QueueUrl": self.queue, "ReceiptHandle": message["ReceiptHandle"]});
            client.json("sqs", "DeleteMessage", &handle).await?;
            let notification: Value = serde_json::from_str(body)?;
            return Ok(serde_json::from_str(notification["Message"].as_str().context("a notification of nothing")?)?);
        }
        anyhow::bail!("no campaign told anything within {} s", WITHIN.as_secs())
    }

    /// Answers a campaign that asks for approval.
    pub async fn answer(&self, asked: &Value, approved: bool) -> anyhow::Result<()> {
        let body = json!({"taskToken": asked["TaskToken"], "output": json!({"Approved": approved}).to_string()});
        self.world.central().json("states", "SendTaskSuccess", &body).await?;
        Ok(())
    }
}
