//! Many agencies that write at once to a service that takes only so many calls a second, and what becomes of the rate
//! when calls are refused by chance.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use local_aws::{Count, Fault, LocalAws, NewNode, Options};
use serde_json::{Value, json};
use tests::{CENTRAL, HOME_REGION, Paths};

use crate::host::{Host, Invoker};
use crate::package::Packages;
use crate::scale;

const WRITE: &str = "ssm:AddTagsToResource";
/// Sandboxes for the single changes, beside one for each agency.
const SPARE_SANDBOXES: usize = 2;
const BETWEEN_SINGLE_CHANGES: Duration = Duration::from_secs(3);
/// How long the service is watched before, during and after the trouble.
const BEFORE: Duration = Duration::from_secs(30);
const TROUBLE: Duration = Duration::from_mins(1);
const AFTER: Duration = Duration::from_secs(45);
const RECOVERED: f64 = 0.95;
/// Over so many seconds a rate is told.
const WINDOW_SECONDS: usize = 5;

/// The managers of a hub, without collectors.
struct Managers {
    aws: LocalAws,
    host: Host,
}

impl Managers {
    async fn start(paths: &Paths, packages: &Packages, sandboxes: usize, rate: f64) -> anyhow::Result<Self> {
        let aws = LocalAws::start(Options { ministack: false, ..Options::new(&paths.python) })?;
        scale::create_lease_table(&aws).await?;
        aws.faults().add(Fault::rate(WRITE, rate, rate));
        let environment = scale::environment(&aws, CENTRAL);
        let timeout = Duration::from_mins(5);
        let host = Host::start(&packages.manager.bootstrap, sandboxes, timeout, &environment).await?;
        Ok(Self { aws, host })
    }

    fn register(&self, agency: usize, nodes: usize) {
        for index in 0..nodes {
            let tags = BTreeMap::from([(hub::AGENCY_TAG_KEY.to_owned(), account(agency))]);
            let id = Some(node_id(agency, index));
            self.aws.nodes().register(CENTRAL, HOME_REGION, NewNode { id, tags, ..NewNode::default() });
        }
    }

    fn writes(&self) -> Count {
        self.aws.calls().snapshot().of(WRITE)
    }
}

fn account(agency: usize) -> String {
    format!("3{agency:011}")
}

fn node_id(agency: usize, index: usize) -> String {
    format!("mi-{agency:05x}{index:012x}")
}

/// Reports an agency's nodes with a tag of this value, and waits until all of them are written.
async fn report(manager: Invoker, agency: usize, nodes: usize, value: String) -> anyhow::Result<Duration> {
    let account = account(agency);
    let instance = |index: usize| {
        json!({
            "instanceId": node_id(agency, index),
            "ec2InstanceId": format!("i-{agency:05x}{index:012x}"),
            "tags": [{"Key": "Env", "Value": value}, {"Key": "Patch Group", "Value": "weekly"}],
        })
    };
    let instances: Vec<Value> = (0..nodes).map(instance).collect();
    let report = json!({"version": 1, "account": account, "region": HOME_REGION, "instances": instances});
    let arn = format!("arn:aws:lambda:{HOME_REGION}:{CENTRAL}:function:ssm-tag-manager:agency-{account}");
    let start = Instant::now();
    let answer = manager.invoke(&arn, Bytes::from(report.to_string())).await.map_err(anyhow::Error::msg)?;
    let answer: Value = serde_json::from_slice(&answer)?;
    anyhow::ensure!(answer["counts"]["updated"] == nodes, "every node is updated: {answer}");
    Ok(start.elapsed())
}

pub(crate) async fn measure(paths: &Paths, packages: &Packages, rate: f64) -> anyhow::Result<()> {
    println!("\n### Contention\n");
    println!("All agencies report new nodes at once, each to a sandbox of its own; the service takes {rate} calls/s.");
    println!("Target: at least 95 % of the rate, under 2 % throttled, a single change of another agency within 5 s.\n");
    println!(
        "| agencies | nodes each | first done | last done | share of the rate | throttled | single changes, median | worst |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (agencies, nodes) in [(12, 100), (30, 60)] {
        contend(paths, packages, rate, agencies, nodes).await?;
    }
    recover(paths, packages, rate).await
}

async fn contend(paths: &Paths, packages: &Packages, rate: f64, agencies: usize, nodes: usize) -> anyhow::Result<()> {
    let managers = Managers::start(paths, packages, agencies + SPARE_SANDBOXES, rate).await?;
    for agency in 0..agencies {
        managers.register(agency, nodes);
    }
    managers.register(agencies, 1);
    let start = Instant::now();
    let reports: Vec<_> = (0..agencies)
        .map(|agency| tokio::spawn(report(managers.host.invoker(), agency, nodes, "PROD".to_owned())))
        .collect();
    let single = managers.host.invoker();
    let singles = tokio::spawn(async move {
        let mut latencies = Vec::new();
        for round in 0.. {
            tokio::time::sleep(BETWEEN_SINGLE_CHANGES).await;
            match report(single.clone(), agencies, 1, format!("round {round}")).await {
                Ok(latency) => latencies.push(latency.as_secs_f64()),
                // The host ends with the agencies.
                Err(_) if round > 0 => break,
                Err(error) => return Err(error),
            }
            if start.elapsed() > Duration::from_secs(25) {
                break;
            }
        }
        anyhow::Ok(latencies)
    });
    let mut done = Vec::new();
    for report in reports {
        done.push(report.await??.as_secs_f64());
    }
    let (wall, writes) = (start.elapsed().as_secs_f64(), managers.writes());
    let mut singles = singles.await??;
    done.sort_by(f64::total_cmp);
    singles.sort_by(f64::total_cmp);
    let (share, throttled) = shares(writes, wall * rate);
    println!(
        "| {agencies} | {nodes} | {:.1} s | {:.1} s | {share:.0} % | {throttled:.1} % | {:.2} s | {:.2} s |",
        done.first().copied().unwrap_or_default(),
        done.last().copied().unwrap_or_default(),
        singles.get(singles.len() / 2).copied().unwrap_or_default(),
        singles.last().copied().unwrap_or_default(),
    );
    Ok(())
}

/// Of what could have been answered, and of all calls; in percent.
#[expect(clippy::cast_precision_loss, reason = "shares for people to read")]
fn shares(writes: Count, possible: f64) -> (f64, f64) {
    let (answered, throttled) = (writes.answered as f64, writes.throttled as f64);
    (answered / possible * 100.0, throttled / (answered + throttled).max(1.0) * 100.0)
}

async fn recover(paths: &Paths, packages: &Packages, rate: f64) -> anyhow::Result<()> {
    println!("\n### Recovery\n");
    println!("One agency writes without end. Target: the full rate within 15 s of the end of the trouble, and half of");
    println!("what the service would still take where 30 % of the calls are refused for good.\n");
    println!(
        "| refused by chance | answered meanwhile | of what was to be had | full rate again after |\n|---|---|---|---|"
    );
    for (share, seed) in [(0.4, 1), (0.3, 2)] {
        let managers = Managers::start(paths, packages, 1, rate).await?;
        let nodes = 1_000;
        managers.register(0, nodes);
        let manager = managers.host.invoker();
        let writer = tokio::spawn(async move {
            for round in 0.. {
                report(manager.clone(), 0, nodes, format!("round {round}")).await?;
            }
            anyhow::Ok(())
        });
        answered_each_second(&managers, BEFORE).await;
        let fault = managers.aws.faults().add(Fault::throttle(WRITE).probability(share, seed));
        let during = answered_each_second(&managers, TROUBLE).await;
        managers.aws.faults().remove(fault);
        let after = answered_each_second(&managers, AFTER).await;
        anyhow::ensure!(!writer.is_finished(), "the writer ended early: {:?}", writer.await);
        writer.abort();
        let mean = mean(&during);
        let again = after.windows(WINDOW_SECONDS).position(|window| self::mean(window) >= rate * RECOVERED);
        let again = again.map_or_else(|| "not within 45 s".to_owned(), |second| format!("{second} s"));
        let of_possible = mean / (rate * (1.0 - share)) * 100.0;
        println!("| {:.0} % | {mean:.1} calls/s | {of_possible:.0} % | {again} |", share * 100.0);
    }
    println!();
    Ok(())
}

/// How many writes are answered in each second.
async fn answered_each_second(managers: &Managers, time: Duration) -> Vec<f64> {
    let mut seconds = Vec::new();
    let mut before = managers.writes().answered;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    for _ in 0..time.as_secs() {
        ticks.tick().await;
        let now = managers.writes().answered;
        seconds.push(u32::try_from(now - before).map_or(f64::INFINITY, f64::from));
        before = now;
    }
    seconds
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap_or(u32::MAX))
}
