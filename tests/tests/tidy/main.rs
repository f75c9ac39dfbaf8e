//! Rules that no compiler checks: the templates, the functions, the samples and the crate docs say the same.
//!
//! [`template`] and [`policy`] read the templates, [`function`] what the functions say about themselves, [`examples`]
//! has values of parameters; each of the other modules holds the rules of one subject. They look at files alone and
//! start nothing but git.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod examples;
mod function;
mod generated;
mod policy;
mod template;

mod alarms;
mod arns;
mod controls;
mod cost;
mod dashboard;
mod environment;
mod events;
mod functions;
mod iam;
mod iam_table;
mod keys;
mod links;
mod machines;
mod metrics;
mod modules;
mod names;
mod operators;
mod parameters;
mod repository;
mod roles;
mod rules;
mod several;
mod tables;
mod tested;
