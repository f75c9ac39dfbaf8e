//! The commands: each reads, lets something pure decide, and prints.

pub mod agencies;
pub mod agency;
pub mod campaign;
pub mod doctor;
pub mod explain;
pub mod history;
pub mod instances;
pub mod nodes;
pub mod patience;
pub mod policy;
pub mod report;
pub mod run;
pub mod shell;
pub mod status;
pub mod sweep;
