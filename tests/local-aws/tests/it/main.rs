//! The local AWS as its users see it: one binary, so that it links once.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod alone;
mod automation_alone;
mod automation_ministack;
mod engines;
mod events;
mod hybrid;
mod mends;
mod ministack;
mod support;
