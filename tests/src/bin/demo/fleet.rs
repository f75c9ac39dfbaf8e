//! The dozen instances of the demo.

use local_aws::machine::{Kind, Machine};
use tests::{AGENCY_A, AGENCY_B, Enrolled, HOME_REGION, Onboarded, SECOND_REGION, World};

/// The instances that the story comes back to, and all of them.
pub(crate) struct Fleet {
    pub(crate) web: Enrolled,
    pub(crate) database: Enrolled,
    pub(crate) batch: Enrolled,
    /// In the second Region.
    pub(crate) cache: Enrolled,
    /// A node of the second agency.
    pub(crate) court: Enrolled,
    /// An instance of the first agency that names the second one's node.
    pub(crate) thief: String,
    pub(crate) enrolled: Vec<Enrolled>,
    pub(crate) instance_count: usize,
    /// The machines of those that registered themselves, which are there as long as this is.
    pub(crate) machines: Vec<Machine>,
    /// What each of them printed while it did.
    pub(crate) printed: Vec<String>,
}

const MANY_TAGS: [(&str, &str); 13] = [
    ("Application", "land-registry"),
    ("Backup", "daily"),
    ("Classification", "internal"),
    ("Component", "worker"),
    ("Contact", "gis@agency.example"),
    ("CostCenter", "4711"),
    ("Department", "Geodata"),
    ("Env", "PROD"),
    ("Name", "gis-worker-7"),
    ("OS", "Linux"),
    ("Patch Group", "linux-weekly"),
    ("Project", "tiles"),
    ("Retention", "7y"),
];

pub(crate) async fn launch(world: &World) -> anyhow::Result<Fleet> {
    let (a, b, east, west) = (AGENCY_A, AGENCY_B, HOME_REGION, SECOND_REGION);
    let web_tags = [("Env", "PROD"), ("Role", "web"), ("OS", "Linux"), ("Patch Group", "linux-weekly")];
    let database_tags = [("Env", "PROD"), ("Role", "database"), ("env", "lower case is another key")];
    let unicode_tags = [("Standort", "Köln"), ("所在地", "東京"), ("Name", "Straßenverkehrsamt 1")];
    let refused_tags = [("Env", "TEST"), ("cost#centre", "4711"), ("Owner", "R&D")];
    let batch_tags = [("Env", "PROD"), ("Role", "batch")];
    let cache_tags = [("Env", "DEV"), ("Role", "cache"), ("Schedule", "")];
    // No made-up machine runs Windows. Here the tag is all that matters.
    let windows_tags = [("Env", "PROD"), ("OS", "Windows")];
    let court_tags = [("Env", "PROD"), ("OS", "Linux"), ("App", "court-files")];
    let archive_tags = [("Env", "TEST"), ("OS", "Linux"), ("App", "archive")];
    let (web, database, unicode, refused, many, batch, cache, windows, court, archive) = tokio::try_join!(
        world.onboard(a, east, Kind::AmazonLinux, &web_tags),
        world.onboard(a, east, Kind::RedHat, &database_tags),
        world.onboard(a, east, Kind::UbuntuSnap, &unicode_tags),
        world.onboard(a, east, Kind::UbuntuDeb, &refused_tags),
        world.onboard(a, east, Kind::AmazonLinux, &MANY_TAGS),
        world.onboard(a, west, Kind::UbuntuSnap, &batch_tags),
        world.onboard(a, west, Kind::AmazonLinux, &cache_tags),
        world.onboard(b, east, Kind::AmazonLinux, &windows_tags),
        world.onboard(b, east, Kind::UbuntuSnap, &court_tags),
        world.onboard(b, east, Kind::RedHat, &archive_tags),
    )?;
    world.launch(a, east, &[("Env", "PROD"), ("Name", "not managed centrally")]).await?;
    let theirs = court.enrolled.node.clone();
    let thief = world.launch(a, east, &[("managedinstanceid", theirs.as_str()), ("Env", "STOLEN")]).await?;
    let mut fleet = Fleet {
        web: web.enrolled.clone(),
        database: database.enrolled.clone(),
        batch: batch.enrolled.clone(),
        cache: cache.enrolled.clone(),
        court: court.enrolled.clone(),
        thief,
        enrolled: Vec::new(),
        instance_count: 12,
        machines: Vec::new(),
        printed: Vec::new(),
    };
    for Onboarded { enrolled, machine, printed } in
        [web, database, unicode, refused, many, batch, cache, windows, court, archive]
    {
        fleet.enrolled.push(enrolled);
        fleet.machines.push(machine);
        fleet.printed.push(printed);
    }
    Ok(fleet)
}
