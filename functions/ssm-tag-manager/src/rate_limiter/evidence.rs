//! Telling a share of refused calls from another one, call by call.

/// Evidence that calls are refused at another share than they should be: a cumulative sum of log likelihood ratios.
///
/// It never falls below nothing, so what was long ago does not hide what is now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Evidence {
    weight: f64,
    answered: f64,
    refused: f64,
}

impl Evidence {
    /// Adds a call, and compares the share `suspected` with the share `expected`.
    pub(super) fn add(&mut self, is_refused: bool, suspected: f64, expected: f64) {
        self.add_signed(is_refused, suspected, expected);
        if self.weight <= 0.0 {
            *self = Self::default();
        }
    }

    /// As [`add`](Self::add), but the evidence may also grow for `expected`.
    pub(super) fn add_signed(&mut self, is_refused: bool, suspected: f64, expected: f64) {
        if is_refused {
            self.refused += 1.0;
            self.weight += (suspected / expected).ln();
        } else {
            self.answered += 1.0;
            self.weight += ((1.0 - suspected) / (1.0 - expected)).ln();
        }
    }

    /// How much likelier the suspected share is, as a natural logarithm.
    pub(super) fn weight(&self) -> f64 {
        self.weight
    }

    pub(super) fn is_none(&self) -> bool {
        self.weight == 0.0
    }

    pub(super) fn refused(&self) -> f64 {
        self.refused
    }

    /// The share of refused calls since the evidence began.
    pub(super) fn share(&self) -> f64 {
        self.refused / (self.answered + self.refused).max(1.0)
    }
}
