//! Faults: what a test makes go wrong, per operation.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::call::Call;

/// What happens when a fault fires.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// The service's own throttling error.
    Throttle,
    /// This error, in the shape of the service's protocol.
    Error { status: u16, code: String, message: String },
    /// The call is performed, but its answer is lost: the caller gets a server error in its place.
    LostAnswer,
    /// The call waits, then goes on.
    Latency(Duration),
    /// The call goes on while the service keeps up with this many calls a second, and is throttled beyond.
    Rate { calls_per_second: f64, burst: f64 },
    /// The local processes of a function of this local AWS are killed, before the call or after it.
    Kill { function: String, moment: Moment },
}

/// When a process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The call is not performed: the caller has to be the process that dies.
    BeforeTheCall,
    /// The call has been performed and its answer is on its way to a caller that is gone.
    AfterTheCall,
}

/// A fault: an operation, an effect, and which calls it meets.
#[derive(Debug, Clone)]
pub struct Fault {
    operation: String,
    effect: Effect,
    account: Option<String>,
    resource: Option<String>,
    skip: u64,
    times: Option<u64>,
    probability: f64,
    seed: u64,
}

impl Fault {
    /// Every call of `operation`, named `service:Operation` as in `ssm:AddTagsToResource`,
    /// `ec2:DescribeInstances` or `lambda:Invoke`.
    pub fn new(operation: &str, effect: Effect) -> Self {
        Self {
            operation: operation.to_owned(),
            effect,
            account: None,
            resource: None,
            skip: 0,
            times: None,
            probability: 1.0,
            seed: 1,
        }
    }

    pub fn throttle(operation: &str) -> Self {
        Self::new(operation, Effect::Throttle)
    }

    pub fn error(operation: &str, status: u16, code: &str, message: &str) -> Self {
        Self::new(operation, Effect::Error { status, code: code.to_owned(), message: message.to_owned() })
    }

    pub fn lost_answer(operation: &str) -> Self {
        Self::new(operation, Effect::LostAnswer)
    }

    pub fn latency(operation: &str, wait: Duration) -> Self {
        Self::new(operation, Effect::Latency(wait))
    }

    /// A token bucket that starts full with `burst` calls.
    pub fn rate(operation: &str, calls_per_second: f64, burst: f64) -> Self {
        Self::new(operation, Effect::Rate { calls_per_second, burst })
    }

    pub fn kill(operation: &str, function: &str, moment: Moment) -> Self {
        Self::new(operation, Effect::Kill { function: function.to_owned(), moment })
    }

    /// Only calls of this account.
    #[must_use]
    pub fn account(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self
    }

    /// Only calls that name this resource id in their path or body, such as an `mi-` id.
    #[must_use]
    pub fn resource(mut self, id: &str) -> Self {
        self.resource = Some(id.to_owned());
        self
    }

    /// Leaves the first `calls` matching calls alone.
    #[must_use]
    pub fn skip(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Fires at most this often.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Fires with this probability, from a generator that gives the same sequence for the same seed.
    #[must_use]
    pub fn probability(mut self, probability: f64, seed: u64) -> Self {
        self.probability = probability;
        self.seed = seed;
        self
    }
}

/// Names a fault that was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultId(u64);

/// The faults of a running local AWS. Where several match a call, each is asked, in the order in
/// which they were added, until one ends the call.
#[derive(Debug, Default)]
pub struct Faults {
    dial: Mutex<Dial>,
}

#[derive(Debug, Default)]
struct Dial {
    faults: Vec<Armed>,
    next_id: u64,
}

#[derive(Debug)]
struct Armed {
    id: u64,
    fault: Fault,
    seen: u64,
    fired: u64,
    random: u64,
    tokens: f64,
    refilled: Instant,
}

/// What the faults have in store for one call.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) wait: Duration,
    pub(crate) kill: Vec<(String, Moment)>,
    pub(crate) end: Option<Effect>,
}

impl Faults {
    /// Adds a fault.
    pub fn add(&self, fault: Fault) -> FaultId {
        let mut dial = self.lock();
        let id = dial.next_id;
        dial.next_id += 1;
        let tokens = if let Effect::Rate { burst, .. } = fault.effect { burst } else { 0.0 };
        let random = fault.seed;
        dial.faults.push(Armed { id, fault, seen: 0, fired: 0, random, tokens, refilled: Instant::now() });
        FaultId(id)
    }

    /// Takes a fault away.
    pub fn remove(&self, id: FaultId) {
        self.lock().faults.retain(|armed| armed.id != id.0);
    }

    /// Takes all faults away.
    pub fn clear(&self) {
        self.lock().faults.clear();
    }

    /// How often a fault has fired; 0 once it is removed.
    pub fn fired(&self, id: FaultId) -> u64 {
        self.lock().faults.iter().find(|armed| armed.id == id.0).map_or(0, |armed| armed.fired)
    }

    /// `names` says whether the call names a resource id.
    pub(crate) fn judge(&self, call: &Call, names: impl Fn(&str) -> bool, now: Instant) -> Verdict {
        let mut verdict = Verdict::default();
        let mut dial = self.lock();
        for armed in &mut dial.faults {
            if !armed.meets(call, &names) || !armed.fires(now) {
                continue;
            }
            match &armed.fault.effect {
                Effect::Latency(wait) => verdict.wait += *wait,
                Effect::Kill { function, moment } => verdict.kill.push((function.clone(), *moment)),
                Effect::Rate { .. } => {
                    verdict.end = Some(Effect::Throttle);
                    break;
                }
                end @ (Effect::Throttle | Effect::Error { .. } | Effect::LostAnswer) => {
                    verdict.end = Some(end.clone());
                    break;
                }
            }
        }
        verdict
    }

    fn lock(&self) -> MutexGuard<'_, Dial> {
        self.dial.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Armed {
    fn meets(&self, call: &Call, names: impl Fn(&str) -> bool) -> bool {
        self.fault.operation == call.name
            && self.fault.account.as_ref().is_none_or(|account| *account == call.account)
            && self.fault.resource.as_ref().is_none_or(|id| names(id))
    }

    fn fires(&mut self, now: Instant) -> bool {
        self.seen += 1;
        if self.seen <= self.fault.skip || self.fault.times.is_some_and(|times| self.fired >= times) {
            return false;
        }
        let fires = if let Effect::Rate { calls_per_second, burst } = self.fault.effect {
            !self.take_token(calls_per_second, burst, now)
        } else {
            self.fault.probability >= 1.0 || self.next_random() < self.fault.probability
        };
        self.fired += u64::from(fires);
        fires
    }

    fn take_token(&mut self, calls_per_second: f64, burst: f64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.tokens = (self.tokens + elapsed * calls_per_second).min(burst);
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }

    /// `SplitMix64`, as a fraction of 1.
    fn next_random(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The upper 32 bits are exact as a float.
        f64::from(u32::try_from(mixed >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call::named("ssm", "AddTagsToResource", "111111111111", "us-east-1")
    }

    fn ends(faults: &Faults, body: &str, now: Instant) -> bool {
        faults.judge(&call(), |id| body.contains(id), now).end.is_some()
    }

    #[test]
    fn skip_then_times() {
        let faults = Faults::default();
        let id = faults.add(Fault::throttle("ssm:AddTagsToResource").skip(1).times(2));
        let now = Instant::now();
        let met: Vec<bool> = (0..5).map(|_| ends(&faults, "", now)).collect();
        assert_eq!(met, [false, true, true, false, false]);
        assert_eq!(faults.fired(id), 2);
    }

    #[test]
    fn only_the_named_operation_account_and_resource() {
        let faults = Faults::default();
        let now = Instant::now();
        faults.add(Fault::throttle("ssm:RemoveTagsFromResource"));
        faults.add(Fault::throttle("ssm:AddTagsToResource").account("222222222222"));
        faults.add(Fault::throttle("ssm:AddTagsToResource").resource("mi-1"));
        assert!(!ends(&faults, "mi-2", now));
        assert!(ends(&faults, "mi-1", now));
    }

    #[test]
    fn a_seed_gives_one_sequence_near_its_probability() {
        let sequence = |seed| {
            let faults = Faults::default();
            faults.add(Fault::throttle("ssm:AddTagsToResource").probability(0.3, seed));
            let now = Instant::now();
            (0..1000).map(|_| ends(&faults, "", now)).collect::<Vec<_>>()
        };
        assert_eq!(sequence(7), sequence(7));
        assert_ne!(sequence(7), sequence(8));
        let hits = sequence(7).iter().filter(|hit| **hit).count();
        assert!((250..350).contains(&hits), "{hits}");
    }

    #[test]
    fn a_rate_throttles_what_goes_beyond_it() {
        let faults = Faults::default();
        faults.add(Fault::rate("ssm:AddTagsToResource", 10.0, 2.0));
        let start = Instant::now();
        let at = |ms| ends(&faults, "", start + Duration::from_millis(ms));
        assert_eq!([at(0), at(0), at(0)], [false, false, true]);
        assert_eq!([at(150), at(150)], [false, true]);
    }

    #[test]
    fn a_lost_answer_ends_the_asking_like_an_error() {
        let faults = Faults::default();
        faults.add(Fault::lost_answer("ssm:AddTagsToResource").times(1));
        let later = faults.add(Fault::throttle("ssm:AddTagsToResource"));
        let verdict = faults.judge(&call(), |_| true, Instant::now());
        assert_eq!((verdict.end, faults.fired(later)), (Some(Effect::LostAnswer), 0));
        let verdict = faults.judge(&call(), |_| true, Instant::now());
        assert_eq!(verdict.end, Some(Effect::Throttle));
    }

    #[test]
    fn a_latency_adds_up_and_does_not_end_the_call() {
        let faults = Faults::default();
        faults.add(Fault::latency("ssm:AddTagsToResource", Duration::from_millis(5)));
        faults.add(Fault::latency("ssm:AddTagsToResource", Duration::from_millis(7)));
        faults.add(Fault::error("ssm:AddTagsToResource", 500, "InternalServerError", ""));
        let verdict = faults.judge(&call(), |_| true, Instant::now());
        assert_eq!(verdict.wait, Duration::from_millis(12));
        assert!(matches!(verdict.end, Some(Effect::Error { status: 500, .. })));
    }
}
