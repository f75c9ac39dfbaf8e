//! Where executions stand: from what the service tells to what a person wants to know.
//!
//! Pure: executions in, words out.

mod cause;
mod fit;
mod matrix;
mod view;

pub use cause::Cause;
pub use fit::fit;
pub use matrix::{Cell, matrix};
pub use view::{status_answer, view};
