//! The local AWS: `MiniStack`, a real emulator, behind an edge that adds what it lacks.
//!
//! [`LocalAws::start`] starts `MiniStack` on a free loopback port and the edge on another. A request
//! to the edge passes through untouched, except for what the edge owns:
//!
//! | operation | why |
//! |---|---|
//! | ssm `AddTagsToResource`, `RemoveTagsFromResource`, `ListTagsForResource` on a `ManagedInstance` | `MiniStack` takes any id and any character |
//! | ssm `DescribeInstanceInformation` | it knows no hybrid nodes |
//! | ssm `CreateActivation` and the two around it, `RegisterManagedInstance`, `DeregisterManagedInstance` | it has no activations |
//! | ssm `SendCommand` and the three that read commands | it knows EC2 instances only |
//! | ec2 `CreateTags` and `DeleteTags` on instances | it evaluates them against `*` |
//! | ssm `StartAutomationExecution` and the six around it, `DescribeDocument`, `GetDocument`, `GetCalendarState` | it has no Automation and no documents |
//! | tagging `GetResources` for `ssm:managed-instance` | likewise |
//! | lambda `Invoke` of another account's function | it answers `ResourceNotFoundException` |
//!
//! # Who may do what
//! A request to one of these goes to `MiniStack` first, which checks its signature. The decision is
//! then taken by `MiniStack`'s own policy evaluator, for the exact resource and with the condition keys
//! that AWS documents for the action; `MiniStack` itself would evaluate them against `*`.
//!
//! # A machine
//! [`machine::Machine`] is an EC2 instance as a program on it sees it: a folder for `/`, with stand-ins for
//! the agent and the service manager, and a metadata service.
//!
//! # Dials
//! [`LocalAws::faults`] makes calls fail, wait or kill; [`LocalAws::calls`] counts them;
//! [`LocalAws::set_lag`] holds `GetResources` back; [`LocalAws::activations`] and [`LocalAws::commands`]
//! show what was made and sent; [`LocalAws::automation`] says what becomes of each
//! account and Region of an automation. [`Client`] and [`stacks`] are what a test needs
//! to act as an account.
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
