//! How fast to call an operation whose rate the service does not publish. Pure: the time is passed in.
//!
//! The service is taken to keep a token bucket, as AWS does where it describes its throttling, and other writers may
//! take tokens from the same bucket. A limiter is in one of five phases:
//!
//! - **Climbing**: nothing is known; the rate doubles until calls are refused.
//! - **Sharing**, for some seconds after each large change: the rate rises by the same amount a second for every writer
//!   and falls by a part of itself, so writers side by side come closer to each other.
//! - **Steady**: small steps up with each call and down with each refused call balance at about one refused call in a
//!   hundred, whatever the rate is.
//! - **Trial**: refusals went on after the rate was cut. The rate is halved to see whether they depend on it. If they
//!   do not, the service refuses by chance: the limiter returns to the highest rate of the last minutes, accepts that
//!   share, and looks again after five seconds and then every minute at a quarter of the rate, because writers could
//!   otherwise take each other's refusals for chance forever.
//! - **Down**: nothing is answered; few calls look for the end of the outage.
//!
//! Whether too many calls are refused is decided by a cumulative sum of likelihood ratios over windows in time: within
//! half a second for a heavy overload, within some seconds for a slight one. The tests of this module have figures.

mod evidence;

use std::time::Duration;

use tokio::time::Instant;

use evidence::Evidence;

/// Calls a second below which the rate never falls: at this rate a refused call costs nobody anything.
const SLOWEST: f64 = 1.0;

/// Calls a second at which a limiter begins that knows nothing, and the time in which that rate doubles. A service
/// without a limit gets a thousand calls in about four seconds.
const FIRST_RATE: f64 = 20.0;
const DOUBLING: f64 = 0.72;
/// The climb ends when its calls are rather refused at the second share than at the first.
const CLIMBING_SHARES: (f64, f64) = (0.1, 0.4);
const CLIMBING_CONFIDENCE: f64 = 2.5;
/// Before the first answer, so many refused calls are needed to end the climb.
const REFUSED_BEFORE_ANSWERED: f64 = 5.0;
/// A climb runs far past the rate on what the bucket had saved. So much of it is kept, but not less than the rate of a
/// writer that finds others at work.
const KEPT_AFTER_CLIMB: f64 = 0.25;
const LEAST_AFTER_CLIMB: f64 = 7.0;
/// How much is kept where the climb had a goal.
const KEPT_SHORT_OF_GOAL: f64 = 0.6;
/// A climb to a known rate ends at this share of it.
const NEAR_GOAL: f64 = 0.9;
/// So long a new writer ignores refusals, alone or beside others, who need time to make room.
const GRACE: Duration = Duration::from_millis(500);
const GRACE_BESIDE_OTHERS: Duration = Duration::from_millis(1500);

/// How long the rate is shared after a large change.
const SHARING: Duration = Duration::from_secs(15);
/// Calls a second that are added each second, and what a writer adds that found others at work.
const SHARING_STEP: f64 = 0.45;
const JOINING_STEP: f64 = 0.7;
/// Until the first refused call the rate grows at least by this part a second.
const UNSETTLED_GROWTH: f64 = 0.06;
/// What is kept after refused calls, and the part of the first rate that stays whatever is refused.
const SHARING_KEPT: f64 = 0.75;
const SHARING_FLOOR: f64 = 0.7;
/// One cut in this time: refusals come in groups.
const BETWEEN_CUTS: Duration = Duration::from_millis(700);
/// A refused call counts here if another one was refused among so many calls before it.
const PAIRED_WITHIN: f64 = 50.0;
const SHARING_SHARES: (f64, f64) = (0.02, 0.08);

/// The share of refused calls at which small steps balance, and the share that is too much.
const STEADY_SHARES: (f64, f64) = (0.011, 0.025);
/// How much of the rate one refused call costs at 40 calls a second; less at higher rates, more at lower ones.
const STEP_DOWN: f64 = 0.02;
const LARGEST_STEP_DOWN: f64 = 0.1;
/// How much the relative growth a second rises with the square of the seconds without a refused call.
const ACCELERATION: f64 = 1.8e-5;

/// So much evidence that too many calls are refused cuts the rate.
const CONFIDENCE: f64 = 5.5;
/// How much of the answered rate is asked for after a cut.
const KEPT_OF_ANSWERED: f64 = 0.97;
const LEAST_KEPT: f64 = 0.25;
/// A share of refused calls after which the rate is shared anew.
const LARGE_SHARE: f64 = 0.08;
/// A share of refused calls that is an outage.
const OUTAGE_SHARE: f64 = 0.9;
/// A cut is remembered so long and for so many calls; if refusals go on within, there is a trial.
const REMEMBERED: Duration = Duration::from_secs(30);
const REMEMBERED_REFUSALS: f64 = 30.0;

/// The part of the answered rate that a trial asks for. Half is less than what the service has left even where the
/// others leave none.
const TRIAL_RATE: f64 = 0.5;
/// The parts of the former share that a trial tells apart: it fell, or it did not.
const TRIAL_SHARES: (f64, f64) = (0.2, 0.7);
const TRIAL_CONFIDENCE: f64 = 4.0;
/// Others need time to react, and a trial that tells nothing has to end.
const TRIAL_AT_LEAST: Duration = Duration::from_millis(1500);
const TRIAL_AT_MOST: Duration = Duration::from_mins(1);
/// A share so large has to stand the trial at half the rate again: with four writers half of one is not enough.
const TWO_TRIALS_SHARE: f64 = 0.12;
/// How much of the answered rate is asked for where slowing down helped.
const KEPT_AFTER_TRIAL: f64 = 0.85;
/// A chance is tried again after this time, and later after twice the time, up to the second one.
const RETRIAL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));
/// A retrial is slower still, and lasts longer: writers that all take each other's refusals for chance have to notice.
const RETRIAL_RATE: f64 = 0.25;
const RETRIAL_AT_LEAST: Duration = Duration::from_secs(3);
/// How much a retrial corrects the chance, downwards and upwards.
const RETRIAL_WEIGHTS: (f64, f64) = (0.6, 0.3);
/// So much evidence that the chance fell to a third; and a chance that is too small to tell from none.
const FALLEN_CONFIDENCE: f64 = 14.0;
const LEAST_CHANCE: f64 = 0.03;

/// Where calls are slow, not every one of them has to wait for its slot.
const HELD_BACK: Duration = Duration::from_millis(500);
/// A pause is made up for as far as that: the service saved tokens meanwhile.
const CATCH_UP: Duration = Duration::from_millis(500);
const CATCH_UP_RESUMING: Duration = Duration::from_millis(100);
/// A writer that paused for longer was not the last one to hold a slot.
const AT_WORK: Duration = Duration::from_secs(2);
/// The highest rate of late is forgotten in this many seconds. So much of it is taken up again after a chance is found,
/// and after it is gone.
const PEAK_SECONDS: f64 = 250.0;
const KEPT_OF_PEAK: f64 = 0.95;

/// The rate of one operation.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    /// Calls a second.
    rate: f64,
    phase: Phase,
    next_slot: Instant,
    /// When a call last had to wait for its slot. Without that the rate is not what limits the calls.
    held_back_at: Option<Instant>,
    grown_at: Instant,
    /// Calls sent until then say nothing about the rate as it is now.
    counts_from: Instant,
    quiet_since: Instant,
    calls_since_refused: f64,
    has_answered: bool,
    /// That too many calls are refused.
    evidence: Evidence,
    /// The highest rate since the evidence began.
    suspected_rate: f64,
    cut: Option<Cut>,
    chance: Chance,
    /// The last rate that was steady.
    found: Option<f64>,
    peak: f64,
    peak_at: Instant,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Climbing { goal: Option<f64> },
    Down { goal: Option<f64> },
    Sharing { until: Instant, floor: f64, is_settled: bool, is_joining: bool, cut_at: Instant },
    Steady,
    Trial(Trial),
}

#[derive(Debug, Clone, Copy)]
struct Trial {
    since: Instant,
    at_least: Duration,
    is_last: bool,
    /// The share of refused calls that led to it.
    share: f64,
    evidence: Evidence,
    /// The rate to go back to if slowing down does not help, and the rate to go on with if it does.
    before: f64,
    helped: f64,
}

impl Trial {
    fn new(now: Instant, share: f64, before: f64, answered_rate: f64) -> Self {
        Self {
            since: now,
            at_least: TRIAL_AT_LEAST,
            is_last: share <= TWO_TRIALS_SHARE,
            share,
            evidence: Evidence::default(),
            before,
            helped: answered_rate * KEPT_AFTER_TRIAL,
        }
    }
}

/// A cut of the rate.
#[derive(Debug, Clone, Copy)]
struct Cut {
    at: Instant,
    rate: f64,
    share: f64,
    calls_left: f64,
}

/// The share of calls that the service refuses whatever the rate is.
#[derive(Debug, Clone, Copy)]
struct Chance {
    share: f64,
    since: Instant,
    retrial_in: Duration,
    /// That it fell.
    fallen: Evidence,
}

impl Chance {
    fn plus(self, share: f64) -> f64 {
        self.share + share * (1.0 - self.share)
    }
}

impl RateLimiter {
    /// A limiter that knows nothing of the service yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self::with(now, FIRST_RATE, Phase::Climbing { goal: None })
    }

    /// A limiter that starts from a rate that another one [found](Self::rate).
    pub(crate) fn resuming(now: Instant, rate: f64) -> Self {
        let rate = rate.max(SLOWEST);
        let next_slot = now.checked_sub(CATCH_UP_RESUMING).unwrap_or(now);
        Self { next_slot, found: Some(rate), ..Self::with(now, rate, sharing(now, rate, true)) }
    }

    fn with(now: Instant, rate: f64, phase: Phase) -> Self {
        Self {
            rate,
            phase,
            next_slot: now,
            held_back_at: None,
            grown_at: now,
            counts_from: now,
            quiet_since: now,
            calls_since_refused: f64::INFINITY,
            has_answered: false,
            evidence: Evidence::default(),
            suspected_rate: rate,
            cut: None,
            chance: Chance { share: 0.0, since: now, retrial_in: RETRIAL.0, fallen: Evidence::default() },
            found: None,
            peak: 0.0,
            peak_at: now,
        }
    }

    /// The rate to hand to the next writer, in calls a second; none if nothing was learned.
    pub(crate) fn rate(&self) -> Option<f64> {
        match &self.phase {
            Phase::Climbing { goal } | Phase::Down { goal } => {
                goal.map(|_| self.rate).filter(|rate| *rate > FIRST_RATE)
            }
            Phase::Sharing { .. } | Phase::Steady => Some(self.rate),
            Phase::Trial(trial) => Some(trial.helped),
        }
    }

    /// Starts from a rate that the last writer found, unless this limiter was at work just now and knows better.
    pub(crate) fn start_from(&mut self, now: Instant, rate: f64) {
        if self.rate().is_none() || now.saturating_duration_since(self.grown_at) > AT_WORK {
            *self = Self::resuming(now, rate);
        }
    }

    /// When the next call may go. Each slot is given to one call.
    pub(crate) fn slot(&mut self, now: Instant) -> Instant {
        if self.next_slot > now {
            self.held_back_at = Some(now);
        }
        self.grow(now);
        let slot = self.next_slot.max(now.checked_sub(CATCH_UP).unwrap_or(now));
        self.next_slot = slot + Duration::from_secs_f64(1.0 / self.rate);
        slot.max(now)
    }

    /// The service answered a call, sent at `sent`, with whatever but throttling.
    pub(crate) fn answered(&mut self, now: Instant, sent: Instant) {
        self.has_answered = true;
        self.count(now, sent, false);
    }

    /// The service refused a call, sent at `sent`, for its rate.
    pub(crate) fn throttled(&mut self, now: Instant, sent: Instant) {
        self.count(now, sent, true);
    }

    fn grow(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.grown_at).as_secs_f64().min(2.0);
        self.grown_at = now;
        if !self.is_held_back(now) {
            return;
        }
        match self.phase {
            Phase::Sharing { until, is_settled, is_joining, .. } if now < until => {
                let unsettled = if is_settled { 0.0 } else { UNSETTLED_GROWTH * self.rate };
                let step = if is_joining { JOINING_STEP } else { SHARING_STEP };
                self.rate += step.max(unsettled) * seconds;
            }
            Phase::Sharing { .. } | Phase::Steady => {
                self.phase = if matches!(self.phase, Phase::Steady) { self.phase } else { Phase::Steady };
                let quiet = now.saturating_duration_since(self.quiet_since).as_secs_f64();
                let growth = STEADY_SHARES.0 * self.step_down() * self.rate + ACCELERATION * quiet * quiet;
                self.rate *= (growth * seconds).exp();
            }
            Phase::Climbing { .. } | Phase::Down { .. } | Phase::Trial(_) => return,
        }
        let chance = self.chance;
        if chance.share > 0.0 && now.saturating_duration_since(chance.since) > chance.retrial_in {
            let answered_rate = self.rate * (1.0 - chance.share);
            let trial = Trial::new(now, chance.share, self.rate, answered_rate);
            self.start_trial(
                answered_rate * RETRIAL_RATE,
                Trial { at_least: RETRIAL_AT_LEAST, is_last: true, ..trial },
            );
        }
    }

    fn is_held_back(&self, now: Instant) -> bool {
        self.held_back_at.is_some_and(|at| now.saturating_duration_since(at) < HELD_BACK)
    }

    fn step_down(&self) -> f64 {
        (STEP_DOWN * (40.0 / self.rate).sqrt()).min(LARGEST_STEP_DOWN)
    }

    fn count(&mut self, now: Instant, sent: Instant, is_refused: bool) {
        if sent < self.counts_from {
            return;
        }
        self.watch_chance(now, is_refused);
        if let Some(cut) = &mut self.cut {
            cut.calls_left -= 1.0;
            if cut.calls_left < 0.0 && now.saturating_duration_since(cut.at) > REMEMBERED {
                self.cut = None;
            }
        }
        match self.phase {
            Phase::Climbing { goal } => self.climb(now, is_refused, goal),
            Phase::Down { .. } if is_refused => self.rate = (self.rate / 2.0).max(SLOWEST),
            Phase::Down { goal } => {
                self.set(now, self.rate, Phase::Climbing { goal });
                self.next_slot = now;
            }
            Phase::Sharing { until, .. } if now < until => self.share(now, sent, is_refused),
            Phase::Sharing { .. } | Phase::Steady => {
                self.phase = Phase::Steady;
                self.keep(now, is_refused);
            }
            Phase::Trial(trial) => self.try_out(now, is_refused, trial),
        }
    }

    fn climb(&mut self, now: Instant, is_refused: bool, goal: Option<f64>) {
        if !is_refused && self.is_held_back(now) {
            // A rate that doubles in some time rises by so much with each call.
            self.rate += (std::f64::consts::LN_2 / DOUBLING).min(self.rate);
            if let Some(goal) = goal
                && self.rate >= goal * NEAR_GOAL
            {
                self.rate = goal * NEAR_GOAL;
                self.phase = sharing(now, self.rate, false);
                self.forget_evidence();
                return;
            }
        }
        let is_told = self.has_answered || self.evidence.refused() + 1.0 >= REFUSED_BEFORE_ANSWERED;
        if !(self.is_evident(is_refused, CLIMBING_SHARES, 0.0, CLIMBING_CONFIDENCE) && is_told) {
            return;
        }
        if !self.has_answered || (goal.is_some() && self.evidence.share() > OUTAGE_SHARE) {
            return self.set(now, self.rate * LEAST_KEPT, Phase::Down { goal });
        }
        let kept = match goal {
            Some(_) => KEPT_SHORT_OF_GOAL,
            None => KEPT_AFTER_CLIMB.max((LEAST_AFTER_CLIMB / self.rate).min(1.0)),
        };
        let rate = self.rate * kept;
        let is_joining = goal.is_none() && kept > KEPT_AFTER_CLIMB;
        self.cut = None;
        self.set(now, rate, sharing(now, rate, false));
        if let Phase::Sharing { is_joining: joins, .. } = &mut self.phase {
            *joins = is_joining;
        }
        self.counts_from = now + if is_joining { GRACE_BESIDE_OTHERS } else { GRACE };
    }

    fn share(&mut self, now: Instant, sent: Instant, is_refused: bool) {
        self.note_peak(now);
        if let Phase::Sharing { floor, is_settled, cut_at, .. } = &mut self.phase
            && is_refused
        {
            *is_settled = true;
            let is_due = sent > *cut_at && now.saturating_duration_since(*cut_at) >= BETWEEN_CUTS;
            let is_more_than_chance = self.chance.share == 0.0 || self.evidence.weight() > CONFIDENCE / 3.0;
            if self.calls_since_refused < PAIRED_WITHIN && is_due && is_more_than_chance {
                self.rate = (self.rate * SHARING_KEPT).max(floor.min(self.rate)).max(SLOWEST);
                *cut_at = now;
            }
        }
        self.weigh(now, is_refused, SHARING_SHARES);
    }

    fn keep(&mut self, now: Instant, is_refused: bool) {
        if self.is_held_back(now) {
            self.found = Some(self.rate);
        }
        self.note_peak(now);
        if is_refused {
            let balanced = STEADY_SHARES.0;
            self.rate *= 1.0 - self.step_down() * balanced / (balanced + self.chance.share);
            self.rate = self.rate.max(SLOWEST);
        }
        self.weigh(now, is_refused, STEADY_SHARES);
    }

    fn note_peak(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.peak_at).as_secs_f64();
        self.peak = self.rate.max(self.peak * (-seconds / PEAK_SECONDS).exp());
        self.peak_at = now;
    }

    fn weigh(&mut self, now: Instant, is_refused: bool, shares: (f64, f64)) {
        self.calls_since_refused = if is_refused { 0.0 } else { self.calls_since_refused + 1.0 };
        let is_evident = self.is_evident(is_refused, shares, self.chance.share / 4.0, CONFIDENCE);
        if is_refused && (self.chance.share == 0.0 || self.evidence.weight() > CONFIDENCE / 2.0) {
            self.quiet_since = now;
        }
        if is_evident {
            self.cut(now);
        }
    }

    /// Too many calls are refused.
    fn cut(&mut self, now: Instant) {
        let share = self.evidence.share();
        if share > OUTAGE_SHARE {
            return self.set(now, self.rate * LEAST_KEPT, Phase::Down { goal: self.found });
        }
        let answered_rate = self.suspected_rate * (1.0 - share);
        if let Some(Cut { rate, share: before, .. }) = self.cut {
            // The rate before the first cut answered so much, and half of that is clearly less.
            let slower = rate * (1.0 - before) * TRIAL_RATE;
            let trial = Trial::new(now, share.min(before), rate, answered_rate);
            return self.start_trial(slower, Trial { helped: trial.helped.max(slower), ..trial });
        }
        let by_rate = ((share - self.chance.share) / (1.0 - self.chance.share)).max(0.0);
        let calls_left = REMEMBERED_REFUSALS / (share - STEADY_SHARES.0).max(0.01);
        self.cut = Some(Cut { at: now, rate: self.suspected_rate, share, calls_left });
        let kept = ((1.0 - by_rate) * KEPT_OF_ANSWERED).max(LEAST_KEPT);
        let rate = self.rate.min(self.suspected_rate * kept);
        let phase = if by_rate > LARGE_SHARE { sharing(now, rate, true) } else { self.phase };
        self.set(now, rate, phase);
    }

    /// Calls at a clearly lower rate.
    fn start_trial(&mut self, rate: f64, trial: Trial) {
        self.cut = None;
        let is_last = trial.is_last || self.chance.share > 0.0;
        self.set(trial.since, rate, Phase::Trial(Trial { is_last, ..trial }));
    }

    fn try_out(&mut self, now: Instant, is_refused: bool, mut trial: Trial) {
        let Trial { since, at_least, is_last, share, before, helped, .. } = trial;
        trial.evidence.add_signed(is_refused, share * TRIAL_SHARES.1, share * TRIAL_SHARES.0);
        let (weight, found) = (trial.evidence.weight(), trial.evidence.share());
        let lasted = now.saturating_duration_since(since);
        self.phase = Phase::Trial(trial);
        if weight > TRIAL_CONFIDENCE && lasted > at_least {
            if !is_last {
                let again = Trial { since: now, is_last: true, evidence: Evidence::default(), ..trial };
                return self.set(now, self.rate * TRIAL_RATE, Phase::Trial(again));
            }
            let known = self.chance.share;
            if known > 0.0 {
                let weight = if found < known { RETRIAL_WEIGHTS.0 } else { RETRIAL_WEIGHTS.1 };
                self.set_chance(now, known + weight * (found - known));
                return self.set(now, before, Phase::Steady);
            }
            self.set_chance(now, found.max(share));
            match self.found {
                Some(_) => self.set(now, before.max(self.peak * KEPT_OF_PEAK), Phase::Steady),
                None => self.set(now, before, Phase::Climbing { goal: None }),
            }
        } else if weight < -TRIAL_CONFIDENCE || lasted > TRIAL_AT_MOST {
            // Where there was a chance it is gone, and the rate before was fine.
            let rate = if self.chance.share > 0.0 { before } else { helped };
            self.set_chance(now, 0.0);
            self.set(now, rate, sharing(now, rate, true));
        }
    }

    fn set_chance(&mut self, now: Instant, share: f64) {
        let Chance { share: known, retrial_in, .. } = self.chance;
        let retrial_in = if known > 0.0 { (retrial_in * 2).min(RETRIAL.1) } else { RETRIAL.0 };
        self.chance = Chance { share, since: now, retrial_in, fallen: Evidence::default() };
    }

    fn watch_chance(&mut self, now: Instant, is_refused: bool) {
        let Chance { share, fallen, .. } = &mut self.chance;
        if *share == 0.0 {
            return;
        }
        fallen.add(is_refused, *share / 3.0, *share);
        if fallen.weight() > FALLEN_CONFIDENCE {
            *share = Some(fallen.share()).filter(|share| *share >= LEAST_CHANCE).unwrap_or(0.0);
            *fallen = Evidence::default();
            // The refusals ended although the rate was not cut, so they did not come from the rate.
            let rate = self.peak * KEPT_OF_PEAK;
            if self.chance.share == 0.0 && self.rate < rate {
                self.set(now, rate, sharing(now, rate, true));
            }
        }
    }

    /// Counts a call, and tells whether more are refused than is fine. `margin` widens what is too much.
    fn is_evident(&mut self, is_refused: bool, (fine, bad): (f64, f64), margin: f64, confidence: f64) -> bool {
        self.evidence.add(is_refused, self.chance.plus(bad + margin), self.chance.plus(fine));
        if self.evidence.is_none() {
            self.suspected_rate = self.rate;
        }
        self.suspected_rate = self.suspected_rate.max(self.rate);
        self.evidence.weight() >= confidence
    }

    fn forget_evidence(&mut self) {
        self.evidence = Evidence::default();
        self.suspected_rate = self.rate;
    }

    fn set(&mut self, now: Instant, rate: f64, phase: Phase) {
        self.rate = rate.max(SLOWEST);
        self.phase = phase;
        self.counts_from = now;
        self.quiet_since = now;
        self.forget_evidence();
        // There is nothing left to catch up on.
        self.next_slot = self.next_slot.max(now);
    }
}

fn sharing(now: Instant, rate: f64, is_settled: bool) -> Phase {
    Phase::Sharing { until: now + SHARING, floor: SHARING_FLOOR * rate, is_settled, is_joining: false, cut_at: now }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
