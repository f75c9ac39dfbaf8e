//! Rules that no compiler checks: the templates, the functions, the samples and the crate docs say the same.
//!
//! [`template`] reads the templates, [`function`] what the functions say about themselves; each of the other modules
//! holds the rules of one subject. They look at files alone and start nothing but git.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod function;
mod template;

mod environment;
mod events;
mod functions;
mod iam;
mod parameters;
mod repository;
