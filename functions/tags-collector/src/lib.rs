//! Reads the tags of an agency's EC2 instances and reports them to the manager in the central account.
//!
//! Runs in the agency's account. An instance that carries the tag `managedinstanceid` and is pending, running, stopping
//! or stopped is reported with all its tags except that one. The manager decides which of them reach the managed node.
//! An instance in those states without the tag is reported as `unlinked`, and a terminated one as `terminated`. When all
//! instances of a Region were read, the Region's last report says how many of them have a node. The manager is called in
//! every sweep and Region, even if there is no instance.
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
//! [`answer::SweepAnswer`]: for each Region the instances, how many have a node, the batches and what went wrong; the
//! manager's counts added up; and the nodes that need a look. With `INVOCATION_TYPE=Event` nobody hears what became of
//! the reports, so the counts are absent. A dry run always waits for the manager: its answer is the point.
//!
//! Messages of SQS have an answer of their own, [`answer::QueueAnswer`], with those that have to come again: messages
//! that are not changes, and those about an instance that was not read, not reported, or whose node failed with a
//! chance or was deferred. So does a termination that EC2 does not show yet, because a read may be behind the event, or
//! whose marker failed or ran out of time, with all terminations of its Region. An instance that is gone, that is
//! reported as `unlinked`, or that is in a Region outside `COLLECT_REGIONS` is done. A message is done only after its
//! instance was read.
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
//! | `NAME_PREFIX` | what the names of this hub begin with; none without it |
//! | `AWS_REGION` | the function's own Region, set by Lambda |
//!
//! A bad configuration ends the start of the function with one line that lists all its problems.
//!
//! # IAM
//! `ec2:DescribeInstances` on `*` (the API knows no narrower resource) and `lambda:InvokeFunction` on
//! `MANAGER_FUNCTION_ARN`. Account and Region come from the invocation: no call to STS.
//!
//! # Failures
//! A manager that is busy (`TooManyRequestsException`) is waited for, with growing and jittered waits, as long as the
//! invocation has time.
//!
//! A Region that cannot be read, or a batch that the manager did not take, is reported and stops nothing else;
//! the invocation then ends in an error of type `PartialSweep`, whose message begins with what failed and ends
//! with the whole answer. What became of a single node is an outcome and never an error of the invocation.
//! Every report is complete in itself: the next sweep makes good what this one missed. Messages of a queue never end
//! in `PartialSweep`: what failed is in their answer, so that only those come again.

pub mod config;

pub mod event;

pub mod plan;

pub mod handler;

pub mod ports;

pub mod aws;

pub mod answer;

mod log;

pub mod metrics;
