//! Many seeds, and those that once showed a fault.

use simulation::{Rules, run};

/// `SIMULATION_SEEDS` says how many; `SIMULATION_FIRST` where they begin.
fn seeds() -> std::ops::Range<u64> {
    #[expect(clippy::disallowed_methods, reason = "the size of the test comes from outside")]
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text:?}")))
    };
    let first = number("SIMULATION_FIRST", 1);
    first..first + number("SIMULATION_SEEDS", 100)
}

#[test]
fn every_node_is_exactly_right_in_the_end() {
    for seed in seeds() {
        if let Err(violation) = run(seed, Rules::default()) {
            panic!("{violation}\n{:#?}", violation.counts);
        }
    }
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in [1, 2, 3] {
        let (one, other) = (run(seed, Rules::default()).unwrap(), run(seed, Rules::default()).unwrap());
        assert_eq!((one.counts, one.simulated), (other.counts, other.simulated));
    }
}
