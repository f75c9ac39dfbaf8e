//! The whole of Tag Hub on the local AWS, in a few minutes, checked at every step.
//!
//! Deploys the templates in three accounts, has activations made, launches instances that register themselves,
//! lets the schedule fire and a tag change, and shows what became of their tags. Ends with an error where anything that
//! it shows is not so.

mod answers;
mod campaign;
mod events;
mod expected;
mod fanout;
mod fleet;
mod registration;
mod secrecy;
mod show;
mod story;
mod together;

use clap::Parser;
use fleet::Fleet;
use tests::{AGENCY_A, CENTRAL, HOME_REGION, Paths, World, program};

/// Where the page of the fleet stays.
const PAGE: &str = ".local-aws/fleet";

/// Tag Hub at work on a local AWS.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Leave everything running until Ctrl-C, to look around with the AWS CLI.
    #[arg(long)]
    keep: bool,
    /// The port of the local AWS; 0 takes any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Where the log of MiniStack stays.
    #[arg(long)]
    keep_logs: Option<std::path::PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let world = World::start(Paths::from_env()?, arguments.port, arguments.keep_logs)?;
    let fleet = story::tell(&world).await?;
    fanout::tell(&world, &fleet).await?;
    campaign::tell(&world).await?;
    expected::tags(&world, &fleet)?;
    show::step("The hub at one glance, and the fleet on one page");
    show::taghub(&world, CENTRAL, "status").await?;
    show::taghub(&world, CENTRAL, &format!("report --dir {PAGE}")).await?;
    show::step(&format!("Everything shown was so. The page stays: {PAGE}/index.html"));
    if arguments.keep {
        look_around(&world, &fleet)?;
        tokio::signal::ctrl_c().await?;
    }
    Ok(())
}

fn look_around(world: &World, fleet: &Fleet) -> anyhow::Result<()> {
    let endpoint = world.aws.endpoint();
    let web = &fleet.member("web")?.enrolled;
    show::step("It stays running until Ctrl-C. To look around, with taghub and the AWS CLI of .venv/bin:");
    let act_as = |account: &str| format!("AWS_ACCESS_KEY_ID={account} AWS_SECRET_ACCESS_KEY=any");
    println!("export AWS_ENDPOINT_URL={endpoint} AWS_DEFAULT_REGION={HOME_REGION}");
    let taghub = program("taghub")?;
    let taghub = |arguments: &str| println!("{} {} {arguments}", act_as(CENTRAL), taghub.display());
    taghub("status");
    taghub("nodes --tag Env=PROD");
    taghub(&format!("explain {}", web.node));
    taghub("agencies");
    taghub("run preview AWS-RestartEC2Instance --all-agencies --regions us-east-1 --target tag:Env=PROD");
    println!("{} aws ssm describe-instance-information", act_as(CENTRAL));
    let of_node = format!("--resource-type ManagedInstance --resource-id {}", web.node);
    println!("{} aws ssm list-tags-for-resource {of_node}", act_as(CENTRAL));
    println!(
        "{} aws resourcegroupstaggingapi get-resources --resource-type-filters ssm:managed-instance",
        act_as(CENTRAL)
    );
    println!("{} aws ec2 describe-instances --filters Name=tag-key,Values=managedinstanceid", act_as(AGENCY_A));
    println!("{} aws ec2 create-tags --resources {} --tags Key=Env,Value=ANY", act_as(AGENCY_A), web.instance);
    println!("{} aws ssm describe-activations", act_as(CENTRAL));
    println!("{} aws lambda invoke --function-name tags-collector /dev/stdout", act_as(AGENCY_A));
    println!("{} aws logs filter-log-events --log-group-name /aws/lambda/ssm-tag-manager", act_as(CENTRAL));
    Ok(())
}
