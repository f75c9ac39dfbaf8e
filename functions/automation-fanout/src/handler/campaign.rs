//! `Campaign`: what a campaign would do, or why it is refused, before anything is done.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Run;
use super::start::refuse;
use crate::answer::{CampaignAnswer, WavePlan};
use crate::error::FanoutError;
use crate::event::Order;
use crate::plan::campaign::{Campaign, PlannedWave, campaign_digest, waves};
use crate::plan::execution::Listed;
use crate::plan::problem::{Path, Problem};
use crate::plan::request::TargetLocation;
use crate::plan::{StartTag, WaveMark, advice, split};
use crate::ports::{CalendarState, World};

const CALENDARS: &str = "ssm:GetCalendarState";
pub(super) const SUCH_AS_MAX: usize = 5;

impl<W: World> Run<'_, W> {
    /// Refuses what could not be carried out, before anything is.
    pub(super) async fn campaign(&mut self, campaign: &Campaign) -> Result<CampaignAnswer, FanoutError> {
        let (planned, mut notes) = waves(campaign).map_err(FanoutError::InvalidRequest)?;
        notes.extend(advice::without_targets(&campaign.request).iter().map(|note| format!("Request.{note}")));
        self.calendars(campaign).await?;
        // Regions, targets and the runbook are those of a start.
        let facts = self.facts(&campaign.request, false).await;
        refuse(&campaign.request, campaign.all_targets, &facts).map_err(|error| within(error, "Request"))?;
        let begun = self.begun(campaign, &planned).await?;
        let skipped = first_wave(campaign, &planned);
        // A wave has less than the whole, and may lack what it needs.
        for index in skipped..planned.len() {
            let field = format!("Waves[{index}].Request");
            let part = order(campaign, &planned, index, &begun).map_err(|error| within(error, &field))?;
            self.prepare(part, false).await.map_err(|error| within(error, &field))?;
        }
        let resumptions = if campaign.resume && !begun.is_empty() {
            self.resumptions().await.map_err(FanoutError::NotListed)?
        } else {
            super::history::Resumptions::default()
        };
        let left = &planned[skipped..];
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
            preflight: campaign.preflight && campaign.from.is_none(),
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
            return Ok(CalendarState { is_open: true, changes_at: None, changes_in: None });
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

/// The wave that a run of a campaign begins with.
fn first_wave(campaign: &Campaign, planned: &[PlannedWave]) -> usize {
    planned.iter().position(|wave| campaign.from.as_ref() == Some(&wave.name)).unwrap_or_default()
}

/// A wave as it is started, where all this was begun of the campaign. A run that knows of no other wave takes the
/// campaign's name with its first start.
pub(super) fn order(
    campaign: &Campaign,
    planned: &[PlannedWave],
    index: usize,
    begun: &[(Listed, StartTag)],
) -> Result<Order, FanoutError> {
    let PlannedWave { request, key, .. } = planned[index].clone();
    let is_first = index == first_wave(campaign, planned) && begun.iter().all(|(_, tag)| tag.is_of_key(&key));
    Ok(Order {
        split: split(&request).map_err(FanoutError::InvalidRequest)?,
        // What is said of the whole need not hold of a part.
        all_targets: campaign.all_targets && !advice::is_targeted(&request),
        request,
        matching: Vec::new(),
        idempotency_key: Some(key),
        wave: Some(WaveMark { campaign: campaign.name.clone(), digest: campaign_digest(planned), is_first }),
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
