//! What an agency and the account may have.

use activation_issuer::plan::census::NodeCounts;
use activation_issuer::plan::census::Tier;
use activation_issuer::{Config, handle};
use serde_json::{Value, json};

use crate::world::{Denial, World};
use crate::{A, B, DAY, EAST, HOUR, answer, config_with, invocation, runtime, writes};

/// One run with these limits.
fn run(world: &World, config: &Config) -> Value {
    let access = world.access([]);
    let invocation = invocation(world, 900);
    answer(runtime().block_on(handle(config, &&access, &&access, &invocation, &json!({}))))
}

fn agency(answer: &Value, index: usize) -> (&str, &str, &str) {
    let text = |name: &str| answer["agencies"][index][name].as_str().unwrap_or_default();
    (text("outcome"), text("reason"), text("errorCode"))
}

/// How many nodes each activation registers, in the order of their making.
fn limits(world: &World) -> Vec<u32> {
    world.with(|state| state.activations.values().map(|(activation, _)| activation.registration_limit).collect())
}

/// Uses up the registrations of the newest activation.
fn use_up(world: &World, count: u32) {
    world.with(|state| state.activations.values_mut().last().unwrap().0.registrations_count = count);
}

#[test]
fn the_default_limit_is_a_hundred_and_renewed_as_it_is_used() {
    let (world, config) = (World::new(&[A]), config_with(&[("REGISTRATION_LIMIT", "100"), ("RENEW_BELOW", "20")]));
    assert_eq!(agency(&run(&world, &config), 0), ("renewed", "missing", ""));
    use_up(&world, 80);
    assert_eq!(agency(&run(&world, &config), 0), ("live", "", ""));
    use_up(&world, 81);
    assert_eq!(agency(&run(&world, &config), 0), ("renewed", "used-up", ""));
    assert_eq!(limits(&world), [100, 100]);
}

#[test]
fn an_agency_gets_only_so_many_a_day_and_no_trick_gets_more() {
    let limits = [("REGISTRATION_LIMIT", "100"), ("RENEW_BELOW", "20"), ("RENEWALS_PER_DAY", "3")];
    let (world, config) = (World::new(&[A]), config_with(&limits));
    for _ in 0..3 {
        assert_eq!(agency(&run(&world, &config), 0).0, "renewed");
        use_up(&world, 95);
        world.with(|state| state.now += 2 * HOUR);
    }
    let refused = run(&world, &config);
    assert_eq!(agency(&refused, 0), ("failed", "used-up", "RenewalsPerDay"));
    assert!(refused["agencies"][0]["message"].as_str().unwrap().contains("RENEWALS_PER_DAY is 3"), "{refused}");
    // What it holds is still there, and a deleted parameter does not change the count.
    assert_eq!(world.with(|state| state.parameters.len()), 2);
    world.with(|state| state.parameters.clear());
    assert_eq!(agency(&run(&world, &config), 0), ("failed", "missing", "RenewalsPerDay"));
    assert!(!writes(&world).iter().skip(9).any(|call| call.contains("Create")));
    world.with(|state| state.now += DAY);
    assert_eq!(agency(&run(&world, &config), 0).0, "renewed");
}

#[test]
fn nothing_takes_the_account_past_its_limit() {
    let limits_config = [("REGISTRATION_LIMIT", "100"), ("RENEW_BELOW", "100"), ("NODE_LIMIT", "150")];
    let (world, config) = (World::new(&[A, B]), config_with(&limits_config));
    let first = run(&world, &config);
    assert_eq!((agency(&first, 0).0, agency(&first, 1).0), ("renewed", "renewed"));
    let mut given = limits(&world);
    given.sort_unstable();
    assert_eq!(given, [50, 100], "served at the same time, and still within the limit");
    // Nodes that nobody's activation made count too.
    world.with(|state| {
        state.nodes.total = 120;
        state.parameters.clear();
        state.activations.clear();
    });
    let second = run(&world, &config);
    let codes = [agency(&second, 0), agency(&second, 1)];
    assert!(
        codes.contains(&("renewed", "missing", "")) && codes.contains(&("failed", "missing", "NodeLimit")),
        "{second}"
    );
    assert_eq!(limits(&world), [30]);
    assert_eq!(second["nodes"], 120);
}

#[test]
fn the_eleventh_agency_gets_an_activation_too_and_every_one_its_next() {
    let accounts: Vec<String> = (0..11).map(|number| format!("2222222222{number:02}")).collect();
    let accounts: Vec<&str> = accounts.iter().map(String::as_str).collect();
    let limits_config = [("REGISTRATION_LIMIT", "100"), ("RENEW_BELOW", "20"), ("NODE_LIMIT", "1000")];
    let (world, config) = (World::new(&accounts), config_with(&limits_config));
    let first = run(&world, &config);
    assert_eq!((&first["counts"]["created"], &first["counts"]["failed"]), (&json!(11), &json!(0)), "{first}");
    assert_eq!(limits(&world), [45; 11]);
    // All expire at once, and nobody has registered a node.
    world.with(|state| state.now += 25 * DAY);
    let next = run(&world, &config);
    assert_eq!((&next["counts"]["created"], &next["counts"]["failed"]), (&json!(11), &json!(0)), "{next}");
    assert_eq!(limits(&world), [45; 22]);
}

#[test]
fn a_limit_below_what_is_there_stops_everything_new_and_says_so() {
    let (world, config) = (World::new(&[A]), config_with(&[("NODE_LIMIT", "100"), ("RENEW_BELOW", "20")]));
    world.with(|state| {
        state.nodes = NodeCounts { total: 412, new: 30, by_agency: [(A.parse().unwrap(), 400)].into() };
    });
    let answer = run(&world, &config);
    assert_eq!(agency(&answer, 0), ("failed", "missing", "NodeLimit"));
    let words = answer["agencies"][0]["message"].as_str().unwrap();
    for part in ["412 hybrid nodes", "NODE_LIMIT is 100", "lower REGISTRATION_LIMIT"] {
        assert!(words.contains(part), "{words}");
    }
    let census = json!({
        "nodes": 412, "tier": "advanced", "limit": 100, "percent": 412, "newIn30Days": 30, "daysToLimit": 0,
        "byAgency": {A: 400}, "others": 12
    });
    assert_eq!(answer["census"], census);
}

#[test]
fn in_the_standard_tier_the_thousandth_node_is_the_last() {
    let (world, config) = (World::new(&[A]), config_with(&[("NODE_LIMIT", "5000"), ("RENEW_BELOW", "20")]));
    world.with(|state| (state.tier, state.nodes.total) = (Tier::Standard, 1000));
    let answer = run(&world, &config);
    assert_eq!(agency(&answer, 0), ("failed", "missing", "StandardTier"));
    let words = answer["agencies"][0]["message"].as_str().unwrap();
    assert!(words.contains("the standard-instances tier allows 1000 nodes"), "{words}");
    world.with(|state| state.tier = Tier::Advanced);
    assert_eq!(agency(&run(&world, &config), 0).0, "renewed");
    // Whoever may not read the tier is stopped by NODE_LIMIT alone.
    let refused = Denial {
        operation: "ssm:GetServiceSetting",
        about: String::new(),
        code: "AccessDeniedException",
        message: "not authorized",
    };
    world.with(|state| {
        state.denials.push(refused);
        state.parameters.clear();
        state.activations.clear();
    });
    let answer = run(&world, &config);
    assert_eq!((agency(&answer, 0).0, &answer["census"]["tier"]), ("renewed", &Value::Null));
}

#[test]
fn an_agency_has_a_limit_of_its_own() {
    let limits_config = [("REGISTRATION_LIMIT", "100"), ("RENEW_BELOW", "20"), ("AGENCY_NODE_LIMIT", "130")];
    let (world, config) = (World::new(&[A, B]), config_with(&limits_config));
    world.with(|state| state.nodes.by_agency = [(A.parse().unwrap(), 40)].into());
    run(&world, &config);
    let mut given = limits(&world);
    given.sort_unstable();
    assert_eq!(given, [90, 100]);
    world.with(|state| {
        state.nodes.by_agency = [(A.parse().unwrap(), 130)].into();
        state.parameters.retain(|(agency, _), _| agency.as_str() != A);
    });
    let answer = run(&world, &config);
    assert_eq!((agency(&answer, 0), agency(&answer, 1)), (("failed", "missing", "AgencyNodeLimit"), ("live", "", "")));
}

#[test]
fn an_activation_that_would_be_renewed_at_once_is_not_made_while_there_is_another() {
    let limits_config = [("REGISTRATION_LIMIT", "100"), ("RENEW_BELOW", "20"), ("NODE_LIMIT", "110")];
    let (world, config) = (World::new(&[A]), config_with(&limits_config));
    run(&world, &config);
    use_up(&world, 40);
    world.with(|state| state.nodes.total = 85);
    for _ in 0..3 {
        assert_eq!(agency(&run(&world, &config), 0), ("failed", "used-up", "NodeLimit"));
        assert_eq!(limits(&world), [55]);
        assert_eq!(answer_of_live(&world, &config), 1, "it still registers nodes");
    }
}

fn answer_of_live(world: &World, config: &Config) -> i64 {
    run(world, config)["counts"]["live"].as_i64().unwrap()
}

#[test]
fn without_a_count_nothing_new_is_made_and_what_is_good_stays() {
    let (world, config) = (World::new(&[A]), config_with(&[]));
    run(&world, &config);
    let deny = |state: &mut crate::world::State| {
        state.denials.push(Denial {
            operation: "ssm:DescribeInstanceInformation",
            about: String::new(),
            code: "AccessDeniedException",
            message: "not authorized",
        });
    };
    world.with(deny);
    assert_eq!(agency(&run(&world, &config), 0).0, "live");
    world.with(|state| state.parameters.retain(|(_, region), _| region.as_str() == EAST));
    assert_eq!(agency(&run(&world, &config), 0).0, "renewed", "a copy needs no count");
    world.with(|state| state.parameters.clear());
    assert_eq!(agency(&run(&world, &config), 0), ("failed", "missing", "AccessDeniedException"));
}
