//! Pictures of the figures, in light and in dark, without scripts.

use std::fmt::Write as _;

use crate::contender::Kind;
use crate::measure::{Load, Row};
use crate::summary::Runs;

const WIDTH: f64 = 760.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 170.0;
const LONGEST: f64 = 400.0;
const ROW_HEIGHT: f64 = 34.0;
const BAR_HEIGHT: f64 = 18.0;
const TOP: f64 = 78.0;

/// Colours, for both kinds of pages.
pub(crate) const STYLE: &str = "<style>
  text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .quiet { fill: #59636e }
  .ground { fill: #ffffff }
  .one { fill: #2a6fdb; stroke: #2a6fdb }
  .two { fill: #e08a1e; stroke: #e08a1e }
  .line { fill: none; stroke-width: 2 }
  .axis { stroke: #d1d9e0; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .quiet { fill: #9198a1 }
    .ground { fill: #0d1117 }
    .one { fill: #539bf5; stroke: #539bf5 }
    .two { fill: #daaa3f; stroke: #daaa3f }
    .axis { stroke: #3d444d }
  }
</style>
";

/// CPU time for each stored event at 64 connections: a bar for each server, of its own part and PostgreSQL's.
pub(crate) fn bars(runs: &Runs) -> String {
    let kinds =
        [&Kind::OURS[..], &Kind::PEERS, &[Kind::HttpNothing, Kind::Copy, Kind::SqliteDirect]]
            .concat();
    let figures: Vec<(Kind, f64, f64)> = kinds
        .into_iter()
        .filter_map(|kind| {
            let load = if kind.is_rows_alone() { Load::Rows } else { Load::Full(64) };
            let server = runs.spread(kind, load, |row: &Row| row.server_us)?.median;
            Some((kind, server, runs.spread(kind, load, |row| row.postgres_us)?.median))
        })
        .collect();
    let most = figures.iter().map(|(_, server, postgres)| server + postgres).fold(1.0, f64::max);
    let rows = u32::try_from(figures.len()).map_or(0.0, f64::from);
    let height = TOP + rows * ROW_HEIGHT + 12.0;
    let mut svg = open(height, "CPU time for each stored event at 64 connections");
    svg += &legend(&[("one", "server"), ("two", "PostgreSQL")]);
    for (place, (kind, server, postgres)) in (0_u32..).zip(figures) {
        let y = TOP + f64::from(place) * ROW_HEIGHT;
        let middle = y + BAR_HEIGHT / 2.0 + 4.5;
        let name = kind.key();
        let _ = writeln!(
            svg,
            r#"<text x="{}" y="{middle}" text-anchor="end">{name}</text>"#,
            LEFT - 10.0
        );
        let mut x = LEFT;
        for (class, figure) in [("one", server), ("two", postgres)] {
            let width = figure / most * LONGEST;
            if width > 0.0 {
                let _ = writeln!(
                    svg,
                    r#"<rect class="{class}" style="stroke:none" x="{x:.1}" y="{y}" width="{width:.1}" height="{BAR_HEIGHT}" rx="2"/>"#
                );
                // A gap, so that the two are told apart without their colours.
                x += width + 2.0;
            }
        }
        let figures = match (server > 0.0, postgres > 0.0) {
            (true, true) => format!("{:.0} µs = {server:.0} + {postgres:.0}", server + postgres),
            _ => format!("{:.0} µs", server + postgres),
        };
        let _ = writeln!(svg, r#"<text x="{:.1}" y="{middle}">{figures}</text>"#, x + 8.0);
    }
    svg + "</svg>\n"
}

/// The beginning of a picture, with its title.
pub(crate) fn open(height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" aria-label=\"{title}\">\n{STYLE}<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"title\" x=\"20\" y=\"30\">{title}</text>\n"
    )
}

/// Which colour means what.
pub(crate) fn legend(entries: &[(&str, &str)]) -> String {
    let mut text = String::new();
    let mut x = 20.0;
    for (class, name) in entries {
        let _ = writeln!(
            text,
            r#"<rect class="{class}" style="stroke:none" x="{x}" y="44" width="12" height="12" rx="2"/><text class="quiet" x="{}" y="55">{name}</text>"#,
            x + 18.0
        );
        x += 36.0 + 8.0 * f64::from(u16::try_from(name.len()).unwrap_or(0));
    }
    text
}

/// The next larger one of 1, 2, 5, 10, 20, 50 and so on.
fn even(figure: f64) -> f64 {
    let power = 10_f64.powf(figure.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|it| it * power)
        .into_iter()
        .find(|it| *it >= figure)
        .unwrap_or(figure)
}

/// A line of a picture.
pub(crate) struct Line {
    pub(crate) class: &'static str,
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Figures in us against others, each step as wide as the next: what is measured grows by leaps.
pub(crate) fn lines(title: &str, below: &str, lines: &[Line]) -> String {
    const BOTTOM: f64 = 300.0;
    let mut svg = open(350.0, title);
    svg += &legend(&lines.iter().map(|line| (line.class, line.name)).collect::<Vec<_>>());
    let steps: Vec<f64> =
        lines.first().map_or(Vec::new(), |line| line.points.iter().map(|it| it.0).collect());
    let gaps = u32::try_from(steps.len().saturating_sub(1).max(1)).map_or(1.0, f64::from);
    let x = |step: u32| 80.0 + f64::from(step) * 560.0 / gaps;
    let most = lines.iter().flat_map(|line| &line.points).map(|it| it.1).fold(1.0, f64::max);
    let step = even(most / 3.0);
    let top = step * (most / step).ceil();
    let y = |figure: f64| BOTTOM - figure / top * (BOTTOM - TOP - 20.0);
    for figure in (0..10).map(|line| f64::from(line) * step).take_while(|it| *it <= top) {
        let y = y(figure);
        let _ = writeln!(svg, r#"<line class="axis" x1="60" x2="700" y1="{y:.1}" y2="{y:.1}"/>"#);
        let _ = writeln!(
            svg,
            r#"<text class="quiet" x="52" y="{:.1}" text-anchor="end">{figure:.0} µs</text>"#,
            y + 4.5
        );
    }
    for (step, value) in (0_u32..).zip(&steps) {
        let _ = writeln!(
            svg,
            r#"<text class="quiet" x="{:.1}" y="{}" text-anchor="middle">{value}</text>"#,
            x(step),
            BOTTOM + 20.0
        );
    }
    let _ =
        writeln!(svg, r#"<text class="quiet" x="380" y="338" text-anchor="middle">{below}</text>"#);
    for line in lines {
        let at = |(step, point): (u32, &(f64, f64))| format!("{:.1},{:.1}", x(step), y(point.1));
        let points: Vec<String> = (0_u32..).zip(&line.points).map(at).collect();
        let class = line.class;
        let _ = writeln!(
            svg,
            r#"<polyline class="line {class}" style="fill:none" points="{}"/>"#,
            points.join(" ")
        );
        for (step, (_, figure)) in (0_u32..).zip(&line.points) {
            let (x, y) = (x(step), y(*figure));
            let _ = writeln!(svg, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="4"/>"#);
            let _ = writeln!(
                svg,
                r#"<text x="{x:.1}" y="{:.1}" text-anchor="middle">{figure:.0}</text>"#,
                y - 9.0
            );
        }
    }
    svg + "</svg>\n"
}
