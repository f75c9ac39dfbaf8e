//! The codes of the activations are nowhere but in the agencies' encrypted parameters.

use std::path::Path;

use anyhow::ensure;
use serde_json::{Value, json};
use tests::{ACTIVATION_PARAMETER, AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, SECOND_REGION, World};

use crate::fleet::Fleet;
use crate::show;

/// Texts in which a code could be, by where they are.
type Texts = Vec<(String, String)>;

pub(crate) async fn tell(world: &World, fleet: &Fleet, answers: &[Value]) -> anyhow::Result<()> {
    show::step("The code of an activation shows nowhere");
    let mut texts: Texts = Vec::new();
    texts.extend(answers.iter().map(|answer| ("an answer of activation-issuer".to_owned(), answer.to_string())));
    texts.extend(fleet.printed.iter().map(|text| ("what register-instance printed".to_owned(), text.clone())));
    for machine in &fleet.machines {
        files(machine.root(), Path::new(""), &mut texts)?;
    }
    let get = json!({"Name": ACTIVATION_PARAMETER});
    for agency in [AGENCY_A, AGENCY_B] {
        for region in [HOME_REGION, SECOND_REGION] {
            let client = world.aws.client(agency, region);
            let sealed = client.json("ssm", "GetParameter", &get).await?;
            texts.push((format!("the parameter of {agency}, not decrypted"), sealed.to_string()));
            let instances = client.query("ec2", "DescribeInstances", &[]).await?;
            texts.push((format!("the instances of {agency}"), instances.to_string()));
        }
    }
    for node in world.aws.nodes().list(CENTRAL, HOME_REGION) {
        texts.push((format!("the node {}", node.instance_id), format!("{node:?}")));
    }
    let mut lines = 0;
    for account in [CENTRAL, AGENCY_A, AGENCY_B] {
        lines += logs(world, account, &mut texts).await?;
    }

    ensure!(lines > 0, "there are logs to look through");

    let activations = world.aws.activations().list(CENTRAL, HOME_REGION);
    ensure!(activations.len() == 2, "an activation for each agency");
    for activation in &activations {
        let shown = texts.iter().find(|(_, text)| text.contains(&activation.activation_code));
        ensure!(shown.is_none(), "the code is in {:?}", shown.map(|(place, _)| place));
        // So the search does look: the id is no secret and is found, and the code is in the one place that has it.
        ensure!(texts.iter().any(|(_, text)| text.contains(&activation.activation_id)), "the id is in the answers");
        let open = world.activation_parameter(&activation.tags[hub::AGENCY_TAG_KEY], HOME_REGION).await?;
        let value = open.as_ref().and_then(|parameter| parameter["Value"].as_str()).unwrap_or_default();
        ensure!(value.contains(&activation.activation_code), "the code is in the parameter");
    }
    show::note(&format!(
        "not in {} places: answers, {lines} log lines, what register-instance printed, files of the machines, tags",
        texts.len()
    ));
    Ok(())
}

/// The files of a machine, without what its stand-ins keep: they write down how they were called, and the agent takes
/// the code on its command line.
fn files(root: &Path, folder: &Path, texts: &mut Texts) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let (path, kind) = (folder.join(entry.file_name()), entry.file_type()?);
        if kind.is_dir() && path != Path::new(".stand-in") {
            files(root, &path, texts)?;
        } else if kind.is_file() {
            let text = String::from_utf8_lossy(&std::fs::read(entry.path())?).into_owned();
            texts.push((format!("{} of a machine", path.display()), text));
        }
    }
    Ok(())
}

/// The logs of an account's functions. Answers with how many lines there are.
async fn logs(world: &World, account: &str, texts: &mut Texts) -> anyhow::Result<usize> {
    let client = world.aws.client(account, HOME_REGION);
    let groups = client.json("logs", "DescribeLogGroups", &json!({})).await?;
    let mut lines = 0;
    for group in groups["logGroups"].as_array().into_iter().flatten() {
        let events = world.log_events(account, group["logGroupName"].as_str().unwrap_or_default()).await?;
        lines += events.len();
        texts.push((format!("the logs {} of {account}", group["logGroupName"]), Value::from(events).to_string()));
    }
    Ok(lines)
}
