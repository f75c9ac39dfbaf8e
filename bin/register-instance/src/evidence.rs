//! What on the machine says that it is registered.
//!
//! Nothing on the disk proves that the agent uses a registration: see `verify`. What is here decides whether there is
//! one to lose. The vault is what the agent reads when it starts. The file `registration` is written at a registration
//! and never again: it outlives `amazon-ssm-agent -register -clear` and a failed attempt to register again, so it counts
//! only if nothing better is there. Formats: amazon-ssm-agent 3.3.0.0 (`agent/managedInstances`).

use hub::{Ec2InstanceId, ManagedInstanceId, Region};
use serde_json::Value;

use crate::configuration::configuration_of;

/// Where the agent notes its registration, for others to read.
pub(crate) const REGISTRATION_FILE: &str = "/var/lib/amazon/ssm/registration";

/// Where the agent keeps its registration, along with its private key.
pub(crate) const VAULT_FILE: &str = "/var/lib/amazon/ssm/Vault/Store/RegistrationKey";

/// What is in the vault, by name. An agent without it sees nothing of the vault.
pub(crate) const MANIFEST_FILE: &str = "/var/lib/amazon/ssm/Vault/Manifest";

/// The agent's configuration.
pub(crate) const CONFIGURATION_FILE: &str = "/etc/amazon/ssm/amazon-ssm-agent.json";

/// What the hardware was when the machine was registered. An agent that finds other hardware writes it anew.
pub(crate) const FINGERPRINT_FILE: &str = "/var/lib/amazon/ssm/Vault/Store/InstanceFingerprint";

/// A node and the Region that it is in, as far as that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) id: ManagedInstanceId,
    pub(crate) region: Option<Region>,
}

/// All evidence that is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    pub(crate) cli: Cli,
    pub(crate) vault: Vault,
    pub(crate) manifest: Manifest,
    pub(crate) file: Option<Node>,
    /// The agent is configured to be an EC2 instance, whatever its vault holds.
    pub(crate) prefers_ec2: bool,
    /// The machine ID that the agent's fingerprint was made with, and the one of now.
    pub(crate) machine_ids: Option<(String, String)>,
}

/// What is wrong with what the agent keeps: it would not see its registration the next time that it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) what: &'static str,
    pub(crate) remedy: &'static str,
}

const HEAL: &str = "run `register-instance heal`, which writes it again";
const REPLACE: &str = "restart the agent, and run `register-instance heal --replace`";

/// What `ssm-cli get-instance-information` answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Cli {
    /// There is no such program.
    #[default]
    Missing,
    /// Nothing of use: it failed, took too long, or answers what is not known.
    Silent(String),
    /// The agent is an EC2 instance to itself.
    Ec2,
    /// The agent is a managed node.
    Node(Node),
}

/// What is in the vault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Vault {
    /// No such file: nothing was ever registered.
    #[default]
    Absent,
    /// A record without an ID, as it is after clearing, and after an attempt that failed.
    Cleared,
    /// Not a record that this tool or the agent knows: half written, or of another form.
    Unreadable,
    /// A registration.
    Node(Node),
}

/// Whether the vault's list of contents has the registration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Manifest {
    #[default]
    Absent,
    Unreadable,
    WithoutRegistration,
    /// It says that the registration is in another file.
    Elsewhere,
    WithRegistration,
}

/// What the evidence comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Registration {
    None,
    As(Node),
    /// There may be one, and which cannot be read.
    Unreadable,
}

impl Evidence {
    /// Weighs the evidence. In doubt the machine counts as registered: a registration that is overwritten is lost.
    pub(crate) fn registration(&self) -> Registration {
        match (&self.cli, &self.vault) {
            // The agent knows the Region that its vault lacks.
            (Cli::Node(said), Vault::Node(Node { id, region: None })) if said.id == *id => {
                Registration::As(said.clone())
            }
            (_, Vault::Node(node)) | (Cli::Node(node), _) => Registration::As(node.clone()),
            (_, Vault::Cleared) | (Cli::Ec2, Vault::Absent) => Registration::None,
            (Cli::Silent(_) | Cli::Missing, Vault::Absent) => {
                self.file.clone().map_or(Registration::None, Registration::As)
            }
            (_, Vault::Unreadable) => self.file.clone().map_or(Registration::Unreadable, Registration::As),
        }
    }

    /// Why an agent that starts with this would not see its registration.
    pub(crate) fn flaw(&self) -> Option<Flaw> {
        let flaw = |what, remedy| Some(Flaw { what, remedy });
        if self.prefers_ec2 {
            return flaw(
                "Identity.ConsumptionOrder in /etc/amazon/ssm/amazon-ssm-agent.json puts EC2 before OnPrem",
                "remove it there, and run `register-instance heal`",
            );
        }
        match (&self.vault, self.manifest) {
            (Vault::Absent | Vault::Cleared, _) if matches!(self.cli, Cli::Node(_)) => flaw(
                "the agent's vault is empty, so the registration is gone once the agent ends",
                "restart the agent, and run `register-instance`, which registers it",
            ),
            (Vault::Node(Node { region: None, .. }), _) => {
                flaw("the agent's vault names a node, but no Region", REPLACE)
            }
            (Vault::Unreadable, _) => flaw("the agent's vault holds no registration that can be read", REPLACE),
            (Vault::Node(_), Manifest::Unreadable) => flaw("the manifest of the agent's vault cannot be read", HEAL),
            (Vault::Node(_), Manifest::WithoutRegistration) => {
                flaw("the manifest of the agent's vault does not list the registration", HEAL)
            }
            (Vault::Node(_), Manifest::Elsewhere) => flaw(
                "the manifest of the agent's vault lists the registration in another file",
                "correct /var/lib/amazon/ssm/Vault/Manifest, or remove it and run `register-instance heal`",
            ),
            (Vault::Node(_), Manifest::Absent) => flaw("the agent's vault has no manifest", HEAL),
            _ => None,
        }
    }

    /// True if the vault holds a registration that its manifest lost.
    pub(crate) fn lacks_manifest(&self) -> bool {
        use Manifest::{Absent, Unreadable, WithoutRegistration};
        matches!((&self.vault, self.manifest), (Vault::Node(_), Absent | Unreadable | WithoutRegistration))
    }

    /// True if the vault lacks what an agent needs to be its node: nothing is lost with it.
    pub(crate) fn is_incomplete(&self) -> bool {
        matches!(self.vault, Vault::Unreadable | Vault::Node(Node { region: None, .. }))
    }

    /// In words, that the agent's fingerprint was made on another machine, as in a copy or after a restore.
    pub(crate) fn other_machine(&self) -> Option<String> {
        let (registered, current) = self.machine_ids.as_ref().filter(|(registered, current)| registered != current)?;
        Some(format!(
            "the machine ID is {current}, and {registered} was registered: this is another machine, or a copy"
        ))
    }

    /// The file `registration`, if it names another node or Region than the vault.
    pub(crate) fn stale_file(&self) -> Option<&Node> {
        match (&self.vault, &self.file) {
            (Vault::Node(kept), Some(noted)) if noted.id != kept.id || noted.region != kept.region => Some(noted),
            _ => None,
        }
    }
}

impl Cli {
    /// Reads `{"instance-id":"…","region":"…","release-version":"…"}`.
    pub(crate) fn parse(output: &str) -> Self {
        // An agent may print lines of its log before or after the answer.
        let answer: Option<Value> = output.match_indices('{').find_map(|(start, _)| {
            let value: Value = serde_json::Deserializer::from_str(&output[start..]).into_iter().next()?.ok()?;
            value.get("instance-id").is_some().then_some(value)
        });
        let text = |name| answer.as_ref().and_then(|answer| answer.get(name)).and_then(Value::as_str);
        let silent = || Self::Silent(crate::agent::tail(output));
        match text("instance-id") {
            Some(id) if id.parse::<Ec2InstanceId>().is_ok() => Self::Ec2,
            Some(id) => id.parse().map_or_else(
                |_| silent(),
                |id| Self::Node(Node { id, region: text("region").and_then(|region| region.parse().ok()) }),
            ),
            None => silent(),
        }
    }
}

impl Vault {
    /// Reads ID and Region in the record, and nothing else: the private key stands beside them.
    pub(crate) fn parse(record: Option<&str>) -> Self {
        let Some(record) = record else {
            return Self::Absent;
        };
        // The agent writes an empty ID before it calls Systems Manager. A full disk may cut that short.
        if record.trim().is_empty() || record.starts_with(r#"{"instanceID":"","#) {
            return Self::Cleared;
        }
        let Ok(record) = serde_json::from_str::<Value>(record) else {
            return Self::Unreadable;
        };
        match record.get("instanceID") {
            Some(Value::String(id)) if id.is_empty() => Self::Cleared,
            Some(Value::String(id)) => {
                id.parse().map_or(Self::Unreadable, |id| Self::Node(Node { id, region: region(&record, "region") }))
            }
            _ => Self::Unreadable,
        }
    }
}

impl Manifest {
    /// Reads `{"RegistrationKey":"/var/lib/amazon/ssm/Vault/Store/RegistrationKey",…}`.
    pub(crate) fn parse(contents: Option<&str>) -> Self {
        match contents.map(serde_json::from_str::<serde_json::Map<String, Value>>) {
            None => Self::Absent,
            Some(Err(_)) => Self::Unreadable,
            Some(Ok(names)) => match names.get("RegistrationKey") {
                None => Self::WithoutRegistration,
                Some(path) if path == VAULT_FILE => Self::WithRegistration,
                Some(_) => Self::Elsewhere,
            },
        }
    }
}

/// The manifest with the registration in it, along with all that it lists already; `has_fingerprint` if the vault has one.
pub(crate) fn mended_manifest(contents: Option<&str>, has_fingerprint: bool) -> String {
    let listed = contents.and_then(|contents| serde_json::from_str::<serde_json::Map<String, Value>>(contents).ok());
    let mut names = listed.unwrap_or_default();
    names.insert("RegistrationKey".to_owned(), VAULT_FILE.into());
    if has_fingerprint {
        names.entry("InstanceFingerprint").or_insert_with(|| FINGERPRINT_FILE.into());
    }
    Value::Object(names).to_string()
}

/// Reads `{"ManagedInstanceID":"mi-…","Region":"…"}`.
pub(crate) fn node_in_file(contents: &str) -> Option<Node> {
    let value: Value = serde_json::from_str(contents).ok()?;
    let id = value.get("ManagedInstanceID")?.as_str()?.parse().ok()?;
    Some(Node { id, region: region(&value, "Region") })
}

/// The machine ID that the fingerprint was made with, unless the agent does not compare.
pub(crate) fn fingerprinted_machine(contents: &str) -> Option<String> {
    let value: Value = serde_json::from_str(contents).ok()?;
    let is_compared = value.get("similarityThreshold").and_then(Value::as_i64) != Some(-1);
    let machine = value.pointer("/hardwareHash/machine-id")?.as_str()?.trim().to_owned();
    (is_compared && !machine.is_empty()).then_some(machine)
}

/// True if the agent's configuration makes it an EC2 instance before it looks for a registration.
pub(crate) fn prefers_ec2(configuration: &str) -> bool {
    let order = configuration_of(configuration, &["Identity", "ConsumptionOrder"]);
    let known = order.as_ref().and_then(Value::as_array).into_iter().flatten();
    known.clone().find(|name| *name == "OnPrem" || *name == "EC2").is_some_and(|name| name == "EC2")
}

fn region(record: &Value, name: &str) -> Option<Region> {
    record.get(name)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(digit: char) -> Node {
        Node { id: format!("mi-{}", digit.to_string().repeat(17)).parse().unwrap(), region: "us-east-1".parse().ok() }
    }

    fn silent() -> Cli {
        Cli::Silent("nothing".to_owned())
    }

    #[test]
    fn only_a_managed_node_counts_as_registered() {
        let (a, b) = (node('a'), node('b'));
        let registered = Registration::As(a.clone());
        let vault = |node: &Node| Vault::Node(node.clone());
        for (cli, vault, file, expected) in [
            (silent(), Vault::Absent, None, Registration::None),
            (Cli::Ec2, Vault::Absent, None, Registration::None),
            (Cli::Node(a.clone()), vault(&a), Some(a.clone()), registered.clone()),
            (Cli::Node(a.clone()), Vault::Absent, None, registered.clone()),
            (Cli::Node(a.clone()), Vault::Unreadable, None, registered.clone()),
            // A private key of a node is there, so overwriting would lose it, whatever the agent uses now.
            (Cli::Ec2, vault(&a), None, registered.clone()),
            (Cli::Missing, vault(&a), Some(b.clone()), registered.clone()),
            (Cli::Node(b.clone()), vault(&a), None, registered.clone()),
            (Cli::Node(a.clone()), vault(&Node { region: None, ..a.clone() }), None, registered.clone()),
            // Cleared, or left by an attempt that failed: the file is all that remains of the old registration.
            (Cli::Ec2, Vault::Cleared, Some(a.clone()), Registration::None),
            (silent(), Vault::Cleared, Some(a.clone()), Registration::None),
            (Cli::Ec2, Vault::Absent, Some(a.clone()), Registration::None),
            // Nothing better than the file.
            (silent(), Vault::Absent, Some(a.clone()), registered.clone()),
            (silent(), Vault::Unreadable, Some(a.clone()), registered.clone()),
            (Cli::Ec2, Vault::Unreadable, Some(a.clone()), registered),
            (Cli::Ec2, Vault::Unreadable, None, Registration::Unreadable),
            (silent(), Vault::Unreadable, None, Registration::Unreadable),
        ] {
            let evidence = Evidence { cli, vault, file, ..Evidence::default() };
            assert_eq!(evidence.registration(), expected, "{evidence:?}");
        }
    }

    #[test]
    fn vault_manifest_and_file_are_compared() {
        let evidence = |vault: Vault, manifest, file| Evidence { vault, manifest, file, ..Evidence::default() };
        let kept = || Vault::Node(node('a'));
        assert_eq!(evidence(kept(), Manifest::WithRegistration, Some(node('a'))).flaw(), None);
        assert_eq!(evidence(Vault::Absent, Manifest::Absent, None).flaw(), None);
        for (vault, manifest) in [
            (kept(), Manifest::Absent),
            (kept(), Manifest::Unreadable),
            (kept(), Manifest::WithoutRegistration),
            (kept(), Manifest::Elsewhere),
            (Vault::Node(Node { region: None, ..node('a') }), Manifest::WithRegistration),
            (Vault::Unreadable, Manifest::WithRegistration),
        ] {
            let is_mended = evidence(vault.clone(), manifest, None).lacks_manifest();
            let flaw = evidence(vault.clone(), manifest, None).flaw().unwrap();
            assert_eq!(is_mended, flaw.remedy == HEAL, "{flaw:?}");
            assert!(evidence(vault, manifest, None).flaw().is_some(), "{manifest:?}");
        }
        let ec2 = Evidence { prefers_ec2: true, ..evidence(kept(), Manifest::WithRegistration, None) };
        assert!(ec2.flaw().is_some_and(|flaw| flaw.what.contains("OnPrem")));
        let elsewhere = Node { region: "eu-west-1".parse().ok(), ..node('a') };
        for (noted, is_stale) in [(node('a'), false), (node('b'), true), (elsewhere, true)] {
            let evidence = evidence(kept(), Manifest::WithRegistration, Some(noted));
            assert_eq!(evidence.stale_file().is_some(), is_stale, "{evidence:?}");
        }
    }

    #[test]
    fn answers_of_ssm_cli() {
        let id = "mi-aaaaaaaaaaaaaaaaa";
        let without_region = Node { region: None, ..node('a') };
        for (output, expected) in [
            (format!(r#"{{"instance-id":"{id}","region":"us-east-1","release-version":"3.3.0.0"}}"#), Some(node('a'))),
            (format!("INFO noise\n{{\"instance-id\":\"{id}\"}}\ntrailing"), Some(without_region.clone())),
            (format!("INFO {{noise}} {{\"a\":{{}}}}\n{{\"instance-id\":\"{id}\"}}"), Some(without_region)),
            (r#"{"instance-id":""}"#.to_owned(), None),
            (r#"{"instance-id":7}"#.to_owned(), None),
            ("{broken".to_owned(), None),
            ("<html>".to_owned(), None),
            (String::new(), None),
        ] {
            match (Cli::parse(&output), expected) {
                (Cli::Node(found), Some(expected)) => assert_eq!(found, expected),
                (Cli::Silent(_), None) => {}
                (found, expected) => panic!("{output}: {found:?} and not {expected:?}"),
            }
        }
        assert_eq!(Cli::parse(r#"{"instance-id":"i-0123456789abcdef0"}"#), Cli::Ec2);
    }

    #[test]
    fn records_of_the_vault() {
        for (record, expected) in [
            (None, Vault::Absent),
            (Some(""), Vault::Cleared),
            (Some(r#"{"instan"#), Vault::Unreadable),
            (Some(r#"{"instanceID":"","region":"","instanceTy"#), Vault::Cleared),
            (Some(r#"{"instanceID":"","region":"","privateKey":"k"}"#), Vault::Cleared),
            (
                Some(r#"{"instanceID":"mi-aaaaaaaaaaaaaaaaa","region":"us-east-1","privateKey":"k"}"#),
                Vault::Node(node('a')),
            ),
            (
                Some(r#"{"instanceID":"mi-aaaaaaaaaaaaaaaaa","region":"mars"}"#),
                Vault::Node(Node { region: None, ..node('a') }),
            ),
            (Some(r#"{"instanceID":"mi-aaaaaaaaaaaaaaaaa","region":"us-e"#), Vault::Unreadable),
            (Some(r#"{"instanceID":"something-new"}"#), Vault::Unreadable),
            (Some("not json"), Vault::Unreadable),
            (Some("[]"), Vault::Unreadable),
        ] {
            assert_eq!(Vault::parse(record), expected, "{record:?}");
        }
        assert_eq!(
            node_in_file(r#"{"ManagedInstanceID":"mi-aaaaaaaaaaaaaaaaa","Region":"us-east-1"}"#),
            Some(node('a'))
        );
        assert_eq!(node_in_file("{}"), None);
        for (contents, expected) in [
            (None, Manifest::Absent),
            (Some(""), Manifest::Unreadable),
            (Some("[]"), Manifest::Unreadable),
            (Some(r#"{"InstanceFingerprint":"/x"}"#), Manifest::WithoutRegistration),
            (Some(r#"{"RegistrationKey":"/x"}"#), Manifest::Elsewhere),
            (
                Some(r#"{"RegistrationKey":"/var/lib/amazon/ssm/Vault/Store/RegistrationKey"}"#),
                Manifest::WithRegistration,
            ),
        ] {
            assert_eq!(Manifest::parse(contents), expected, "{contents:?}");
        }
    }

    #[test]
    fn the_identity_that_the_agent_may_take() {
        for (order, expected) in [
            (r#"["EC2"]"#, true),
            (r#"["ECS","EC2","OnPrem"]"#, true),
            (r#"["OnPrem","EC2"]"#, false),
            (r#"["nonsense"]"#, false),
            ("[]", false),
            ("7", false),
        ] {
            assert_eq!(prefers_ec2(&format!(r#"{{"Identity":{{"ConsumptionOrder":{order}}}}}"#)), expected, "{order}");
        }
        assert!(!prefers_ec2("{}") && !prefers_ec2("{broken"));
        // The agent reads names in any case, and the last one counts.
        for (configuration, expected) in [
            (r#"{"identity":{"consumptionOrder":["EC2","OnPrem"]}}"#, true),
            (r#"{"identity":{"consumptionOrder":["EC2"]},"Identity":{"ConsumptionOrder":["OnPrem"]}}"#, false),
            (r#"{"Identity":{"ConsumptionOrder":["OnPrem"],"CONSUMPTIONORDER":["EC2"]}}"#, true),
        ] {
            assert_eq!(prefers_ec2(configuration), expected, "{configuration}");
        }
    }

    #[test]
    fn a_manifest_is_mended_and_keeps_what_it_lists() {
        for contents in [None, Some("half wri"), Some("[]"), Some("{}")] {
            let mended = mended_manifest(contents, true);
            assert_eq!(Manifest::parse(Some(&mended)), Manifest::WithRegistration, "{contents:?}");
            assert!(mended.contains(FINGERPRINT_FILE));
        }
        let kept = mended_manifest(Some(r#"{"Other":"/x","InstanceFingerprint":"/y"}"#), true);
        assert!(kept.contains(r#""Other":"/x""#) && kept.contains(r#""InstanceFingerprint":"/y""#), "{kept}");
        assert!(!mended_manifest(None, false).contains(FINGERPRINT_FILE));
        // A running agent outlives its vault.
        let gone = Evidence { cli: Cli::Node(node('a')), ..Evidence::default() };
        assert!(gone.flaw().is_some_and(|flaw| flaw.what.contains("vault is empty")));
    }

    #[test]
    fn the_machine_of_a_fingerprint() {
        let with = |threshold| {
            format!(
                r#"{{"fingerprint":"f","hardwareHash":{{"machine-id":"abc\n"}},"similarityThreshold":{threshold}}}"#
            )
        };
        assert_eq!(fingerprinted_machine(&with(40)).as_deref(), Some("abc"));
        assert_eq!(fingerprinted_machine(&with(-1)), None);
        assert_eq!(fingerprinted_machine("{}"), None);
    }
}
