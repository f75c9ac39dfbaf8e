//! Whole runs: their outcomes, the laws that hold when anything fails, and the real machine with small programs.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod attacks;
mod built;
mod cases;
mod fake;
mod field;
mod laws;
mod network;
mod outcomes;
mod packaging;
mod programs;
mod proof;
mod real;
mod systemd;
mod truth;
