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

/// The tests run side by side: each takes a part of the seeds.
const PARTS: u64 = 8;

fn every_node_is_exactly_right_in_the_end(part: u64) {
    for seed in seeds().filter(|seed| seed % PARTS == part) {
        if let Err(violation) = run(seed, Rules::default()) {
            panic!("{violation}\n{:#?}", violation.counts);
        }
    }
}

macro_rules! parts {
    ($($name:ident: $part:literal),*) => {
        $(
            #[test]
            fn $name() {
                every_node_is_exactly_right_in_the_end($part);
            }
        )*
    };
}

parts!(part_0: 0, part_1: 1, part_2: 2, part_3: 3, part_4: 4, part_5: 5, part_6: 6, part_7: 7);

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in [1, 2, 3] {
        let (one, other) = (run(seed, Rules::default()).unwrap(), run(seed, Rules::default()).unwrap());
        assert_eq!((one.counts, one.simulated), (other.counts, other.simulated));
    }
}

/// Two sandboxes that write one node at the same time lose each other's memory, and a deleted tag stays for ever.
#[test]
fn without_leases_a_deleted_tag_stays() {
    for seed in [126, 257, 279, 500, 532] {
        assert!(run(seed, Rules::default()).is_ok(), "seed {seed}");
        let violation = run(seed, Rules { leases: false, ..Rules::default() }).unwrap_err();
        assert!(violation.problem.contains("carries"), "{violation}");
    }
}

/// A node whose tags change within the lag of `GetResources` is planned on what is no longer true.
#[test]
fn without_a_read_of_the_node_itself_a_deleted_tag_stays() {
    for seed in [123, 126, 226, 236] {
        assert!(run(seed, Rules::default()).is_ok(), "seed {seed}");
        let violation = run(seed, Rules { fresh_reads: false, ..Rules::default() }).unwrap_err();
        assert!(violation.problem.contains("carries"), "{violation}");
    }
}
