//! The nodes as the page holds them: columns of JSON, compressed and in base64.

use std::io::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use hub::Timestamp;
use serde::ser::{Serialize, SerializeSeq as _, SerializeStruct as _, Serializer};

use crate::build::{Fleet, Row};
use crate::node::{Ping, Tagging};
use crate::patch::Patching;

/// The nodes, as one word of base64. Columns compress better than rows, and a browser reads them faster.
///
/// # Errors
/// None that can happen: all is in memory.
pub(crate) fn packed(fleet: &Fleet) -> io::Result<String> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    serde_json::to_writer(io::BufWriter::with_capacity(1 << 16, &mut packed), &Data(fleet))?;
    packed.flush()?;
    Ok(STANDARD.encode(packed.finish()?))
}

struct Data<'a>(&'a Fleet);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Fleet { summary, rows, words } = self.0;
        let column = |of| Column { rows, of };
        let agencies: Vec<(&str, &str)> =
            summary.agencies.iter().map(|agency| (agency.label(), agency.account.as_str())).collect();
        let mut data = serializer.serialize_struct("Data", 26)?;
        data.serialize_field("agencies", &agencies)?;
        data.serialize_field("regions", &words.regions.words().collect::<Vec<_>>())?;
        data.serialize_field("platforms", &words.platforms.words().collect::<Vec<_>>())?;
        data.serialize_field("agents", &words.agents.words().collect::<Vec<_>>())?;
        data.serialize_field("reasons", &words.reasons.words().collect::<Vec<_>>())?;
        data.serialize_field("tags", &words.tags.words().collect::<Vec<_>>())?;
        data.serialize_field("name", &Names(rows))?;
        // Identifiers follow each other with the same length, so that they need no quotes and commas.
        data.serialize_field("node", &Ids { rows, of: |row| row.id.as_str().strip_prefix("mi-") })?;
        data.serialize_field("instance", &Ids { rows, of: |row| row.instance.as_ref()?.as_str().strip_prefix("i-") })?;
        data.serialize_field("agency", &column(|row| index(row.agency)))?;
        data.serialize_field("region", &column(|row| i64::from(row.region)))?;
        data.serialize_field("platform", &column(|row| i64::from(row.platform)))?;
        data.serialize_field("agent", &column(|row| i64::from(row.agent)))?;
        data.serialize_field("ping", &column(|row| ping(row.ping)))?;
        data.serialize_field("tagging", &column(|row| tagging(&row.tagging)))?;
        data.serialize_field("left", &column(|row| i64::try_from(row.left_behind).unwrap_or(i64::MAX)))?;
        data.serialize_field("reason", &column(|row| i64::from(row.reasons)))?;
        data.serialize_field("patching", &column(|row| patching(row.patching)))?;
        data.serialize_field("missing", &column(|row| i64::from(row.patches.missing)))?;
        data.serialize_field("failed", &column(|row| i64::from(row.patches.failed)))?;
        data.serialize_field("critical", &column(|row| i64::from(row.patches.critical)))?;
        data.serialize_field("pinged", &column(|row| minutes(row.last_ping)))?;
        data.serialize_field("scanned", &column(|row| minutes(row.patches.scanned_at)))?;
        data.serialize_field("changed", &column(|row| minutes(row.changed)))?;
        data.serialize_field("tagCount", &column(|row| i64::try_from(row.tags.len()).unwrap_or_default()))?;
        data.serialize_field("tag", &Tags(rows))?;
        data.end()
    }
}

/// A number of each node.
struct Column<'a> {
    rows: &'a [Row],
    of: fn(&Row) -> i64,
}

impl Serialize for Column<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows.iter().map(self.of))
    }
}

struct Names<'a>(&'a [Row]);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|row| row.name.as_deref().unwrap_or_default()))
    }
}

/// The 17 hexadecimal digits of each node; shorter ones, and none, are filled up with spaces.
struct Ids<'a> {
    rows: &'a [Row],
    of: fn(&Row) -> Option<&str>,
}

impl Serialize for Ids<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = String::with_capacity(self.rows.len() * ID_LENGTH);
        for row in self.rows {
            let id = (self.of)(row).filter(|id| id.len() <= ID_LENGTH).unwrap_or_default();
            all.push_str(id);
            all.extend(std::iter::repeat_n(' ', ID_LENGTH - id.len()));
        }
        serializer.serialize_str(&all)
    }
}

const ID_LENGTH: usize = 17;

/// The tags of all nodes, one after the other.
struct Tags<'a>(&'a [Row]);

impl Serialize for Tags<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut all = serializer.serialize_seq(None)?;
        for tag in self.0.iter().flat_map(|row| row.tags.iter()) {
            all.serialize_element(tag)?;
        }
        all.end()
    }
}

fn index(at: Option<usize>) -> i64 {
    at.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1)
}

fn minutes(at: Option<Timestamp>) -> i64 {
    at.map_or(0, |at| at.unix_seconds() / 60)
}

/// The place in the list `PING` of the script.
fn ping(ping: Ping) -> i64 {
    match ping {
        Ping::Online => 0,
        Ping::Lost => 1,
        Ping::Inactive => 2,
    }
}

/// The place in the list `TAGS` of the script.
fn tagging(tagging: &Tagging) -> i64 {
    match tagging {
        Tagging::InStep => 0,
        Tagging::LeftBehind(_) => 1,
        Tagging::Conflict => 2,
        Tagging::Unlinked => 3,
        Tagging::Superseded => 4,
        Tagging::InstanceGone => 5,
        Tagging::Rejected(_) => 6,
        Tagging::Failed(_) => 7,
        Tagging::Deferred => 8,
        Tagging::NoOwner => 9,
        Tagging::NotReported => 10,
        Tagging::Unread => 11,
    }
}

/// The place in the list `PATCH` of the script.
fn patching(patching: Patching) -> i64 {
    match patching {
        Patching::Patched => 0,
        Patching::NoScan => 1,
        Patching::RebootPending => 2,
        Patching::Missing => 3,
        Patching::Failed => 4,
    }
}
