//! What AWS is asked, and nothing that is decided about the answers.

pub mod agencies;
pub mod alarms;
pub mod campaigns;
pub mod coverage;
pub mod credentials;
pub mod function;
pub mod hub;
pub mod instances;
pub mod json;
pub mod news;
pub mod nodes;
pub mod policies;
pub mod queues;
pub mod report;
pub mod session;
pub mod standings;
