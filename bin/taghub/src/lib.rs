//! `taghub`: the operator's program of Tag Hub.
//!
//! A command reads from AWS ([`aws`]), lets something pure decide what is shown ([`view`]), and prints it. Results go to
//! standard output; progress, hints, questions, and errors go to standard error. `docs/taghub.md` shows every command.
//!
//! # How a hub is found
//! By the parameter `/tag-hub/about` of the account and Region of the credentials, which `template.yaml` writes.
//!
//! # IAM actions
//! `cfn/operator-roles.yaml` has a managed policy for each kind of operator.
//!
//! # Failure policy
//! An error ends the command with an exit code that tells its kind ([`failure::Exit`]). What may not be read is a warning
//! where the command can do without it.

#![allow(clippy::doc_markdown, reason = "a doc comment on an argument is its help on a terminal")]
#![allow(clippy::format_push_string, reason = "what is shown is short, and reads best as it is put together")]

pub mod app;
pub mod aws;
pub mod cli;
pub mod command;
pub mod failure;
pub mod flags;
pub mod progress;
pub mod state;
pub mod terminal;
pub mod view;
