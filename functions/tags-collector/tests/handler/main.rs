//! The handler over a world in memory: sweeps, changes, ends, and a manager that is busy.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod busy;
mod coverage;
mod ended;
mod logged;
mod measured;
mod queued;
mod sweeps;
mod unlinked;
mod world;
