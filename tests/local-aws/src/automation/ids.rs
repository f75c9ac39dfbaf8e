//! Ids of executions, of their children and of their steps.
//!
//! A start may reach 250,000 account-Region pairs, so the ids of its children and steps are not kept:
//! they differ from the parent's id in their lowest 32 bits only, and those give the pair back.

use uuid::Uuid;

/// Odd, so that multiplying by it can be undone; large, so that ids do not look like a count.
const SPREAD: u32 = 0x9e37_79b1;
const UNSPREAD: u32 = inverse(SPREAD);

/// The id of an execution or of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id(u128);

/// What an id names within the execution that it was derived from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The execution itself.
    Whole,
    /// The child of a pair.
    Child(usize),
    /// The step of a pair.
    Step(usize),
}

impl Id {
    pub(super) fn fresh() -> Self {
        Self(Uuid::new_v4().as_u128())
    }

    /// `None` for a text that is no UUID.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(Self(Uuid::try_parse(text).ok()?.as_u128()))
    }

    /// The same for everything derived from one execution.
    pub(super) fn family(self) -> u128 {
        self.0 >> 32
    }

    pub(super) fn child(self, pair: usize) -> Self {
        self.derived(pair, 0)
    }

    pub(super) fn step(self, pair: usize) -> Self {
        self.derived(pair, 1)
    }

    /// What `other`, of the same family, names here.
    pub(super) fn part(self, other: Self) -> Part {
        let number = low(self.0 ^ other.0).wrapping_mul(UNSPREAD);
        let pair = usize::try_from(number / 2).unwrap_or(usize::MAX).wrapping_sub(1);
        match (number, number % 2) {
            (0, _) => Part::Whole,
            (_, 0) => Part::Child(pair),
            _ => Part::Step(pair),
        }
    }

    fn derived(self, pair: usize, kind: u32) -> Self {
        let number = u32::try_from(pair + 1).unwrap_or(u32::MAX).wrapping_mul(2).wrapping_add(kind);
        Self(self.0 ^ u128::from(number.wrapping_mul(SPREAD)))
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Uuid::from_u128(self.0).fmt(formatter)
    }
}

fn low(bits: u128) -> u32 {
    u32::try_from(bits & u128::from(u32::MAX)).unwrap_or_default()
}

/// Modulo 2^32, by Newton's iteration.
const fn inverse(odd: u32) -> u32 {
    let mut found = odd;
    let mut round = 0;
    while round < 5 {
        found = found.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(found)));
        round += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_id_gives_its_pair_back() {
        let parent = Id::fresh();
        assert_eq!(parent.part(parent), Part::Whole);
        for pair in [0, 1, 2, 49, 249_999] {
            assert_eq!(parent.part(parent.child(pair)), Part::Child(pair));
            assert_eq!(parent.part(parent.step(pair)), Part::Step(pair));
            assert_eq!(parent.child(pair).family(), parent.family());
            assert_eq!(Id::parse(&parent.child(pair).to_string()), Some(parent.child(pair)));
        }
    }
}
