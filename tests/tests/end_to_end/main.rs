//! Tag Hub on the local AWS: the real templates, the real packages.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod propagation;
