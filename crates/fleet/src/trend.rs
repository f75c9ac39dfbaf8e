//! The trend over the last reports, and the day on which the limit is reached.

use hub::Timestamp;

use crate::summary::{DAY_SECONDS, Point};

/// Days that are kept: some more than the forecast looks back over.
const DAYS_KEPT: usize = 120;
/// Days that the forecast looks back over.
pub(crate) const FORECAST_DAYS: i64 = 90;
/// Fewer days show no pace.
const FORECAST_DAYS_LEAST: i64 = 7;
/// A day further off than this is not worth naming.
const FORECAST_SECONDS_MOST: i64 = 10 * 365 * DAY_SECONDS;

/// The trend with another point: the last one of a day counts, and only so many days are kept.
pub(crate) fn continued(earlier: &[Point], now: Point) -> Vec<Point> {
    let mut points: Vec<Point> = earlier.iter().filter(|point| point.day() < now.day()).copied().collect();
    points.sort_by_key(|point| point.at);
    points.push(now);
    points.split_off(points.len().saturating_sub(DAYS_KEPT))
}

/// The pace of the last days in nodes for 1,000 days, and the points it is taken from; nothing if they are too few.
pub(crate) fn pace(points: &[Point]) -> Option<(i64, Point)> {
    let last = points.last()?;
    let first = points.iter().find(|point| last.day() - point.day() <= FORECAST_DAYS)?;
    let days = last.day() - first.day();
    if days < FORECAST_DAYS_LEAST {
        return None;
    }
    let count = |point: &Point| i64::try_from(point.hybrid_nodes).unwrap_or(i64::MAX);
    let grown = count(last).saturating_sub(count(first));
    Some((grown.saturating_mul(1_000) / days, *first))
}

/// When there are `nodes` nodes, if they go on coming at the pace of the last days; nothing if they do not.
pub(crate) fn reached(points: &[Point], nodes: usize) -> Option<Timestamp> {
    let ((pace, _), last) = (pace(points)?, points.last()?);
    let missing = i64::try_from(nodes.saturating_sub(last.hybrid_nodes)).ok()?;
    if pace <= 0 {
        return None;
    }
    let seconds = missing.checked_mul(1_000)?.checked_mul(DAY_SECONDS)? / pace;
    (seconds <= FORECAST_SECONDS_MOST).then(|| Timestamp::from_unix_seconds(last.at.unix_seconds() + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::Figures;

    fn point(day: i64, hybrid_nodes: usize) -> Point {
        let at = Timestamp::from_unix_seconds(day * DAY_SECONDS + 21_600);
        Point { hybrid_nodes, ..Point::new(at, &Figures::default(), 0) }
    }

    #[test]
    fn a_day_has_one_point_and_old_days_go() {
        let earlier: Vec<Point> = (0..200).map(|day| point(day, 1)).collect();
        let points = continued(&earlier, point(199, 7));
        assert_eq!((points.len(), points.last().map(|point| point.hybrid_nodes)), (DAYS_KEPT, Some(7)));
        assert_eq!(points.iter().filter(|point| point.day() == 199).count(), 1);
        let disordered = [point(5, 1), point(3, 1), point(99, 1)];
        let days: Vec<i64> = continued(&disordered, point(7, 1)).iter().map(Point::day).collect();
        assert_eq!(days, [3, 5, 7], "what a clock ahead has left does not stand in the way");
    }

    #[test]
    fn the_forecast_is_a_straight_line() {
        let points = [point(0, 720), point(45, 765), point(90, 810)];
        assert_eq!(pace(&points).map(|(pace, _)| pace), Some(1_000));
        assert_eq!(reached(&points, 950).map(|at| at.unix_seconds() / DAY_SECONDS), Some(90 + 140));
        assert_eq!(reached(&points, 810), Some(points[2].at), "it is reached");
        for none in [&[][..], &[point(90, 810)], &[point(88, 1), point(90, 810)], &[point(0, 900), point(90, 810)]] {
            assert_eq!(reached(none, 1_000), None, "{none:?}");
        }
        assert_eq!(reached(&[point(0, 1), point(90, 2)], 100_000), None, "beyond ten years it says nothing");
        let old = [point(0, 1), point(50, 100), point(120, 170)];
        assert_eq!(pace(&old).map(|(pace, first)| (pace, first.day())), Some((1_000, 50)), "only the last 90 days");
    }
}
