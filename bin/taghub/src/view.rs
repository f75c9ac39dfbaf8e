//! What is shown: values in, text out.

pub mod agencies;
pub mod agency;
pub mod campaign;
pub mod doctor;
pub mod explain;
pub mod history;
pub mod instances;
pub mod nodes;
pub mod policy;
pub mod run;
pub mod status;
pub mod sweep;
pub mod table;
pub mod time;
