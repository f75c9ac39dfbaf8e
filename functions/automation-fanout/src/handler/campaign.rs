//! `Campaign`: what a campaign would do, or why it is refused, before anything is done.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Run;
use crate::answer::{CampaignAnswer, WavePlan};
use crate::error::FanoutError;
use crate::event::Order;
use crate::plan::campaign::{Campaign, PlannedWave, campaign_digest, waves};
use crate::plan::execution::Listed;
use crate::plan::problem::{Path, Problem};
use crate::plan::request::TargetLocation;
use crate::plan::{StartTag, WaveMark, split};
use crate::ports::{CalendarState, World};

const CALENDARS: &str = "ssm:GetCalendarState";
pub(super) const SUCH_AS_MAX: usize = 5;

impl<W: World> Run<'_, W> {
    /// Refuses what could not be carried out, before anything is.
    pub(super) async fn campaign(&mut self, campaign: &Campaign) -> Result<CampaignAnswer, FanoutError> {
        let (planned, notes) = waves(campaign).map_err(FanoutError::InvalidRequest)?;
        self.calendars(campaign).await?;
        let order = whole(campaign)?;
        // Regions, targets and the runbook are those of a start.
        self.prepare(order, false).await.map_err(|error| within(error, "Request"))?;
        let begun = self.begun(campaign, &planned).await?;
        let resumptions = if campaign.resume && !begun.is_empty() {
            self.resumptions().await.map_err(FanoutError::NotListed)?
        } else {
            super::history::Resumptions::default()
        };
        let skipped = campaign.from.as_ref().and_then(|from| planned.iter().position(|wave| wave.name == *from));
        let left = &planned[skipped.unwrap_or_default()..];
        let next = left.iter().skip(1).map(|wave| Some(wave.name.clone())).chain([None]);
        let plan = |(wave, next): (&PlannedWave, Option<String>)| {
            let accounts: BTreeSet<&String> =
                wave.request.target_locations.iter().flat_map(TargetLocation::reached).collect();
            let earlier = begun.iter().filter(|(_, tag)| campaign.resume && tag.is_of_key(&wave.key));
            let earlier: Vec<String> = earlier.map(|(listed, _)| listed.id.clone()).collect();
            WavePlan {
                name: wave.name.clone(),
                accounts: accounts.len(),
                account_region_pairs: wave.pairs(),
                such_as: accounts.into_iter().take(SUCH_AS_MAX).cloned().collect(),
                soak_seconds: if next.is_some() { campaign.gate.soak.as_secs() } else { 0 },
                approval: next.is_some() && campaign.gate.approval,
                approval_seconds: campaign.gate.approval_timeout.as_secs(),
                next,
                earlier_executions: resumptions.family(&earlier),
            }
        };
        Ok(CampaignAnswer {
            action: "Campaign",
            name: campaign.name.clone(),
            // What goes on was tried when it began.
            preflight: campaign.preflight && skipped.is_none(),
            waves: left.iter().zip(next).map(plan).collect(),
            notes,
        })
    }

    /// What was started for a campaign, however long ago. Another campaign of its name is refused.
    pub(super) async fn begun(
        &mut self,
        campaign: &Campaign,
        planned: &[PlannedWave],
    ) -> Result<Vec<(Listed, StartTag)>, FanoutError> {
        let is_meant =
            |tag: &StartTag| tag.is_of_campaign(&campaign.name) || planned.iter().any(|wave| tag.is_of_key(&wave.key));
        let begun = self.started(is_meant).await.map_err(FanoutError::NotListed)?;
        let digest = campaign_digest(planned);
        if begun.iter().any(|(_, tag)| tag.digest != digest) {
            let text = format!(
                "expected a name that no other campaign has, got {:?}, under which another Request or other Waves were \
                 started before; give the same as then, or another Name",
                campaign.name
            );
            return Err(FanoutError::InvalidRequest(vec![Problem::new(Path::Root.field("Name"), text)]));
        }
        Ok(begun)
    }

    /// Whether the calendars of a campaign are open.
    pub(super) async fn calendars(&mut self, campaign: &Campaign) -> Result<CalendarState, FanoutError> {
        let names = &campaign.gate.calendars;
        if names.is_empty() {
            return Ok(CalendarState { is_open: true, changes_at: None });
        }
        let state =
            self.in_time(CALENDARS, self.world.calendars(names)).await.map_err(FanoutError::CalendarsNotRead)?;
        state.ok_or_else(|| {
            let text = format!(
                "expected Change Calendars of this account and Region, got {}, of which one does not exist",
                names.join(", ")
            );
            let gate = Path::Root.field("Gate");
            FanoutError::InvalidRequest(vec![Problem::new(gate.field("Calendars"), text)])
        })
    }
}

/// All of a campaign's request, as if it were to be started at once.
fn whole(campaign: &Campaign) -> Result<Order, FanoutError> {
    Ok(Order {
        split: split(&campaign.request).map_err(FanoutError::InvalidRequest)?,
        request: campaign.request.clone(),
        matching: Vec::new(),
        all_targets: campaign.all_targets,
        idempotency_key: None,
        wave: None,
        wait: Duration::ZERO,
    })
}

/// A wave as it is started.
pub(super) fn order(campaign: &Campaign, planned: &[PlannedWave], index: usize) -> Result<Order, FanoutError> {
    let PlannedWave { request, key, .. } = planned[index].clone();
    Ok(Order {
        split: split(&request).map_err(FanoutError::InvalidRequest)?,
        request,
        matching: Vec::new(),
        all_targets: campaign.all_targets,
        idempotency_key: Some(key),
        wave: Some(WaveMark {
            campaign: campaign.name.clone(),
            digest: campaign_digest(planned),
            is_first: index == 0,
        }),
        wait: Duration::ZERO,
    })
}

/// The paths of a refusal, one level deeper.
pub(super) fn within(error: FanoutError, field: &str) -> FanoutError {
    match error {
        FanoutError::InvalidRequest(problems) => FanoutError::InvalidRequest(
            problems.into_iter().map(|one| Problem { path: format!("{field}.{}", one.path), ..one }).collect(),
        ),
        error => error,
    }
}
