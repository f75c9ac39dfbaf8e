//! The live view of a run: a bar, counts, and what stands where.

use std::collections::{BTreeMap, BTreeSet};

use hub::Timestamp;
use unicode_width::UnicodeWidthStr;

use super::{Run, Stand};
use crate::terminal::{NARROW, Sign, Stream, Tone, harmless};
use crate::view::agencies::Agency;
use crate::view::time::{clock, span};

const BAR: usize = 40;
/// Lines of the terminal besides those of accounts: the view has eight, and the cursor stands in the last one.
const OTHER_LINES: usize = 9;

/// The view at one time, never taller than the terminal.
pub fn live(run: &Run<'_>, agencies: &[Agency], now: Timestamp, next: i64, stream: &Stream) -> Vec<String> {
    let tally = run.tally();
    let took = run.seconds(now).unwrap_or_default();
    let runbook = run.status.executions.first().and_then(|execution| execution.document_name.as_deref()).unwrap_or("-");
    let mut lines = vec![
        format!("{}   {}   {}", stream.toned(Tone::Strong, &harmless(run.name)), harmless(runbook), span(took)),
        progress(tally.done(), tally.total(), took, stream),
        tally.words(stream),
    ];
    let room = stream.height.saturating_sub(OTHER_LINES);
    if stream.width < NARROW {
        lines.extend(failures(run, stream).into_iter().take(room));
    } else {
        lines.extend(matrix(run, agencies, room, stream));
    }
    let foot = if run.status.terminal {
        format!("read {} UTC", clock(now))
    } else {
        format!("read {} UTC, again in {next} s. Ctrl-C stops watching, not the run.", clock(now))
    };
    lines.push(stream.toned(Tone::Faint, &foot));
    lines
}

/// A bar with the rate and the time that is left.
fn progress(done: usize, total: usize, seconds: i64, stream: &Stream) -> String {
    let width = BAR.min(stream.width.saturating_sub(30)).max(10);
    let full = (done * width).checked_div(total).unwrap_or_default().min(width);
    let (full_mark, empty_mark) = if stream.utf8 { ("━", "─") } else { ("=", "-") };
    let bar = format!("{}{}", full_mark.repeat(full), stream.toned(Tone::Faint, &empty_mark.repeat(width - full)));
    let rest = left(done, total, seconds).map(|seconds| format!("   about {} left", span(seconds))).unwrap_or_default();
    format!("{bar}  {done} of {total}{rest}")
}

/// How long the rest takes if it goes on as it did; not said before there is something to go by.
pub fn left(done: usize, total: usize, seconds: i64) -> Option<i64> {
    let (done, total) = (i64::try_from(done).ok()?, i64::try_from(total).ok()?);
    if done == 0 || done >= total || seconds < 10 {
        return None;
    }
    Some(seconds * (total - done) / done)
}

fn label<'a>(account: &'a str, agencies: &'a [Agency]) -> &'a str {
    agencies.iter().find(|agency| agency.account.as_str() == account).map_or(account, Agency::label)
}

/// What stands in one account and Region.
type Cell<'a> = (Stand, Option<&'a str>);

/// An account with what stands in each of its Regions.
struct Line<'a> {
    name: &'a str,
    worst: Stand,
    cells: BTreeMap<&'a str, Cell<'a>>,
}

impl<'a> Line<'a> {
    /// One account and Region in several executions: the worse counts.
    fn add(&mut self, region: &'a str, cell: Cell<'a>) {
        if order(cell.0) < order(self.worst) {
            self.worst = cell.0;
        }
        let known = self.cells.entry(region).or_insert(cell);
        if order(cell.0) < order(known.0) {
            *known = cell;
        }
    }

    fn text(&self, region: &str, stream: &Stream) -> String {
        match self.cells.get(region) {
            Some((stand @ Stand::Failed, Some(cause))) => format!("{} {cause}", stream.symbol(stand.sign())),
            Some((stand, _)) => stream.symbol(stand.sign()).to_owned(),
            None => String::new(),
        }
    }

    fn shown(&self, name_width: usize, columns: &[(&str, usize)], stream: &Stream) -> String {
        let sign = if self.worst == Stand::Failed { Sign::Bad } else { Sign::Running };
        let spaces = " ".repeat(name_width.saturating_sub(self.name.width()));
        let mut line = format!("{}{spaces}", stream.mark(sign, self.name));
        for (region, width) in columns {
            let text = self.text(region, stream);
            let spaces = " ".repeat(width.saturating_sub(text.width()));
            let sign = self.cells.get(region).map_or(Sign::Waiting, |(stand, _)| stand.sign());
            line.push_str(&format!("  {}{spaces}", stream.signed(sign, &text)));
        }
        line.trim_end().to_owned()
    }
}

/// Accounts by Regions: those with failures first, those that are done in one line.
fn matrix(run: &Run<'_>, agencies: &[Agency], room: usize, stream: &Stream) -> Vec<String> {
    let (mut open, regions) = lines_of(run, agencies);
    if open.is_empty() {
        return Vec::new();
    }
    let all = open.len();
    open.retain(|line| line.worst != Stand::Ok);
    let done = all - open.len();
    let hidden = open.len().saturating_sub(room);
    open.truncate(room);

    let name_width = open.iter().map(|line| line.name.width()).max().unwrap_or_default();
    let width =
        |region: &str| open.iter().map(|line| line.text(region, stream).width()).fold(region.width(), usize::max);
    let columns: Vec<(&str, usize)> = regions.into_iter().map(|region| (region, width(region))).collect();
    let total = name_width + 2 + columns.iter().map(|(_, width)| width + 2).sum::<usize>();
    if total > stream.width {
        return failures(run, stream).into_iter().take(room).collect();
    }
    let mut lines = vec![String::new()];
    if !open.is_empty() {
        let mut header = " ".repeat(name_width + 2);
        for (region, width) in &columns {
            header.push_str(&format!("  {region:width$}"));
        }
        lines.push(stream.toned(Tone::Faint, header.trim_end()));
    }
    lines.extend(open.iter().map(|line| line.shown(name_width, &columns, stream)));
    if hidden > 0 {
        lines.push(format!("{hidden} more accounts are not shown"));
    }
    if done > 0 {
        let words = if done == 1 { "1 account is done".to_owned() } else { format!("{done} accounts are done") };
        lines.push(stream.mark(Sign::Good, &words));
    }
    lines
}

/// A line for each account, the worst first, and all Regions.
fn lines_of<'a>(run: &Run<'a>, agencies: &'a [Agency]) -> (Vec<Line<'a>>, BTreeSet<&'a str>) {
    let mut accounts: BTreeMap<&str, Line<'_>> = BTreeMap::new();
    let mut regions = BTreeSet::new();
    for location in run.status.executions.iter().flat_map(|execution| &execution.locations) {
        let (Some(account), Some(region)) = (&location.account, &location.region) else { continue };
        regions.insert(region.as_str());
        let line = accounts.entry(account).or_insert_with(|| Line {
            name: label(account, agencies),
            worst: Stand::Ok,
            cells: BTreeMap::new(),
        });
        line.add(region, (Stand::of(&location.status), location.cause.as_deref()));
    }
    let mut lines: Vec<Line<'_>> = accounts.into_values().collect();
    lines.sort_by_key(|line| (order(line.worst), line.name));
    (lines, regions)
}

/// The worst first.
fn order(stand: Stand) -> usize {
    match stand {
        Stand::Failed => 0,
        Stand::NotStarted => 1,
        Stand::Running => 2,
        Stand::Waiting => 3,
        Stand::Ok => 4,
    }
}

/// What failed, where there is no room for a matrix.
fn failures(run: &Run<'_>, stream: &Stream) -> Vec<String> {
    let groups = run.status.executions.iter().flat_map(|execution| &execution.failures);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for group in groups {
        *counts.entry(group.cause.as_deref().unwrap_or("not started")).or_default() += group.count;
    }
    counts.into_iter().map(|(cause, count)| stream.mark(Sign::Bad, &format!("{cause}  {count}"))).collect()
}

/// What changed between two looks, a line each, for a log.
pub fn changes(before: Option<&Run<'_>>, run: &Run<'_>, now: Timestamp) -> Vec<String> {
    let known: BTreeSet<(&str, &str)> = before.iter().flat_map(|run| failed(run)).map(|(place, _)| place).collect();
    let mut lines: Vec<String> = failed(run)
        .filter(|(place, _)| !known.contains(place))
        .map(|((account, region), cause)| format!("{now}  failed  {account}  {region}  {cause}"))
        .collect();
    if before.is_none_or(|before| before.tally() != run.tally() || before.status.terminal != run.status.terminal) {
        lines.push(format!("{now}  {}", run.tally().piped()));
    }
    lines
}

fn failed<'a>(run: &'a Run<'_>) -> impl Iterator<Item = ((&'a str, &'a str), &'a str)> {
    let locations = run.status.executions.iter().flat_map(|execution| &execution.locations);
    locations.filter(|location| Stand::of(&location.status) == Stand::Failed).map(|location| {
        let place = (location.account.as_deref().unwrap_or("-"), location.region.as_deref().unwrap_or("-"));
        (place, location.cause.as_deref().unwrap_or(&location.status))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{status, stream};
    use super::*;

    #[test]
    fn failures_come_first_and_the_view_fits_the_terminal() {
        let agencies = [Agency {
            account: "222222222222".parse().unwrap(),
            name: Some("Parks".to_owned()),
            manager_version: "7".to_owned(),
        }];
        let status = status(false);
        let run = Run { name: "restart-1123-k7qd", status: &status };
        let now = "2026-11-23T06:05:23Z".parse().unwrap();
        insta::assert_snapshot!(live(&run, &agencies, now, 8, &stream(100)).join("\n"), @r"
        restart-1123-k7qd   AWS-RestartEC2Instance   3 min 12 s
        ━━━━━━━━━━━━━━━━━━━━────────────────────  2 of 4   about 3 min 12 s left
        ✓ 1 ok   ✗ 1 failed   ● 1 running   · 1 waiting

                        us-east-1  us-west-1
        ✗ Parks         ✓          ✗ region-disabled
        ● 333333333333  ●          ·
        read 06:05:23 UTC, again in 8 s. Ctrl-C stops watching, not the run.
        ");
        insta::assert_snapshot!(live(&run, &agencies, now, 8, &stream(40)).join("\n"), @r"
        restart-1123-k7qd   AWS-RestartEC2Instance   3 min 12 s
        ━━━━━─────  2 of 4   about 3 min 12 s left
        ✓ 1 ok   ✗ 1 failed   ● 1 running   · 1 waiting
        ✗ region-disabled  1
        read 06:05:23 UTC, again in 8 s. Ctrl-C stops watching, not the run.
        ");
        for height in 8..12 {
            let low = Stream { height, ..stream(100) };
            let lines = live(&run, &agencies, now, 8, &low);
            let foot = lines.iter().position(|line| line.starts_with("read 06:05:23")).unwrap();
            assert!(foot < height - 1, "{height}: {lines:?}");
            assert_eq!(
                lines.contains(&"1 more accounts are not shown".to_owned()),
                height == 10,
                "{height}: {lines:?}"
            );
        }
    }

    #[test]
    fn a_log_has_a_line_for_each_change() {
        let (early, late) = (status(false), status(true));
        let (early, late) = (Run { name: "k", status: &early }, Run { name: "k", status: &late });
        let now = "2026-11-23T06:05:23Z".parse().unwrap();
        assert_eq!(
            changes(None, &early, now),
            [
                "2026-11-23T06:05:23Z  failed  222222222222  us-west-1  region-disabled",
                "2026-11-23T06:05:23Z  2/4  ok=1 failed=1 running=1 waiting=1"
            ]
        );
        assert!(changes(Some(&early), &early, now).is_empty());
        assert_eq!(
            changes(Some(&early), &late, now),
            ["2026-11-23T06:05:23Z  4/4  ok=2 failed=1 running=0 waiting=0 not-started=1"]
        );
    }

    #[test]
    fn the_time_that_is_left_needs_something_to_go_by() {
        for (done, total, seconds, expected) in
            [(0, 10, 60, None), (5, 10, 60, Some(60)), (10, 10, 60, None), (1, 10, 5, None)]
        {
            assert_eq!(left(done, total, seconds), expected);
        }
    }
}
