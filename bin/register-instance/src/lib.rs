//! `register-instance` runs as root on an agency's EC2 instance and makes it a managed node of the central account.
//!
//! # What it does
//! 1. It asks the instance metadata service (version 2 alone, and never through a proxy) who it is, and takes the
//!    credentials of the instance profile from there. The default chain is never asked: an agent that is registered
//!    leaves the *central* account's credentials in root's default profile.
//! 2. It looks whether the machine is registered. If it is, the registration is left alone.
//! 3. Otherwise it reads the activation from Parameter Store, checks that it is for this account and has not expired,
//!    stops the agent, registers it with the environment of its service, and starts it again, whatever came of that.
//! 4. It asks the running agent which node it is, until the agent names that node in the hub's Region.
//! 5. Only then it sets the EC2 tag `managedinstanceid`: always, as nothing on the machine tells whether EC2 has it.
//!
//! Every step is safe to run again. `doctor` looks at all of this and changes nothing; `heal` restarts an agent that does
//! not use its registration, and replaces a registration that is of no use if it is told to.
//!
//! # IAM, on the instance profile
//! `ssm:GetParameter` on the activation's parameter; `ec2:CreateTags` on the instance itself, for the key
//! `managedinstanceid` alone.
//!
//! # Failures
//! Each has a [`Reason`], which is the exit code and the word in the JSON line. The activation code is in no message:
//! the agent's own output is rid of it before anything is made of it. What may pass is tried again until the time of the
//! run is up; what is known to be a refusal ends the run at once.
//!
//! # Reading order
//! `cli` says what was asked for, `steps` what is done about it, with `decide`, `detect` and `verify` as the pure
//! decisions. `register` holds the only part that changes the registration. `machine` and `aws` are the edges.

mod activation;
mod agent;
mod agent_log;
pub mod aws;
pub mod cli;
mod configuration;
mod decide;
mod detect;
pub mod doctor;
mod evidence;
mod failure;
mod find;
pub mod machine;
mod marker;
pub mod outcome;
mod profile;
mod proxy;
mod register;
mod retry;
mod runtime;
mod start;
mod steps;
mod unit;
mod verify;

pub use failure::{Failure, Known, Reason, exit_codes};
pub use proxy::Proxies;
pub use steps::{Repair, Settings, Source, run};
