//! Reads the tags of an agency's EC2 instances and reports them to the manager in the central account.
//!
//! Runs in the agency's account. An instance is reported where it carries the tag `managedinstanceid` and is
//! pending, running, stopping or stopped. All its tags are sent, except that one: which of them reach the
//! managed node, and why others do not, is the manager's to decide. An instance that is terminated is reported as that.
//!
//! # Input
//! | event | what is read |
//! |---|---|
//! | `{}`, or a scheduled event of EventBridge or its Scheduler | all of `COLLECT_REGIONS` |
//! | `Tag Change on Resource` for an EC2 instance | that instance, in its Region; a Region outside `COLLECT_REGIONS` is ignored, and the answer says so |
//! | `EC2 Instance State-change Notification` with the state `terminated` | whether EC2 says so too, whatever tags the instance has left; other states are ignored without a call |
//! | messages of SQS, each with such an event as its body | the instances that they name, each once, however many events there are |
//! | `{"instanceIds": […], "regions": […], "dryRun": true}`, each optional | the instances named, or all, in the Regions named, which may be any |
//!
//! Anything else is refused with an error of type `InvalidEvent` that names the place.
//!
//! # Output
//! [`answer::SweepAnswer`]: for each Region the instances, the batches and what went wrong, the manager's counts
//! added up, and the nodes that need a look. With `INVOCATION_TYPE=Event` nobody hears what became of the
//! reports, so that the counts are absent. A dry run always waits for the manager: its answer is the point.
//!
//! Messages of SQS have an answer of their own, [`queue::QueueAnswer`], with those that have to come again: messages
//! that are no tag changes, and those about an instance that was not read, not reported, or whose node failed with a
//! chance or was deferred. An instance that is gone, that carries no tag `managedinstanceid`, or that is in a Region
//! outside `COLLECT_REGIONS` is done. A message is done only after its instance was read.
//!
//! # Metrics
//! One line in the embedded metric format for each invocation: see [`metrics::metrics()`].
//!
//! # Configuration
//! | variable | meaning |
//! |---|---|
//! | `MANAGER_FUNCTION_ARN` | required: the manager's function ARN with this agency's alias, `…:function:NAME:agency-<account id>`; its Region is the one invoked |
//! | `COLLECT_REGIONS` | comma list of Regions; empty or absent: the function's own |
//! | `INVOCATION_TYPE` | `RequestResponse` (default) or `Event` |
//! | `AWS_REGION` | the function's own Region, set by Lambda |
//!
//! A bad configuration ends the start of the function with one line that lists all its problems.
//!
//! # IAM
//! `ec2:DescribeInstances` on `*` (the API knows no narrower resource) and `lambda:InvokeFunction` on
//! `MANAGER_FUNCTION_ARN`. Account and Region come from the invocation: no call to STS.
//!
//! # Failures
//! A Region that cannot be read, or a batch that the manager did not take, is reported and stops nothing else;
//! the invocation then ends in an error of type `PartialSweep`, whose message begins with what failed and ends
//! with the whole answer. What became of a single node is an outcome and never an error of the invocation.
//! Every report is complete in itself: the next sweep makes good what this one missed. Messages of a queue never end
//! in `PartialSweep`: what failed is in their answer, so that only those come again.

pub mod event;
mod state_change;

pub mod queue;

pub mod config;

pub mod batch;

pub mod answer;

pub mod sweep;

pub mod metrics;

mod log;

pub mod handler;

pub mod aws;
