//! The agent of the made-up machine: its service, its registration, what it answers and logs.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::machine::{INSTANCE, Machine, NOTED, RUNTIME, Ran, Trouble, VAULT};
use crate::time::Time;

impl Machine {
    /// What the agent notes of itself when it starts, and when it gets credentials.
    pub(crate) fn note_identity(&mut self) {
        if !self.notes_identity {
            return;
        }
        let (id, _) = self.identity.clone().unwrap_or_else(|| (INSTANCE.to_owned(), String::new()));
        let mut note = json!({"InstanceId": id, "IdentityType": "OnPrem"});
        if let Some((ago, still)) = self.credentials {
            let time = |at: i64| Time::utc(at).sortable('T') + "Z";
            note["CredentialsRetrievedAt"] = time(self.now - ago * 1000).into();
            note["CredentialsExpiresAt"] = time(self.now + still * 1000).into();
        }
        self.put(RUNTIME, &note.to_string());
    }

    /// The service starts: the agent reads its vault, and notes who it is.
    pub(crate) fn start_service(&mut self) -> Result<(), Trouble> {
        match self.service {
            None => return Err(Trouble::Service("there is no such service")),
            Some("Running" | "StartPending") => {
                return Err(Trouble::Service("An instance of the service is already running"));
            }
            Some(_) if self.start_mode == "Disabled" => return Err(Trouble::Service("the service is disabled")),
            Some("Stopped") => {}
            Some(_) => return Err(Trouble::Service("The service cannot accept control messages at this time")),
        }
        if self.starts_failing > 0 {
            self.starts_failing -= 1;
            return Err(Trouble::Service("The service did not respond"));
        }
        if self.start_hangs {
            self.service = Some("StartPending");
            return Ok(());
        }
        self.service = Some("Running");
        self.agent_started = Some(self.now);
        let record: Option<Json> = serde_json::from_str(&self.text(self.vault)).ok();
        let field = |name: &str| record.as_ref().and_then(|record| record[name].as_str().map(str::to_owned));
        let id = field("instanceID").filter(|id| !id.is_empty() && !self.ignores_vault);
        self.identity = id.map(|id| (id, field("region").unwrap_or_default()));
        self.note_identity();
        for words in self.logs_at_start.clone() {
            self.log(&words);
        }
        Ok(())
    }

    pub(crate) fn stop_service(&mut self) -> Result<(), Trouble> {
        if self.service.is_none() {
            return Err(Trouble::Service("there is no such service"));
        }
        if self.cannot_stop {
            return Err(Trouble::Service("the service cannot be stopped"));
        }
        self.service = Some(if self.stop_hangs { "StopPending" } else { "Stopped" });
        Ok(())
    }

    /// `ssm-cli get-instance-information`.
    pub(crate) fn ask(&mut self) -> Ran {
        if !self.cli_does.is_empty() {
            return if self.cli_does.len() > 1 { self.cli_does.remove(0) } else { self.cli_does[0].clone() };
        }
        let (id, region) = self.identity.clone().unwrap_or_else(|| (INSTANCE.to_owned(), "us-west-2".to_owned()));
        let out = json!({"instance-id": id, "region": region, "release-version": "3.3"}).to_string();
        Ran { out, ..Ran::default() }
    }

    /// `amazon-ssm-agent -register`.
    pub(crate) fn register(&mut self, arguments: &str, environment: BTreeMap<String, String>) -> Ran {
        assert!(!self.is_running(), "the agent is registered while it runs");
        self.registered_with = Some((arguments.to_owned(), environment));
        let words: Vec<&str> = arguments.split(' ').collect();
        let ["-register", "-code", code, "-id", _, "-region", region] = words.as_slice() else {
            panic!("the agent is called with {arguments}");
        };
        let code = code.trim_matches('"');
        let says = |code: i64, out: String| Ran { code, out, ..Ran::default() };
        if self.registered_as().is_some() {
            return says(
                1,
                "\nInstance already registered. Would you like to override existing …? [Yes/No]: ".to_owned(),
            );
        }
        let vault = self.vault;
        if self.is_full {
            return says(1, "ERROR Registration failed due to Unable to save registration information. There is not enough space on the disk.".to_owned());
        }
        self.put(vault, r#"{"instanceID":"","region":"","privateKey":"new"}"#);
        if !self.agent_does.is_empty() {
            return self.agent_does.remove(0);
        }
        self.nodes_made += 1;
        let node = format!("mi-{:017x}", self.nodes_made);
        self.put(vault, &json!({"instanceID": node, "region": region, "privateKey": "k"}).to_string());
        let noted = if vault == VAULT { NOTED } else { r"C:\ProgramData\Amazon\SSM\registration" };
        self.put(noted, &json!({"ManagedInstanceID": node, "Region": region}).to_string());
        if self.is_started_meanwhile {
            let vault_of_before = (self.ignores_vault, self.is_started_meanwhile);
            (self.ignores_vault, self.is_started_meanwhile) = (true, false);
            self.start_service().unwrap();
            self.ignores_vault = vault_of_before.0;
        }
        let named = self.agent_names.unwrap_or(&node);
        says(
            0,
            format!(
                "{code}\n2026-11-22 INFO Successfully registered the instance with AWS SSM using Managed instance-id: {named}"
            ),
        )
    }
}
