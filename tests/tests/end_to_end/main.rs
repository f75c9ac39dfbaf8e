//! Tag Hub on the local AWS: the real templates, the real functions.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod activations;
mod asynchronous;
mod budget;
mod configuration;
mod contention;
mod coverage;
mod documents;
mod fanout;
mod fanout_announcement;
mod fanout_campaign;
mod fanout_outcomes;
mod fanout_public;
mod fanout_refusals;
mod fanout_schedule;
mod field_cases;
mod fleet_report;
mod grants;
mod hardship;
mod leases;
mod lifecycle;
mod mutation;
mod node_role;
mod old_collector;
mod ownership;
mod policies;
mod propagation;
mod reconcile;
mod registration;
mod releases;
mod retirement;
mod tag_changes;
mod taghub;
mod validator;
mod verify;

use std::collections::BTreeMap;

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}
