//! What happened to a node.

use hub::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::run::Stand;
use super::run::answers::Listed;
use super::table::{Cell, Columns, Row};
use super::time::minute;
use crate::terminal::Sign;

/// The columns of the table.
pub const COLUMNS: Columns = Columns {
    headers: &["TIME", "WHAT", "DETAIL"],
    kept: 2,
    keys: &["at", "what", "detail", "agency", "instanceId", "ec2InstanceId"],
};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    what: String,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    agency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ec2_instance_id: Option<String>,
    #[serde(skip)]
    sign: Sign,
}

/// Counts of a line of the log, and what each counts.
const COUNTS: [(&str, &str); 3] = [("tags_set", "set"), ("tags_removed", "removed"), ("tags_dropped", "dropped")];

impl Happening {
    /// By a line of the manager's log; none if the line says nothing of one node.
    pub fn logged(at: Timestamp, fields: &Value) -> Option<Self> {
        let text = |name: &str| fields[name].as_str().map(str::to_owned);
        let what = text("message")?;
        let counts = COUNTS.iter().filter_map(|(name, done)| match fields[*name].as_u64() {
            Some(count @ 1..) => Some(format!("{count} {done}")),
            _ => None,
        });
        let details: Vec<String> = counts.chain(text("reason")).chain(text("code")).collect();
        let sign = match what.as_str() {
            "node updated" | "node adopted" | "node retired" => Sign::Good,
            "node failed" => Sign::Bad,
            _ => Sign::Look,
        };
        Some(Self {
            at,
            what,
            detail: details.join(", "),
            agency: text("agency"),
            instance_id: text("instance_id"),
            ec2_instance_id: text("ec2_instance_id"),
            sign,
        })
    }

    /// By a run that touched the node; none if it is not known when it began.
    pub fn run(listed: Listed) -> Option<Self> {
        let runbook = listed.document_name.rsplit("document/").next().unwrap_or_default();
        Some(Self {
            at: listed.started_at?,
            what: format!("run {runbook}: {}", listed.status),
            detail: listed.automation_execution_id,
            agency: None,
            instance_id: None,
            ec2_instance_id: None,
            sign: Stand::of(&listed.status).sign(),
        })
    }

    /// A row of the table.
    pub fn row(&self) -> Row {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let detail = if self.detail.is_empty() { "-" } else { &self.detail };
        Row {
            cells: vec![Cell::text(minute(self.at)), Cell::mark(self.sign, &self.what), Cell::text(detail)],
            piped: vec![
                self.at.to_string(),
                self.what.clone(),
                detail.to_owned(),
                or_dash(&self.agency),
                or_dash(&self.instance_id),
                or_dash(&self.ec2_instance_id),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_of_the_log_becomes_words() {
        let at = Timestamp::from_unix_seconds(1_700_000_000);
        let row =
            |fields: Value| Happening::logged(at, &fields).map(|happening| happening.row().piped[1..3].join(" | "));
        let updated = json!({"message": "node updated", "instance_id": "mi-1", "tags_set": 2, "tags_removed": 0});
        assert_eq!(row(updated).as_deref(), Some("node updated | 2 set"));
        let dropped = json!({"message": "tags left behind", "reason": "max-tags", "tags_dropped": 3});
        assert_eq!(row(dropped).as_deref(), Some("tags left behind | 3 dropped, max-tags"));
        let failed = json!({"message": "node failed", "code": "ThrottlingException", "tags_removed": 1});
        assert_eq!(row(failed).as_deref(), Some("node failed | 1 removed, ThrottlingException"));
        assert_eq!(row(json!({"message": "node unlinked"})).as_deref(), Some("node unlinked | -"));
        assert_eq!(row(json!({})), None);
    }
}
