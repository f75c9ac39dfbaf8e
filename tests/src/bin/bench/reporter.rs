//! The fleet report of a large hub: calls, time, memory and the size of the page.
//!
//! Unlike the other parts it runs on `MiniStack`, which has the grants, the parameters, the log and the bucket. Each call is
//! authorized there, which takes most of the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use local_aws::{NewNode, PatchState};
use serde_json::{Value, json};
use tests::{CENTRAL, HOME_REGION, Paths, World};

use crate::host::Host;
use crate::package::Packages;
use crate::scale::{environment, node_id};

/// Agencies and nodes.
const FLEETS: [(usize, usize); 2] = [(10, 1_000), (1_000, 100_000)];
/// What `template.yaml` gives the function.
const MEMORY_MB: f64 = 1_024.0;
const PAGE_BYTES: usize = 10_000_000;

pub(crate) async fn measure(paths: &Paths, packages: &Packages) -> anyhow::Result<()> {
    println!("### Fleet report\n");
    println!(
        "Target: a page of at most {} MB, and less memory than the {MEMORY_MB} MB that the function has.\n",
        PAGE_BYTES / 1_000_000
    );
    println!(
        "| agencies | nodes | DescribeInstanceInformation | GetResources | DescribeInstancePatchStates | ListAliases | \
         GetParametersByPath | GetMetricData | wall time | peak memory | page |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for (agencies, nodes) in FLEETS {
        let world = World::start(paths.clone(), 0, None)?;
        world.deploy_central(&[]).await?;
        fill(&world, agencies, nodes).await?;
        let bucket = format!("tag-hub-fleet-{CENTRAL}-{HOME_REGION}");
        let mut variables = environment(&world.aws, CENTRAL);
        variables.extend([("MANAGER_FUNCTION_NAME", "ssm-tag-manager"), ("REPORT_BUCKET", bucket.as_str())]);
        let host = Host::start(&packages.reporter.bootstrap, 1, Duration::from_mins(15), &variables).await?;
        let (before, start) = (world.aws.calls().snapshot(), Instant::now());
        let arn = format!("arn:aws:lambda:{HOME_REGION}:{CENTRAL}:function:fleet-reporter");
        let answer = host.invoker().invoke(&arn, Bytes::from_static(b"{}")).await.map_err(anyhow::Error::msg)?;
        let (wall, answer) = (start.elapsed(), serde_json::from_slice::<Value>(&answer)?);
        anyhow::ensure!(answer["nodes"].as_u64() == u64::try_from(nodes).ok(), "all nodes are reported: {answer}");
        anyhow::ensure!(answer["agencies"].as_u64() == u64::try_from(agencies).ok(), "and all agencies: {answer}");
        let calls = world.aws.calls().snapshot().since(&before);
        let count = |operation: &str| calls.of(operation).total();
        let memory = host.peak_memory_mb()?;
        let page = world.fleet_file("index.html").await?.map_or(0, |page| page.len());
        println!(
            "| {agencies} | {nodes} | {} | {} | {} | {} | {} | {} | {:.1} s | {memory:.0} MB | {:.1} MB |",
            count("ssm:DescribeInstanceInformation"),
            count("tagging:GetResources"),
            count("ssm:DescribeInstancePatchStates"),
            count("lambda:ListAliases"),
            count("ssm:GetParametersByPath"),
            count("monitoring:GetMetricData"),
            wall.as_secs_f64(),
            f64::from(u32::try_from(page)?) / 1e6,
        );
        anyhow::ensure!(page > 0 && page <= PAGE_BYTES, "the page has {page} bytes");
        anyhow::ensure!(memory <= MEMORY_MB, "{memory:.0} MB are more than {MEMORY_MB} MB");
    }
    println!();
    Ok(())
}

/// Grants, coverage, and nodes with tags and patch states.
async fn fill(world: &World, agencies: usize, nodes: usize) -> anyhow::Result<()> {
    let client = world.central();
    let account = |index: usize| format!("{:012}", 200_000_000_000_usize + index);
    for index in 0..agencies {
        let alias = json!({"Name": format!("agency-{}", account(index)), "FunctionVersion": "$LATEST"});
        let path = "/2015-03-31/functions/ssm-tag-manager/aliases";
        client.rest("lambda", Method::POST, path, &[], alias.to_string()).await?;
        let per_agency = nodes / agencies;
        let coverage = json!({"running": per_agency + 1, "stopped": 0, "managed": per_agency,
                              "unmanaged": [format!("i-{index:017x}")], "unmanagedOmitted": 0});
        let name = format!("/tag-hub/coverage/{}/{HOME_REGION}", account(index));
        let body = json!({"Name": name, "Value": coverage.to_string(), "Type": "String"});
        client.json("ssm", "PutParameter", &body).await?;
    }
    #[expect(clippy::disallowed_methods, reason = "a scan of an hour ago is an hour before now")]
    let scanned = std::time::SystemTime::now() - Duration::from_hours(1);
    for index in 0..nodes {
        let owner = account(index % agencies);
        let tags = BTreeMap::from(
            [
                ("tag-hub:agency", owner.clone()),
                ("tag-hub:source", format!("{owner}/{HOME_REGION}/i-{:017x}", index + 1_000_000)),
                ("Name", format!("server-{index}.agency.example")),
                ("Env", ["PROD", "TEST", "DEV"][index % 3].to_owned()),
                ("Role", ["web", "database", "worker", "cache"][index % 4].to_owned()),
                ("Patch Group", format!("weekly-{}", index % 7)),
                ("CostCenter", format!("{}", 4_000 + index % 100)),
                ("Contact", "operations@agency.example".to_owned()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        let id = world.aws.nodes().register(
            CENTRAL,
            HOME_REGION,
            NewNode { id: Some(node_id(index)), tags, ..NewNode::default() },
        );
        let state = PatchState {
            missing_count: u32::from(index % 5 == 0),
            failed_count: 0,
            installed_pending_reboot_count: 0,
            critical_non_compliant_count: 0,
            operation_end_time: scanned,
        };
        world.aws.nodes().update(CENTRAL, HOME_REGION, &id, |node| node.patch_state = Some(state));
    }
    Ok(())
}
