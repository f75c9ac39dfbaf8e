//! Calls, time and memory for fleets of any size: the first run, and one where nothing has changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use local_aws::{Fleet, Functions, Instance, Invoked, Invoker, LocalAws, NewNode, Options, Snapshot};
use serde_json::{Value, json};
use tests::{AGENCY_A, CENTRAL, HOME_REGION, LEASE_TABLE, Paths};

use crate::host::{self, Host};
use crate::package::Packages;

/// The collector sends one report at a time, so one sandbox serves it.
const SANDBOXES: usize = 1;
const MEMORY_TARGET_MB: f64 = 64.0;

/// A hub with a made-up fleet of one agency.
pub(crate) struct Hub {
    pub(crate) aws: LocalAws,
    pub(crate) manager: Host,
    collector: Host,
}

/// What one sweep took.
pub(crate) struct Sweep {
    pub(crate) calls: Snapshot,
    pub(crate) wall: Duration,
    pub(crate) answer: Value,
}

impl Hub {
    pub(crate) async fn start(paths: &Paths, packages: &Packages, size: usize) -> anyhow::Result<Self> {
        let (to_manager, mut from_edge) =
            tokio::sync::mpsc::unbounded_channel::<(Invoked, tokio::sync::oneshot::Sender<_>)>();
        let call: Invoker = Arc::new(move |invoked| {
            let to_manager = to_manager.clone();
            Box::pin(async move {
                let (answer, answered) = tokio::sync::oneshot::channel();
                to_manager.send((invoked, answer)).map_err(|_| "the manager is gone".to_owned())?;
                answered.await.map_err(|_| "the manager is gone".to_owned())?
            })
        });
        let fleet = Fleet::new(size, instance);
        let options = Options {
            ministack: false,
            fleet: Some(fleet),
            functions: Some(Functions::Call(call)),
            ..Options::new(&paths.python)
        };
        let aws = LocalAws::start(options)?;
        for index in 0..size {
            let tags = BTreeMap::from([(hub::AGENCY_TAG_KEY.to_owned(), AGENCY_A.to_owned())]);
            aws.nodes().register(
                CENTRAL,
                HOME_REGION,
                NewNode { id: Some(node_id(index)), tags, ..NewNode::default() },
            );
        }
        create_lease_table(&aws).await?;
        let timeout = Duration::from_mins(5);
        let manager = Host::start(&packages.manager.bootstrap, SANDBOXES, timeout, &environment(&aws, CENTRAL)).await?;
        let invoker = manager.invoker();
        tokio::spawn(async move {
            while let Some((invoked, answer)) = from_edge.recv().await {
                let invoker = invoker.clone();
                tokio::spawn(async move { answer.send(invoker.invoke(&invoked.function, invoked.payload).await) });
            }
        });
        let manager_arn = format!("arn:aws:lambda:{HOME_REGION}:{CENTRAL}:function:ssm-tag-manager:agency-{AGENCY_A}");
        let mut collector = environment(&aws, AGENCY_A);
        collector.push(("MANAGER_FUNCTION_ARN", &manager_arn));
        let timeout = Duration::from_mins(15);
        let collector = Host::start(&packages.collector.bootstrap, 1, timeout, &collector).await?;
        Ok(Self { aws, manager, collector })
    }

    pub(crate) async fn sweep(&self) -> anyhow::Result<Sweep> {
        let before = self.aws.calls().snapshot();
        let start = Instant::now();
        let answer = invoke(&self.collector.invoker()).await?;
        Ok(Sweep { calls: self.aws.calls().snapshot().since(&before), wall: start.elapsed(), answer })
    }
}

/// What a function finds in its environment.
pub(crate) fn environment<'a>(aws: &'a LocalAws, account: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("AWS_ENDPOINT_URL", aws.endpoint()),
        ("AWS_REGION", HOME_REGION),
        ("AWS_ACCESS_KEY_ID", account),
        ("AWS_SECRET_ACCESS_KEY", "any"),
    ]
}

/// The table of leases, as `template.yaml` makes it.
pub(crate) async fn create_lease_table(aws: &LocalAws) -> anyhow::Result<()> {
    let table = json!({
        "TableName": LEASE_TABLE,
        "KeySchema": [{"AttributeName": "name", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "name", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    });
    aws.client(CENTRAL, HOME_REGION).json("dynamodb", "CreateTable", &table).await?;
    Ok(())
}

async fn invoke(collector: &host::Invoker) -> anyhow::Result<Value> {
    let arn = format!("arn:aws:lambda:{HOME_REGION}:{AGENCY_A}:function:tags-collector");
    let answer = collector.invoke(&arn, Bytes::from_static(b"{}")).await.map_err(anyhow::Error::msg)?;
    Ok(serde_json::from_slice(&answer)?)
}

pub(crate) fn node_id(index: usize) -> String {
    format!("mi-{index:017x}")
}

/// An instance with as many tags as a usual one has.
fn instance(index: usize) -> Instance {
    let tag = |key: &str, value: String| (key.to_owned(), value);
    Instance {
        id: format!("i-{index:017x}"),
        state: "running".to_owned(),
        tags: vec![
            tag("managedinstanceid", node_id(index)),
            tag("Env", ["PROD", "TEST", "DEV"][index % 3].to_owned()),
            tag("Role", ["web", "database", "worker", "cache"][index % 4].to_owned()),
            tag("OS", if index.is_multiple_of(5) { "Windows" } else { "Linux" }.to_owned()),
            tag("Name", format!("server-{index}.agency.example")),
            tag("Patch Group", format!("weekly-{}", index % 7)),
            tag("CostCenter", format!("{}", 4_000 + index % 100)),
            tag("Contact", "operations@agency.example".to_owned()),
        ],
    }
}

pub(crate) async fn measure(paths: &Paths, packages: &Packages, sizes: &[usize]) -> anyhow::Result<()> {
    println!("### Calls and time\n");
    println!(
        "| instances | run | DescribeInstances | Invoke | GetResources | ListTags | AddTags | RemoveTags | wall time |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut memory = Vec::new();
    for size in sizes {
        let hub = Hub::start(paths, packages, *size).await?;
        for run in ["first", "steady state"] {
            let sweep = hub.sweep().await?;
            let seen = sweep.answer["counts"]["received"].as_u64();
            anyhow::ensure!(seen == u64::try_from(*size).ok(), "all instances have an outcome: {}", sweep.answer);
            let count = |operation: &str| sweep.calls.of(operation).total();
            println!(
                "| {size} | {run} | {} | {} | {} | {} | {} | {} | {:.1} s |",
                count("ec2:DescribeInstances"),
                count("lambda:Invoke"),
                count("tagging:GetResources"),
                count("ssm:ListTagsForResource"),
                count("ssm:AddTagsToResource"),
                count("ssm:RemoveTagsFromResource"),
                sweep.wall.as_secs_f64()
            );
        }
        memory.push((size, hub.collector.peak_memory_mb()?, hub.manager.peak_memory_mb()?));
    }
    println!("\n### Peak memory\n\n| instances | tags-collector | ssm-tag-manager | target |\n|---|---|---|---|");
    for (size, collector, manager) in memory {
        println!("| {size} | {collector:.1} MB | {manager:.1} MB | collector at most {MEMORY_TARGET_MB} MB |");
    }
    println!();
    Ok(())
}
