//! The fleet on one page.
//!
//! What was read about a hub comes in as [`Facts`] and node by node through [`FleetBuilder::add`]; a [`Fleet`] goes out, and
//! from it the three files of a report: [`page::render`] makes `index.html`, [`csv::render`] makes `fleet.csv`, and
//! [`Summary`] is `fleet.json`. Nothing in here talks to AWS or reads the clock. `fleet-reporter` and `taghub report` use
//! it alike.
//!
//! Nodes are kept compact, with their words interned: a hub may have 100,000 of them. The trend, and since when something
//! has been so, come from the `fleet.json` of the report before.

pub mod csv;
pub mod page;

mod build;
mod coverage;
mod data;
mod facts;
mod finding;
mod news;
mod node;
mod patch;
mod pool;
mod summary;
mod trend;
mod words;

pub use build::{Fleet, FleetBuilder};
pub use coverage::RegionCoverage;
pub use facts::{ActivationFacts, AgencyFacts, Facts, HubFacts};
pub use finding::{Finding, Kind, Severity};
pub use news::{Latest, News};
pub use node::{Node, Ping, SILENT_AFTER_SECONDS, Tagging, owner};
pub use patch::{PatchReading, Patching};
pub use summary::{
    Activation, AgencySummary, AgentVersion, DroppedTags, FLEET_SCHEMA, Figures, Limit, Point, Summary, Unmanaged,
};
pub use words::{counted, grouped};
