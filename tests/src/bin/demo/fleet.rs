//! The dozen instances of the demo.

use tests::{AGENCY_A, AGENCY_B, Enrolled, HOME_REGION, SECOND_REGION, World};

/// The instances that the story comes back to, and all of them.
pub(crate) struct Fleet {
    pub(crate) web: Enrolled,
    pub(crate) database: Enrolled,
    pub(crate) batch: Enrolled,
    /// A node of the second agency.
    pub(crate) court: Enrolled,
    /// An instance of the first agency that names the second one's node.
    pub(crate) thief: String,
    pub(crate) enrolled: Vec<Enrolled>,
    pub(crate) instance_count: usize,
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
    let web = world.enroll(a, east, &web_tags).await?;
    let database =
        world.enroll(a, east, &[("Env", "PROD"), ("Role", "database"), ("env", "lower case is another key")]).await?;
    let unicode =
        world.enroll(a, east, &[("Standort", "Köln"), ("所在地", "東京"), ("Name", "Straßenverkehrsamt 1")]).await?;
    let refused = world.enroll(a, east, &[("Env", "TEST"), ("cost#centre", "4711"), ("Owner", "R&D")]).await?;
    let many = world.enroll(a, east, &MANY_TAGS).await?;
    let batch = world.enroll(a, west, &[("Env", "PROD"), ("Role", "batch")]).await?;
    let cache = world.enroll(a, west, &[("Env", "DEV"), ("Role", "cache"), ("Schedule", "")]).await?;
    let windows = world.enroll(b, east, &[("Env", "PROD"), ("OS", "Windows")]).await?;
    let court = world.enroll(b, east, &[("Env", "PROD"), ("OS", "Linux"), ("App", "court-files")]).await?;
    let archive = world.enroll(b, east, &[("Env", "TEST"), ("OS", "Linux"), ("App", "archive")]).await?;
    world.launch(a, east, &[("Env", "PROD"), ("Name", "not managed centrally")]).await?;
    let thief = world.launch(a, east, &[("managedinstanceid", court.node.as_str()), ("Env", "STOLEN")]).await?;
    let enrolled = vec![
        web.clone(),
        database.clone(),
        unicode,
        refused,
        many,
        batch.clone(),
        cache,
        windows,
        court.clone(),
        archive,
    ];
    let instance_count = enrolled.len() + 2;
    Ok(Fleet { web, database, batch, court, thief, enrolled, instance_count })
}
