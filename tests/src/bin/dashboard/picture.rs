//! A dashboard as an SVG picture: its widgets in their grid, with a line for each metric.

use std::fmt::Write as _;

use serde_json::Value;

use crate::figures::{Figures, Series};

/// Pixels for a column of the grid, of which there are 24, and for a row.
const COLUMN: f64 = 50.0;
const ROW: f64 = 38.0;
const GAP: f64 = 6.0;
const COLOURS: [&str; 6] = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b"];

/// Draws a dashboard over this many periods.
pub(crate) fn draw(body: &Value, figures: &Figures, periods: usize, note: &str) -> String {
    let widgets = body["widgets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let bottom = widgets.iter().map(|widget| number(widget, "y") + number(widget, "height")).fold(0.0, f64::max);
    let (width, height) = (24.0 * COLUMN, (bottom + 1.0) * ROW);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"whitesmoke\"/>\n"
    );
    for widget in widgets {
        draw_widget(&mut svg, widget, figures, periods);
    }
    text(&mut svg, GAP * 2.0, height - ROW / 3.0, "dimgray", note);
    svg.push_str("</svg>\n");
    svg
}

/// Where a widget's own content goes.
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

fn draw_widget(svg: &mut String, widget: &Value, figures: &Figures, periods: usize) {
    let (x, y) = (number(widget, "x") * COLUMN + GAP / 2.0, number(widget, "y") * ROW + GAP / 2.0);
    let (width, height) = (number(widget, "width") * COLUMN - GAP, number(widget, "height") * ROW - GAP);
    let _ = writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"4\" fill=\"white\" stroke=\"silver\"/>"
    );
    let properties = &widget["properties"];
    let area = Area { left: x + 12.0, top: y + 30.0, right: x + width - 12.0, bottom: y + height - 12.0 };
    match widget["type"].as_str() {
        Some("text") => {
            let markdown = properties["markdown"].as_str().unwrap_or_default();
            for (line, at) in markdown.lines().zip(1_u8..) {
                text(svg, area.left, y + 22.0 * f64::from(at), "black", line.trim_start_matches(['#', ' ']));
            }
        }
        Some("alarm") => {
            text(svg, area.left, y + 20.0, "black", properties["title"].as_str().unwrap_or_default());
            draw_alarms(svg, properties, &area);
        }
        _ => {
            text(svg, area.left, y + 20.0, "black", properties["title"].as_str().unwrap_or_default());
            draw_lines(svg, &figures.series(properties, periods), &area);
        }
    }
}

/// The names of the alarms; their state is nothing that a picture of one run could tell.
fn draw_alarms(svg: &mut String, properties: &Value, area: &Area) {
    let alarms = properties["alarms"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let (mut x, mut y) = (area.left, area.top);
    for name in alarms.filter_map(|arn| arn.rsplit(':').next()) {
        let width = 7.0 * count(name.chars().count()) + 14.0;
        if x + width > area.right {
            (x, y) = (area.left, y + 26.0);
        }
        let _ =
            writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"20\" rx=\"3\" fill=\"gainsboro\"/>");
        text(svg, x + 7.0, y + 14.0, "black", name);
        x += width + 8.0;
    }
}

fn draw_lines(svg: &mut String, series: &[Series], area: &Area) {
    let all = || series.iter().flat_map(|line| line.values.iter().copied().flatten());
    if all().next().is_none() {
        return text(svg, area.left, area.top + 20.0, "gray", "from AWS itself, not from a run on the local AWS");
    }
    let most = all().fold(1.0, f64::max);
    let plot_bottom = area.bottom - 18.0 * (count(series.len()) / 2.0).ceil();
    text(svg, area.left, area.top + 8.0, "gray", &figure(most));
    let _ = writeln!(
        svg,
        "<line x1=\"{}\" y1=\"{plot_bottom}\" x2=\"{}\" y2=\"{plot_bottom}\" stroke=\"silver\"/>",
        area.left, area.right
    );
    for (index, line) in series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let step = (area.right - area.left) / count(line.values.len().saturating_sub(1).max(1));
        let mut points = String::new();
        for (at, value) in line.values.iter().enumerate() {
            let Some(value) = value else { continue };
            let (x, y) = (area.left + step * count(at), plot_bottom - (plot_bottom - area.top - 12.0) * value / most);
            let _ = write!(points, "{x:.1},{y:.1} ");
            // A line of one point would not be seen.
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\" fill=\"{colour}\"/>");
        }
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
            points.trim_end()
        );
        let (row, column) = (count(index / 2), count(index % 2));
        let (x, y) = (area.left + column * (area.right - area.left) / 2.0, plot_bottom + 15.0 + 16.0 * row);
        let last = line.values.iter().rev().flatten().next().copied().unwrap_or_default();
        text(svg, x, y, colour, &format!("■ {} {}", line.label, figure(last)));
    }
}

fn text(svg: &mut String, x: f64, y: f64, colour: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\">{text}</text>");
}

fn figure(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn number(widget: &Value, name: &str) -> f64 {
    widget[name].as_f64().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
fn count(of: usize) -> f64 {
    of as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_widget_is_in_the_picture() {
        let mut figures = Figures::default();
        let line = json!({
            "_aws": {"CloudWatchMetrics": [
                {"Namespace": "TagHub", "Dimensions": [[]], "Metrics": [{"Name": "TagsSet"}]}
            ]},
            "TagsSet": 4
        });
        figures.add(0, &line.to_string());
        figures.add(1, &line.to_string());
        let metric = |name: &str| json!({"title": name, "stat": "Sum", "metrics": [["TagHub", name]]});
        let body = json!({"widgets": [
            {"type": "text", "x": 0, "y": 0, "width": 24, "height": 2, "properties": {"markdown": "# A & B"}},
            {"type": "alarm", "x": 0, "y": 2, "width": 24, "height": 3,
             "properties": {"title": "Alarms", "alarms": ["arn:aws:cloudwatch:r:1:alarm:one"]}},
            {"type": "metric", "x": 0, "y": 5, "width": 8, "height": 6, "properties": metric("TagsSet")},
            {"type": "metric", "x": 8, "y": 5, "width": 8, "height": 6, "properties": metric("Errors")}
        ]});
        let svg = draw(&body, &figures, 2, "a note");
        for part in ["A &amp; B", ">one<", "■ TagsSet 4", "from AWS itself", "a note", "<polyline points=\"15.0,"] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        assert_eq!(svg.matches("<polyline").count(), 1);
    }
}
