//! `register-instance` runs as root on an agency's EC2 instance and makes it a managed node of the central account.
//!
//! # What it does
//! 1. It asks the instance metadata service (version 2 alone) who it is, and takes the credentials of the instance
//!    profile from there. The default chain is never asked: an agent that is registered leaves the *central* account's
//!    credentials in root's default profile.
//! 2. It looks whether the machine is registered. If it is, the registration is left alone, and only the EC2 tag
//!    `managedinstanceid` is seen to.
//! 3. It reads the activation from Parameter Store, and checks that it is for this account and not over.
//! 4. It stops the agent, registers it, and starts it again, whatever came of the registration.
//! 5. It writes down which instance was registered as which node, and sets the EC2 tag `managedinstanceid`.
//!
//! Every step is safe to run again.
//!
//! # IAM, on the instance profile
//! `ssm:GetParameter` on the activation's parameter; `ec2:CreateTags` on the instance itself, for the key
//! `managedinstanceid` alone.
//!
//! # Failures
//! Each has a [`Reason`], which is the exit code and the word in the JSON line. The activation code is in no message:
//! the agent's own output is rid of it before anything is made of it.
//!
//! # Reading order
//! `cli` says what was asked for, `steps` what is done about it, with `decide` and `detect` as the pure decisions.
//! `register` holds the only part that changes the registration. `machine` and `aws` are the edges.

mod activation;
mod agent;
pub mod aws;
pub mod cli;
mod decide;
mod detect;
mod evidence;
mod failure;
pub mod machine;
mod marker;
pub mod outcome;
mod register;
mod retry;
mod steps;

pub use failure::{Failure, Reason};
pub use steps::{Settings, Source, run};
