//! The table of leases, as an operator of the central account sees it.

use anyhow::Context as _;
use http::Method;
use serde_json::{Value, json};

use crate::world::World;

/// The table that `template.yaml` makes by default.
pub const LEASE_TABLE: &str = "tag-hub-leases";

impl World {
    /// All items of the table, as DynamoDB shows them.
    pub async fn leases(&self) -> anyhow::Result<Vec<Value>> {
        let answer = self.central().json("dynamodb", "Scan", &json!({"TableName": LEASE_TABLE})).await?;
        answer["Items"].as_array().cloned().with_context(|| format!("no items in {answer}"))
    }

    /// Writes an item, whatever is in it.
    pub async fn put_lease(&self, item: &Value) -> anyhow::Result<()> {
        self.central().json("dynamodb", "PutItem", &json!({"TableName": LEASE_TABLE, "Item": item})).await?;
        Ok(())
    }

    /// Lets the time of every lease be over, as it is after the time limit of a function that died.
    pub async fn end_leases(&self) -> anyhow::Result<()> {
        for mut item in self.leases().await? {
            if item["until"].is_object() {
                item["until"] = json!({"N": "1"});
                self.put_lease(&item).await?;
            }
        }
        Ok(())
    }

    /// Sets how many seconds a function of the central account may run.
    pub async fn set_timeout(&self, function: &str, seconds: u32) -> anyhow::Result<()> {
        let path = format!("/2015-03-31/functions/{function}/configuration");
        let body = json!({"Timeout": seconds}).to_string();
        self.central().rest("lambda", Method::PUT, &path, &[("content-type", "application/json")], body).await?;
        Ok(())
    }
}
