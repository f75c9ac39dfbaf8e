//! The local AWS: `MiniStack`, a real emulator, behind an edge that adds what it lacks.
//!
//! [`LocalAws::start`] starts `MiniStack` on a free loopback port and the edge on another. A request
//! to the edge passes through untouched, except for what the edge owns:
//!
//! | operation | the edge |
//! |---|---|
//! | ssm `AddTagsToResource`, `RemoveTagsFromResource`, `ListTagsForResource` on a `ManagedInstance` | checks IDs, characters, lengths, 50 tags, and reserved keys; all or nothing |
//! | ssm `DescribeInstanceInformation` | hybrid nodes, with filters and pages |
//! | ssm `DescribeInstancePatchStates` | what [`Nodes`] says of a node's last scan; omits nodes that were never scanned |
//! | ssm `CreateActivation`, `DescribeActivations`, `DeleteActivation` | limits, dates, filters, pages; the role must exist and trust Systems Manager for nodes of that account and Region |
//! | ssm `RegisterManagedInstance`, unsigned, as the agent calls it | a node in the activation's account and Region, with tags, role, and name |
//! | ssm `DeregisterManagedInstance` | removes the node and its tags |
//! | ssm `GetServiceSetting`, `UpdateServiceSetting` of `/ssm/managed-instance/activation-tier` | the tier, `standard` at first; it limits nothing here |
//! | ssm `UpdateManagedInstanceRole` | another role, which must exist and trust Systems Manager; otherwise the node is `ConnectionLost` and takes no commands |
//! | ssm `SendCommand`, `ListCommands`, `ListCommandInvocations`, `GetCommandInvocation` | which nodes a command reached, by ID or tag; needs permission on the document and on each node, or on `managed-instance/*` if tags are the targets |
//! | ssm Automation, `DescribeDocument`, `GetDocument`, `GetCalendarState` | executions over target locations, with steps, children, signals, and tags; known runbooks; Change Calendars |
//! | ec2 `CreateTags`, `DeleteTags` on instances | authorizes each instance's ARN, with `ec2:InstanceID` |
//! | tagging `GetResources` for `ssm:managed-instance` | by type or ARN, with filters and pages; omits nodes that never had a tag |
//! | lambda `Invoke` of another account's function | needs the caller's policy and that of the exact function, version, or alias |
//!
//! Each request is checked against botocore's service models, and refused in the words of AWS.
//!
//! # Permissions
//! A request to one of these goes to `MiniStack` first, which checks its signature. The decision is then taken by
//! `MiniStack`'s own policy evaluator, for the exact resource and with the condition keys that AWS documents for the
//! action, such as `aws:TagKeys`; `MiniStack` itself would evaluate them against `*`. A wrapper opens the evaluator to
//! the edge, because `SimulatePrincipalPolicy` there ignores context keys, boundaries, and session policies. Decisions
//! are cached for two seconds, or until IAM or a stack may have changed.
//!
//! # A machine
//! [`machine::Machine`] is an EC2 instance as a program on it sees it: a folder for `/`, with stand-ins for
//! the agent and the service manager, and a metadata service.
//!
//! # Controls
//! | control | does |
//! |---|---|
//! | [`LocalAws::faults`] | for an operation, an account, or a resource: throttles, fails, loses the answer of a call that worked, delays, holds a rate with a burst, or kills a function's process before or after a call; after some calls, some number of times, or by a seeded probability |
//! | [`LocalAws::set_lag`] | `GetResources` shows the state of that long ago |
//! | [`LocalAws::calls`] | calls and throttles of each operation and account, with those that pass through |
//! | [`LocalAws::nodes`] | all nodes, what they report, and when they last pinged |
//! | [`LocalAws::activations`] | activations with their codes; expires, fills up, or ages one |
//! | [`LocalAws::age_parameter`] | makes a parameter's last write earlier |
//! | [`LocalAws::commands`] | commands and the nodes that they reached; sets the next result on a node |
//! | [`LocalAws::automation`] | results and durations of automations in each account and Region, and their clock. With [`Outcome::TargetedInstances`], which the program `local-aws` uses, a run works on the EC2 instances that its targets name at the start, and is a success with a warning if there are none; tests default to a success on one made-up resource |
//! | [`LocalAws::set_tag_events`] | whether tag changes make events: they do at first |
//! | [`LocalAws::set_organization`] | the organization of every account, for `aws:PrincipalOrgID`: none at first |
//! | [`stacks::inventory`] | what an account has, to show that a deleted stack left nothing |
//!
//! [`Client`] and [`stacks`] are what a test needs to act as an account.
//!
//! # Without `MiniStack`
//! With `ministack: false` the same nodes, tags and `GetResources` work without signatures and
//! policies, together with a made-up EC2 fleet ([`Fleet`]), functions served by the caller
//! ([`Functions`]) and a small DynamoDB (single items, put and deleted under a condition), for measurements on fleets of 100,000 nodes.

mod access;
mod activations;
mod automation;
mod aws_error;
mod call;
mod calls;
mod client;
mod clock;
mod commands;
mod dynamodb;
mod ec2_tags;
mod edge;
mod faults;
mod forward;
mod hybrid;
mod imds;
mod inventory;
mod invoke;
mod kill;
pub mod machine;
mod model;
mod nodes;
mod process;
mod reply;
mod server;
mod sign;
mod ssm_describe;
mod ssm_patches;
mod ssm_tags;
pub mod stacks;
pub mod stand_in;
mod synthetic;
mod tagging;
mod upstream;
mod validate;
mod xml;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

pub use activations::{Activation, Activations};
pub use automation::{Automation, Outcome, Script, Unbegun};
pub use aws_error::AwsError;
pub use calls::{Calls, Count, Snapshot};
pub use client::{Client, Invocation, InvocationType, RestReply};
pub use commands::{Command, Commands};
pub use faults::{Effect, Fault, FaultId, Faults, Moment};
pub use imds::{Ec2Instance, Imds, ImdsState};
pub use nodes::{NewNode, Node, Nodes, PatchState};
pub use synthetic::{Fleet, Functions, Instance, Invoked, Invoker};

/// How to start. No defaults that depend on the machine: the interpreter comes from the caller.
#[derive(Debug, Clone)]
pub struct Options {
    /// A Python interpreter that has `ministack` and `botocore` (its service models validate requests).
    pub python: PathBuf,
    /// The edge's port on 127.0.0.1; 0 takes any free one.
    pub port: u16,
    /// Whether `MiniStack` runs behind the edge.
    pub ministack: bool,
    /// Where `MiniStack`'s log stays; `None` drops it with everything else.
    pub keep_logs: Option<PathBuf>,
    /// What is mended in `MiniStack` but for this, by its name in `ministack_mended.py`: to see whether it is needed.
    pub without_mend: Option<String>,
    /// The EC2 fleet that `DescribeInstances` shows. Only without `MiniStack`.
    pub fleet: Option<Fleet>,
    /// Who answers lambda `Invoke`. Only without `MiniStack`.
    pub functions: Option<Functions>,
}

impl Options {
    /// `MiniStack` behind an edge on any free port.
    pub fn new(python: impl Into<PathBuf>) -> Self {
        Self {
            python: python.into(),
            port: 0,
            ministack: true,
            keep_logs: None,
            without_mend: None,
            fleet: None,
            functions: None,
        }
    }
}

/// A running local AWS. Dropping it stops the edge, `MiniStack` and every function process it
/// started; they also end when this process is killed.
///
/// An access key id of 12 digits is the root of that account, with any secret; others are what
/// `MiniStack`'s IAM and STS have handed out.
#[derive(Debug)]
pub struct LocalAws {
    edge: Arc<edge::Edge>,
    // The order matters: the edge stops serving before what it forwards to ends.
    _server: server::Server,
    ministack: Option<process::MiniStack>,
}

impl LocalAws {
    /// Starts and waits until everything answers, about a second. Callable from inside a runtime:
    /// the edge has threads of its own.
    ///
    /// # Errors
    /// Where the port is taken, the interpreter lacks a package, or `MiniStack` does not become
    /// ready within 90 s (the error then carries the end of its log).
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", options.port))
            .with_context(|| format!("bind 127.0.0.1:{}", options.port))?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let data = process::botocore_data(&options.python)?;
        let ministack = if options.ministack { Some(process::MiniStack::start(&options, &endpoint)?) } else { None };
        let edge = Arc::new(edge::Edge::new(
            endpoint,
            ministack.as_ref().map(process::MiniStack::authority),
            data,
            synthetic::Synthetic { fleet: options.fleet, functions: options.functions },
        ));
        let server = server::Server::start(listener, server::edge(Arc::clone(&edge)), 2)?;
        Ok(Self { edge, _server: server, ministack })
    }

    /// `http://127.0.0.1:PORT`, for `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> &str {
        &self.edge.endpoint
    }

    /// The managed nodes of every account and Region.
    pub fn nodes(&self) -> &Nodes {
        &self.edge.nodes
    }

    /// The hybrid activations of every account and Region.
    pub fn activations(&self) -> &Activations {
        &self.edge.hybrid.activations
    }

    /// The commands of every account and Region, with the nodes that they reached.
    pub fn commands(&self) -> &Commands {
        &self.edge.hybrid.commands
    }

    /// The automations of every account and Region, and what happens in them.
    pub fn automation(&self) -> &Automation {
        &self.edge.automation
    }

    /// The dials that make calls fail.
    pub fn faults(&self) -> &Faults {
        &self.edge.faults
    }

    /// The call counters.
    pub fn calls(&self) -> &Calls {
        &self.edge.calls
    }

    /// From now on `GetResources` shows the state of `lag` ago. Changes made before this call are
    /// shown at once.
    pub fn set_lag(&self, lag: Duration) {
        self.edge.nodes.set_lag(lag);
    }

    /// A metadata service for one EC2 instance, which is there until it is dropped.
    ///
    /// # Errors
    /// Where no port is free.
    pub fn imds(&self, instance: Ec2Instance) -> anyhow::Result<Imds> {
        Imds::start(Arc::clone(&self.edge), instance)
    }

    /// Whether tags of EC2 instances that change put `Tag Change on Resource` events on the default bus;
    /// at first they do.
    ///
    /// # Errors
    /// Where `MiniStack` is gone.
    pub fn set_tag_events(&self, on: bool) -> anyhow::Result<()> {
        self.tell(&serde_json::json!({"dials": {"tagEvents": on}}))
    }

    /// The organization that every account belongs to, for `aws:PrincipalOrgID`; at first none.
    ///
    /// # Errors
    /// Where `MiniStack` is gone.
    pub fn set_organization(&self, id: &str) -> anyhow::Result<()> {
        self.tell(&serde_json::json!({"dials": {"organization": id}}))?;
        if let Some(upstream) = self.edge.upstream() {
            upstream.access.forget();
        }
        Ok(())
    }

    /// Lets a parameter of Parameter Store have been written earlier than it was.
    ///
    /// # Errors
    /// Where there is no such parameter, or `MiniStack` is gone.
    pub fn age_parameter(&self, account: &str, region: &str, name: &str, by: Duration) -> anyhow::Result<()> {
        let parameter = serde_json::json!({"account": account, "region": region, "name": name, "by": by.as_secs()});
        self.tell(&serde_json::json!({"older": parameter}))
            .with_context(|| format!("age {name} in {account}, {region}"))
    }

    fn tell(&self, told: &serde_json::Value) -> anyhow::Result<()> {
        self.ministack.as_ref().map_or(Ok(()), |ministack| ministack.tell(told))
    }

    /// A client that acts as the root of `account` in `region`.
    pub fn client(&self, account: &str, region: &str) -> Client {
        Client::new(self.endpoint(), account, region)
    }
}
