//! The time that an invocation has for its calls.

pub(crate) use lambda_kit::{Deadline, Stopped};
