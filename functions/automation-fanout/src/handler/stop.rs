//! `Stop`.

use hub::AwsError;

use super::read::unknown_execution;
use super::{NOT_FOUND, Run, too_late};
use crate::answer::{Failure, StopAnswer, StopOutcome, StoppedExecution};
use crate::error::FanoutError;
use crate::event::{Asked, StopType};
use crate::ports::World;

const STOP: &str = "ssm:StopAutomationExecution";
const MARK: &str = "ssm:AddTagsToResource";
/// On an execution that somebody stopped, where its status does not say so: nothing more of its request is started.
pub(super) const STOPPED_TAG_KEY: &str = "tag-hub:stopped";
/// What the service says of an execution that has ended.
const HAS_ENDED: &str = "InvalidAutomationStatusUpdateException";

impl<W: World> Run<'_, W> {
    pub(super) async fn stop(&mut self, asked: &[Asked], stop_type: StopType) -> Result<StopAnswer, FanoutError> {
        let mut answer = StopAnswer {
            action: "Stop",
            stop_type: stop_type.into_str(),
            complete: true,
            executions: Vec::new(),
            failed: Vec::new(),
        };
        for Asked { id, .. } in asked {
            match self.stop_one(id, stop_type).await {
                Ok(outcome) => {
                    tracing::info!(execution = id, stop_type = stop_type.into_str(), ?outcome, "execution stopped");
                    answer.executions.push(StoppedExecution { automation_execution_id: id.clone(), outcome });
                    // Of one that is to complete what runs, and of one that had ended by itself, no status says so.
                    let is_untold = stop_type == StopType::Complete || outcome == StopOutcome::AlreadyEnded;
                    let marked = if is_untold { self.mark(id).await } else { Ok(()) };
                    if let Err(AwsError { code, message, .. }) = marked {
                        let message = format!(
                            "it could not be marked as stopped, so that what is not started yet of its request may still \
                             start; stop it again: {message}"
                        );
                        let automation_execution_id = Some(id.clone());
                        answer.failed.push(Failure { automation_execution_id, code, message, ..Failure::default() });
                    }
                }
                Err(AwsError { code, message, .. }) => {
                    tracing::warn!(execution = id, stop_type = stop_type.into_str(), code, "execution not stopped");
                    let automation_execution_id = Some(id.clone());
                    answer.failed.push(Failure { automation_execution_id, code, message, ..Failure::default() });
                }
            }
        }
        answer.complete = answer.failed.is_empty();
        tracing::info!(
            complete = answer.complete,
            stops_requested = answer.executions.len(),
            stops_failed = answer.failed.len(),
            "stops processed"
        );
        if !answer.executions.is_empty() {
            return Ok(answer);
        }
        if answer.failed.iter().all(|failure| failure.code == NOT_FOUND) {
            return Err(FanoutError::InvalidRequest(asked.iter().map(unknown_execution).collect()));
        }
        Err(FanoutError::NothingStopped(Box::new(answer)))
    }

    async fn mark(&mut self, id: &str) -> Result<(), AwsError> {
        if !self.tag_reads.turn(self.begin_until).await {
            return Err(too_late(MARK, "the function's time is up"));
        }
        self.in_time(MARK, self.world.mark(id, STOPPED_TAG_KEY)).await
    }

    async fn stop_one(&mut self, id: &str, stop_type: StopType) -> Result<StopOutcome, AwsError> {
        if !self.stops.turn(self.begin_until).await {
            return Err(too_late(STOP, "not stopped, because the function's time is up"));
        }
        match self.in_time(STOP, self.world.stop(id, stop_type)).await {
            Ok(()) => Ok(StopOutcome::StopRequested),
            Err(error) if error.code == HAS_ENDED => Ok(StopOutcome::AlreadyEnded),
            Err(error) => Err(error),
        }
    }
}
