//! `Signal`.

use super::read::unknown_execution;
use super::{NOT_FOUND, Run};
use crate::answer::SignalAnswer;
use crate::error::FanoutError;
use crate::event::Signal;
use crate::ports::World;

const SIGNAL: &str = "ssm:SendAutomationSignal";

impl<W: World> Run<'_, W> {
    pub(super) async fn signal(&mut self, signal: &Signal) -> Result<SignalAnswer, FanoutError> {
        let id = &signal.execution.id;
        let signal_type = signal.signal_type.into_str();
        match self.in_time(SIGNAL, self.world.signal(signal)).await {
            Ok(()) => {
                tracing::info!(execution = id, signal_type, "signal sent");
                Ok(SignalAnswer { action: "Signal", automation_execution_id: id.clone(), signal_type })
            }
            Err(error) if error.code == NOT_FOUND => {
                Err(FanoutError::InvalidRequest(vec![unknown_execution(&signal.execution)]))
            }
            Err(error) => Err(FanoutError::NotSignalled(error)),
        }
    }
}
