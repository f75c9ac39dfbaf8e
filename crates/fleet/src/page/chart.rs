//! Charts as inline SVG. Each is a few lines, so that a crate for charts would be the larger part of it.

use hub::Timestamp;
use maud::{Markup, html};

use crate::summary::{DAY_SECONDS, Point, Summary};
use crate::trend::FORECAST_DAYS;
use crate::words::{counted, day, grouped, percent};

/// How far ahead the forecast is drawn.
const AHEAD_DAYS: i64 = 365;

/// A box in which values become places.
struct Frame {
    left: i64,
    right: i64,
    top: i64,
    bottom: i64,
    /// What is at the left and at the right.
    from: i64,
    to: i64,
    /// What is at the top; 0 is at the bottom.
    most: usize,
}

impl Frame {
    fn x(&self, value: i64) -> i64 {
        let (span, width) = ((self.to - self.from).max(1), self.right - self.left);
        self.left + (value - self.from).clamp(0, span) * width / span
    }

    fn y(&self, value: usize) -> i64 {
        let height = self.bottom - self.top;
        let share = |value: usize| i64::try_from(value.min(self.most)).unwrap_or(i64::MAX);
        self.bottom - share(value).saturating_mul(height) / share(self.most).max(1)
    }

    fn line(&self, points: &[(i64, usize)]) -> String {
        let places: Vec<String> = points.iter().map(|(x, y)| format!("{},{}", self.x(*x), self.y(*y))).collect();
        places.join(" ")
    }
}

/// A small line of shares in percent, without an axis.
pub(super) fn spark(shares: &[usize]) -> Markup {
    let last = i64::try_from(shares.len()).unwrap_or_default() - 1;
    let frame = Frame { left: 2, right: 116, top: 4, bottom: 32, from: 0, to: last, most: 100 };
    let points: Vec<(i64, usize)> = (0..).zip(shares.iter().copied()).collect();
    let Some((x, y)) = points.last().copied().filter(|_| points.len() > 1) else { return html! {} };
    html! {
        svg .spark viewBox="0 0 120 34" preserveAspectRatio="xMinYMid" aria-hidden="true" {
            path .base d="M2 33H118" {}
            polyline .line points=(frame.line(&points)) {}
            circle .dot cx=(frame.x(x)) cy=(frame.y(y)) r="2.6" {}
        }
    }
}

/// Instances and managed instances over the last reports.
pub(super) fn coverage(points: &[Point]) -> Markup {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return html! {} };
    let most = points.iter().map(|point| point.instances).max().unwrap_or_default();
    let step = step(most);
    let frame = Frame {
        left: 44,
        right: 330,
        top: 14,
        bottom: 172,
        from: first.day(),
        to: last.day(),
        most: most.div_ceil(step).max(1).saturating_mul(step),
    };
    let line = |of: fn(&Point) -> usize| -> Vec<(i64, usize)> {
        points.iter().map(|point| (point.day(), of(point))).collect()
    };
    let (instances, managed) = (line(|point| point.instances), line(|point| point.managed));
    let back: Vec<(i64, usize)> = managed.iter().rev().copied().collect();
    let floor = format!("{},172 {} {},172", frame.x(first.day()), frame.line(&managed), frame.x(last.day()));
    let title = format!(
        "Instances and managed instances over {}: instances went from {} to {}, managed ones from {} to {}.",
        counted(points.len(), "daily report"),
        grouped(first.instances),
        grouped(last.instances),
        grouped(first.managed),
        grouped(last.managed)
    );
    // The two words stand apart, however close the lines end.
    let (above, below) = (frame.y(last.instances), frame.y(last.managed));
    let below = below.max(above + 16);
    html! {
        svg .chart viewBox="0 0 420 196" role="img" aria-labelledby="coverage-title" {
            title id="coverage-title" { (title) }
            @for value in (0..=frame.most).step_by(step) {
                line .grid x1="44" x2="330" y1=(frame.y(value)) y2=(frame.y(value)) {}
                text .ax x="38" y=(frame.y(value) + 4) text-anchor="end" { (grouped(value)) }
            }
            polygon .gap points={ (frame.line(&instances)) " " (frame.line(&back)) } {}
            polygon .area points=(floor) {}
            polyline .line2 points=(frame.line(&instances)) {}
            polyline .line points=(frame.line(&managed)) {}
            text .ax x="44" y="190" { (day(first.at)) }
            text .ax x="330" y="190" text-anchor="end" { (day(last.at)) }
            text .m x="338" y=(above + 4) { (grouped(last.instances)) " in all" }
            text .lb.acc x="338" y=(below + 4) { (grouped(last.managed)) " managed" }
        }
    }
}

/// A round distance between the lines of a grid, for up to four of them.
fn step(most: usize) -> usize {
    let mut unit = 1_usize;
    loop {
        for step in [unit, unit.saturating_mul(2), unit.saturating_mul(5)] {
            if step.saturating_mul(4) >= most || step == usize::MAX {
                return step;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// Nodes of the account, with the forecast.
pub(super) fn limit(summary: &Summary) -> Markup {
    let limit = &summary.limit;
    let Some(last) = summary.trend.last() else { return html! {} };
    let recent: Vec<&Point> = summary.trend.iter().filter(|point| last.day() - point.day() <= FORECAST_DAYS).collect();
    let Some(first) = recent.first().filter(|first| first.day() < last.day()) else { return html! {} };
    let day_of = |at: Timestamp| at.unix_seconds().div_euclid(DAY_SECONDS);
    let farthest = last.day() + AHEAD_DAYS;
    let full = limit.full_at.map(day_of).filter(|day| *day <= farthest);
    let frame = Frame {
        left: 48,
        right: 434,
        top: 20,
        bottom: 184,
        from: first.day(),
        to: full.unwrap_or(last.day() + 90).max(last.day() + 30) + 7,
        most: limit.limit.max(last.hybrid_nodes).saturating_mul(106) / 100,
    };
    let history: Vec<(i64, usize)> = recent.iter().map(|point| (point.day(), point.hybrid_nodes)).collect();
    let title = format!(
        "Nodes of the account: {} on {}, {} on {}. {}",
        grouped(first.hybrid_nodes),
        day(first.at),
        grouped(last.hybrid_nodes),
        day(last.at),
        limit.full_at.map_or_else(
            || "No forecast reaches the limit.".to_owned(),
            |at| format!("The forecast reaches the limit of {} on {}.", grouped(limit.limit), day(at))
        )
    );
    let (top, near) = (frame.y(limit.limit), frame.y(limit.limit.saturating_mul(95) / 100));
    html! {
        svg .chart viewBox="0 0 520 210" role="img" aria-labelledby="limit-title" {
            title id="limit-title" { (title) }
            line .lim x1="48" x2="434" y1=(top) y2=(top) {}
            text .lb.badt x="442" y=(top + 2) { (grouped(limit.limit)) " limit" }
            line .lim2 x1="48" x2="434" y1=(near) y2=(near) {}
            text .m x="442" y=(near.max(top + 14) + 4) { "95% alarm" }
            line .now x1=(frame.x(last.day())) x2=(frame.x(last.day())) y1="16" y2="184" {}
            path .base d="M48 184H434" {}
            polyline .line points=(frame.line(&history)) {}
            @if let Some(full) = full {
                line .fc x1=(frame.x(last.day())) y1=(frame.y(last.hybrid_nodes)) x2=(frame.x(full)) y2=(top) {}
                circle .dot.o cx=(frame.x(full)) cy=(top) r="3" {}
            }
            circle .dot cx=(frame.x(last.day())) cy=(frame.y(last.hybrid_nodes)) r="3" {}
            text .lb.acc x=(frame.x(last.day()) + 8) y=(frame.y(last.hybrid_nodes) + 16) { (grouped(last.hybrid_nodes)) " today" }
            text .ax x="48" y="202" { (day(first.at)) }
            @if let Some(at) = limit.full_at.filter(|_| full.is_some()) {
                text .ax x="434" y="202" text-anchor="end" { (day(at)) }
            }
        }
    }
}

/// The shares of the last reports.
pub(super) fn shares(points: &[Point], of: fn(&Point) -> (usize, usize)) -> Vec<usize> {
    points.iter().map(of).map(|(part, whole)| percent(part, whole)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_few_round_lines() {
        for (most, expected) in [(0, 1), (4, 1), (5, 2), (9, 5), (45, 20), (1_000, 500), (100_000, 50_000)] {
            assert_eq!(step(most), expected, "{most}");
        }
        assert!(step(usize::MAX) > 0);
    }
}
