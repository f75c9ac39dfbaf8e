//! Counting requests, those that the SDK tries again by itself included.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_ssm::config::interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef};
use aws_sdk_ssm::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ssm::error::{BoxError, ProvideErrorMetadata};
use aws_sdk_ssm::operation::describe_automation_step_executions::DescribeAutomationStepExecutionsError;
use aws_sdk_ssm::operation::get_automation_execution::GetAutomationExecutionError;
use aws_sdk_ssm::operation::start_automation_execution::StartAutomationExecutionError;
use aws_sdk_ssm::operation::stop_automation_execution::StopAutomationExecutionError;
use hub::AwsError;
use lambda_kit::CallCounts;

/// What was sent, and what of it was throttled. Clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicUsize,
    throttles: AtomicUsize,
}

impl Tally {
    /// The counts so far, and back to zero.
    pub(super) fn take(&self) -> CallCounts {
        let Counters { calls, throttles } = &*self.0;
        CallCounts { calls: calls.swap(0, Ordering::Relaxed), throttles: throttles.swap(0, Ordering::Relaxed) }
    }
}

impl Intercept for Tally {
    fn name(&self) -> &'static str {
        "Tally"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let error = context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        // Each operation has an error type of its own, which is erased here.
        let code = error.and_then(|error| {
            let start = error.downcast_ref::<StartAutomationExecutionError>().map(ProvideErrorMetadata::code);
            let get = || error.downcast_ref::<GetAutomationExecutionError>().map(ProvideErrorMetadata::code);
            let describe =
                || error.downcast_ref::<DescribeAutomationStepExecutionsError>().map(ProvideErrorMetadata::code);
            let stop = || error.downcast_ref::<StopAutomationExecutionError>().map(ProvideErrorMetadata::code);
            start.or_else(get).or_else(describe).or_else(stop).flatten()
        });
        if code.is_some_and(AwsError::is_throttling_code) {
            self.0.throttles.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
