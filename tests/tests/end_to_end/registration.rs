//! Machines become managed nodes: the real tool, the real activation, the instance profile and no other right.

mod agent;
mod field;
mod machine;
mod parameter;
mod site;
