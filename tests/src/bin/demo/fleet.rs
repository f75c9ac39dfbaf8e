//! The instances of the demo, and what is expected of each.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use local_aws::machine::{Kind, Machine};
use tests::{AGENCY_A, AGENCY_B, Enrolled, HOME_REGION, Onboarded, SECOND_REGION, World};

/// Keys and values, or keys and reasons.
type Pairs = &'static [(&'static str, &'static str)];

/// An instance that registers itself, and what its node is to carry.
struct Launch {
    name: &'static str,
    agency: &'static str,
    region: &'static str,
    kind: Kind,
    tags: Pairs,
    carried: Pairs,
    left_behind: Pairs,
}

/// An instance whose node is to carry all of its tags.
const fn launch_of(name: &'static str, agency: &'static str, region: &'static str, kind: Kind, tags: Pairs) -> Launch {
    Launch { name, agency, region, kind, tags, carried: tags, left_behind: &[] }
}

impl Launch {
    /// The same, but its node is to carry these tags alone, and the others stay behind for these reasons.
    const fn carrying(self, carried: Pairs, left_behind: Pairs) -> Self {
        Self { carried, left_behind, ..self }
    }
}

const LAUNCHES: [Launch; 9] = [
    launch_of(
        "web",
        AGENCY_A,
        HOME_REGION,
        Kind::AmazonLinux,
        &[("Env", "PROD"), ("Role", "web"), ("OS", "Linux"), ("Patch Group", "linux-weekly")],
    ),
    launch_of(
        "database",
        AGENCY_A,
        HOME_REGION,
        Kind::RedHat,
        &[("Env", "PROD"), ("Role", "database"), ("env", "looks like Env")],
    )
    .carrying(&[("Env", "PROD"), ("Role", "database")], &[("env", "collision")]),
    launch_of(
        "office",
        AGENCY_A,
        HOME_REGION,
        Kind::UbuntuSnap,
        &[("Standort", "Köln"), ("所在地", "東京"), ("Name", "Straßenverkehrsamt 1")],
    ),
    launch_of(
        "billing",
        AGENCY_A,
        HOME_REGION,
        Kind::UbuntuDeb,
        &[("Env", "TEST"), ("cost#centre", "4711"), ("Owner", "R&D")],
    )
    .carrying(&[("Env", "TEST")], &[("cost#centre", "character"), ("Owner", "character")]),
    launch_of(
        "tiles",
        AGENCY_A,
        HOME_REGION,
        Kind::AmazonLinux,
        // More than the ten that are carried over: Name, Patch Group and Env before all others, and those by key.
        &[
            ("Retention", "7y"),
            ("Name", "gis-worker-7"),
            ("Env", "PROD"),
            ("Patch Group", "linux-weekly"),
            ("Backup", "daily"),
            // As Auto Scaling sets it. RunInstances takes no such key on AWS.
            ("aws:autoscaling:groupName", "tiles"),
            ("Contact", "gis@agency.example"),
            ("Application", "land-registry"),
            ("OS", "Linux"),
            ("Classification", "internal"),
            ("Project", "tiles"),
            ("Department", "Geodata"),
            ("Component", "worker"),
            ("CostCenter", "4711"),
        ],
    )
    .carrying(
        &[
            ("Application", "land-registry"),
            ("Backup", "daily"),
            ("Classification", "internal"),
            ("Component", "worker"),
            ("Contact", "gis@agency.example"),
            ("CostCenter", "4711"),
            ("Department", "Geodata"),
            ("Env", "PROD"),
            ("Name", "gis-worker-7"),
            ("Patch Group", "linux-weekly"),
        ],
        &[("OS", "limit"), ("Project", "limit"), ("Retention", "limit"), ("aws:autoscaling:groupName", "reserved")],
    ),
    launch_of("batch", AGENCY_A, SECOND_REGION, Kind::UbuntuSnap, &[("Env", "PROD"), ("Role", "batch")]),
    launch_of(
        "cache",
        AGENCY_A,
        SECOND_REGION,
        Kind::AmazonLinux,
        &[("Env", "PROD"), ("Role", "cache"), ("Schedule", "")],
    ),
    // No made-up machine runs Windows. Here the tag is all that matters.
    launch_of("desktop", AGENCY_B, HOME_REGION, Kind::AmazonLinux, &[("Env", "PROD"), ("OS", "Windows")]),
    launch_of(
        "court",
        AGENCY_B,
        HOME_REGION,
        Kind::UbuntuSnap,
        &[("Env", "PROD"), ("OS", "Linux"), ("App", "court-files")],
    ),
];

/// An instance that is a managed node.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) enrolled: Enrolled,
    /// What its node is to carry beside the hub's own tags, at this point of the story.
    pub(crate) carried: BTreeMap<String, String>,
    /// The keys that are to stay behind, with the reasons.
    pub(crate) left_behind: BTreeMap<String, String>,
    pub(crate) is_terminated: bool,
}

/// An instance that has no node of its own.
pub(crate) struct Other {
    agency: &'static str,
    region: &'static str,
    instance: String,
    env: &'static str,
}

/// All instances.
pub(crate) struct Fleet {
    pub(crate) members: Vec<Member>,
    pub(crate) others: Vec<Other>,
    /// The one among the others, of the first agency, that names the second one's node.
    pub(crate) thief: String,
    /// The machines of those that registered themselves, which are there as long as this is.
    pub(crate) machines: Vec<Machine>,
    /// What each of them printed while it did.
    pub(crate) printed: Vec<String>,
}

impl Fleet {
    pub(crate) fn member(&self, name: &str) -> anyhow::Result<&Member> {
        self.members.iter().find(|member| member.name == name).with_context(|| format!("{name} is not in the fleet"))
    }

    pub(crate) fn member_mut(&mut self, name: &str) -> anyhow::Result<&mut Member> {
        let found = self.members.iter_mut().find(|member| member.name == name);
        found.with_context(|| format!("{name} is not in the fleet"))
    }

    /// How many instances an agency reports that are to be refused.
    pub(crate) fn refused(&self, agency: &str) -> usize {
        self.others.iter().filter(|other| other.instance == self.thief && other.agency == agency).count()
    }

    /// How many of an agency's instances are managed nodes and not terminated.
    pub(crate) fn living(&self, agency: &str) -> usize {
        self.members.iter().filter(|member| member.enrolled.agency == agency && !member.is_terminated).count()
    }

    /// The instances in an account and Region that are to carry this tag `Env`, managed nodes or not.
    pub(crate) fn with_env(&self, agency: &str, region: &str, env: &str) -> BTreeSet<String> {
        let members = self.members.iter().filter(|member| !member.is_terminated);
        let members = members.filter(|member| member.carried.get("Env").is_some_and(|value| value == env));
        let members = members.map(|member| &member.enrolled);
        let members = members.filter(|enrolled| enrolled.agency == agency && enrolled.region == region);
        let others = self.others.iter();
        let others = others.filter(|other| other.agency == agency && other.region == region && other.env == env);
        members.map(|enrolled| enrolled.instance.clone()).chain(others.map(|other| other.instance.clone())).collect()
    }
}

pub(crate) async fn launch(world: &World) -> anyhow::Result<Fleet> {
    let onboard = |launch: &Launch| world.onboard(launch.agency, launch.region, launch.kind, launch.tags);
    let [web, database, office, billing, tiles, batch, cache, desktop, court] = &LAUNCHES;
    let all = tokio::try_join!(
        onboard(web),
        onboard(database),
        onboard(office),
        onboard(billing),
        onboard(tiles),
        onboard(batch),
        onboard(cache),
        onboard(desktop),
        onboard(court),
    )?;
    let mut fleet = Fleet {
        members: Vec::new(),
        others: Vec::new(),
        thief: String::new(),
        machines: Vec::new(),
        printed: Vec::new(),
    };
    for (launch, onboarded) in LAUNCHES.iter().zip(<[Onboarded; 9]>::from(all)) {
        let owned = |pairs: Pairs| pairs.iter().map(|(key, of)| ((*key).to_owned(), (*of).to_owned())).collect();
        fleet.members.push(Member {
            name: launch.name,
            enrolled: onboarded.enrolled,
            carried: owned(launch.carried),
            left_behind: owned(launch.left_behind),
            is_terminated: false,
        });
        fleet.machines.push(onboarded.machine);
        fleet.printed.push(onboarded.printed);
    }
    for (agency, region) in [(AGENCY_A, HOME_REGION), (AGENCY_B, SECOND_REGION)] {
        let tags = [("Env", "PROD"), ("Name", "not managed centrally")];
        let instance = world.launch(agency, region, &tags).await?;
        fleet.others.push(Other { agency, region, instance, env: "PROD" });
    }
    let theirs = fleet.member("court")?.enrolled.node.clone();
    let tags = [(hub::MANAGED_INSTANCE_ID_TAG_KEY, theirs.as_str()), ("Env", "STOLEN")];
    fleet.thief = world.launch(AGENCY_A, HOME_REGION, &tags).await?;
    let instance = fleet.thief.clone();
    fleet.others.push(Other { agency: AGENCY_A, region: HOME_REGION, instance, env: "STOLEN" });
    Ok(fleet)
}
