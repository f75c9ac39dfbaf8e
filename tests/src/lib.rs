//! What the end-to-end tests, the demo and the bench share.
//!
//! [`World`] is a central and two agency accounts on the local AWS, deployed by the templates of this
//! repository with the functions that cargo has built, or with the packages that are released. [`Paths`] says where
//! these are.
//!
//! [`document`] and [`Session`] run the commands of a document.

mod campaigns;
pub mod document;
mod emulator;
mod instances;
mod leases;
pub mod made_up;
mod onboarding;
mod paths;
mod session;
mod template;
mod world;

pub use campaigns::Campaigns;
pub use emulator::{Emulated, Emulator};
pub use instances::Enrolled;
pub use leases::LEASE_TABLE;
pub use onboarding::{INSTANCE_PROFILE, Onboarded};
pub use paths::{Paths, program};
pub use session::{Failure, Session};
pub use world::{ACTIVATION_PARAMETER, AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, SECOND_REGION, World};
