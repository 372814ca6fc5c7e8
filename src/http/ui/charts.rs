//! Charts, as places in a drawing. Words stand in HTML beside it, since a drawing is stretched to the width there is.
//! Each chart has the same figures as a table.

use std::fmt::Write;

use crate::http::ui::html::{clock, number, span};
use protocol::UnixMillis;

/// How wide a drawing is in its own units.
const WIDTH: i64 = 1000;
/// And how high.
const HEIGHT: i64 = 100;

/// Counts over time, one above the other.
pub(crate) struct Stacked {
    pub(crate) series: Vec<Series>,
    pub(crate) bars: Vec<Bar>,
    /// One over each span, which says what is under it.
    pub(crate) spans: Vec<Bar>,
    /// What the top of the drawing stands for.
    pub(crate) top: String,
    pub(crate) from: String,
    pub(crate) until: String,
    /// In words, for those who do not see it.
    pub(crate) words: String,
    pub(crate) rows: Vec<(String, Vec<String>, String)>,
    pub(crate) total: i64,
}

/// One kind of what is counted.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) total: String,
}

/// A rectangle.
pub(crate) struct Bar {
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) width: String,
    pub(crate) height: String,
    /// Which kind it is of.
    pub(crate) name: String,
    pub(crate) words: String,
}

/// What is counted: when its span begins, what, how many.
pub(crate) type CountPoint<'a> = (UnixMillis, &'a str, i64);

impl Stacked {
    /// `spans` equal spans of `step_ms` from `since` on. What falls outside is left out.
    pub(crate) fn new(
        since: UnixMillis,
        step_ms: i64,
        spans: usize,
        counts: &[CountPoint<'_>],
    ) -> Self {
        let place = |at: UnixMillis| {
            let index = at.0.saturating_sub(since.0).div_euclid(step_ms);
            usize::try_from(index).ok().filter(|index| *index < spans)
        };
        let mut names: Vec<String> = Vec::new();
        let mut table: Vec<Vec<i64>> = vec![Vec::new(); spans];
        for (at, name, events) in counts {
            let Some(index) = place(*at) else { continue };
            let series = names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push((*name).to_owned());
                names.len() - 1
            });
            let row = &mut table[index];
            row.resize(row.len().max(series + 1), 0);
            row[series] = row[series].saturating_add(*events);
        }
        for row in &mut table {
            row.resize(names.len(), 0);
        }
        let sums: Vec<i64> = table.iter().map(|row| row.iter().sum()).collect();
        let highest = sums.iter().copied().max().unwrap_or(0);
        let at = |index: usize| {
            UnixMillis(
                since.0.saturating_add(step_ms.saturating_mul(i64::try_from(index).unwrap_or(0))),
            )
        };
        let mut chart = Self {
            series: Vec::new(),
            bars: Vec::new(),
            spans: Vec::new(),
            top: number(highest),
            from: minute(at(0)),
            until: minute(at(spans)),
            words: String::new(),
            rows: Vec::new(),
            total: sums.iter().sum(),
        };
        for (index, row) in table.iter().enumerate() {
            chart.column(&names, row, (index, spans), highest, at(index));
        }
        chart.series = names
            .into_iter()
            .enumerate()
            .map(|(series, name)| Series {
                name,
                total: number(table.iter().map(|row| row[series]).sum()),
            })
            .collect();
        chart.words = format!(
            "{} events in {}, at most {} in {}",
            number(chart.total),
            span(step_ms.saturating_mul(i64::try_from(spans).unwrap_or(0))),
            chart.top,
            span(step_ms)
        );
        chart
    }

    fn column(
        &mut self,
        names: &[String],
        row: &[i64],
        place: (usize, usize),
        highest: i64,
        at: UnixMillis,
    ) {
        let (index, spans) = place;
        let step = ratio(WIDTH, 1, i64::try_from(spans).unwrap_or(1));
        let left = step * f64::from(u32::try_from(index).unwrap_or(0));
        let gap = (step * 0.15).min(2.0);
        let mut below = 0;
        let mut parts = String::new();
        for (name, events) in names.iter().zip(row).filter(|(_, events)| **events > 0) {
            let height = ratio(*events, HEIGHT, highest);
            let y = ratio(highest - below - events, HEIGHT, highest);
            below += events;
            let _ = write!(
                parts,
                "{}{name} {}",
                if parts.is_empty() { "" } else { ", " },
                number(*events)
            );
            self.bars.push(Bar {
                x: short(left + gap / 2.0),
                y: short(y),
                width: short(step - gap),
                height: short(height),
                name: name.clone(),
                words: String::new(),
            });
        }
        let sum: i64 = row.iter().sum();
        let words = if parts.is_empty() { "no events".to_owned() } else { parts };
        self.spans.push(Bar {
            x: short(left),
            y: "0".to_owned(),
            width: short(step),
            height: HEIGHT.to_string(),
            name: String::new(),
            words: format!("{} UTC: {words}", minute(at)),
        });
        self.rows.push((
            minute(at),
            row.iter().map(|events| number(*events)).collect(),
            number(sum),
        ));
    }
}

/// `12:00:00`; more where no calendar has the day.
pub(crate) fn time_of_day(at: UnixMillis) -> String {
    let text = clock(at, false);
    text.split_once(' ').map_or(text.clone(), |(_, time)| time.to_owned())
}

/// A number that changes at moments, as stairs.
pub(crate) struct Steps {
    /// The line, and the same closed to an area.
    pub(crate) line: String,
    pub(crate) area: String,
    pub(crate) top: String,
    pub(crate) from: String,
    pub(crate) until: String,
    pub(crate) words: String,
    pub(crate) rows: Vec<(String, String)>,
}

impl Steps {
    /// `None` where there are no points.
    pub(crate) fn new(points: &[(i64, i64)], until: UnixMillis) -> Option<Self> {
        let (first, last) = (points.first()?, points.last()?);
        let until = until.0.max(last.0).max(first.0 + 1);
        let highest = points.iter().map(|point| point.1).max().unwrap_or(0).max(1);
        let x = |at: i64| short(ratio(at - first.0, WIDTH, until - first.0));
        let y = |value: i64| {
            short(f64::from(i32::try_from(HEIGHT).unwrap_or(100)) - ratio(value, HEIGHT, highest))
        };
        let mut line = format!("M0 {}", y(first.1));
        for (at, value) in points {
            let _ = write!(line, "H{}V{}", x(*at), y(*value));
        }
        let _ = write!(line, "H{WIDTH}");
        Some(Self {
            area: format!("{line}V{HEIGHT}H0Z"),
            line,
            top: number(highest),
            from: clock(UnixMillis(first.0), false),
            until: clock(UnixMillis(until), false),
            words: format!("at most {} at once, {} at the end", number(highest), number(last.1)),
            rows: points
                .iter()
                .map(|(at, value)| (clock(UnixMillis(*at), false), number(*value)))
                .collect(),
        })
    }
}

/// The time that lanes share.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from: i64,
    pub(crate) until: i64,
}

impl Span {
    /// From the earliest to the latest, with some room at both ends.
    pub(crate) fn around(times: impl Iterator<Item = UnixMillis> + Clone) -> Self {
        let from = times.clone().map(near).min().unwrap_or(0);
        let until = times.map(near).max().unwrap_or(0);
        let room = ((until - from) / 50).max(250);
        Self { from: from - room, until: until + room }
    }

    /// Where a moment is in the drawing.
    pub(crate) fn x(self, at: UnixMillis) -> f64 {
        ratio(
            (near(at) - self.from).clamp(0, self.until - self.from),
            WIDTH,
            (self.until - self.from).max(1),
        )
    }

    /// A bar between two moments, wide enough to be seen.
    pub(crate) fn bar(self, from: UnixMillis, until: UnixMillis, name: &str, words: String) -> Bar {
        self.bar_in((4, 12), (from, until), name, words)
    }

    /// The same at another place and of another height.
    pub(crate) fn bar_in(
        self,
        (y, height): (u32, u32),
        (from, until): (UnixMillis, UnixMillis),
        name: &str,
        words: String,
    ) -> Bar {
        let left = self.x(from);
        Bar {
            x: short(left),
            y: y.to_string(),
            width: short((self.x(until) - left).max(3.0)),
            height: height.to_string(),
            name: name.to_owned(),
            words,
        }
    }

    /// A line at a moment.
    pub(crate) fn mark(self, at: UnixMillis, name: &str, words: String) -> Bar {
        Bar {
            x: short(self.x(at)),
            y: "0".to_owned(),
            width: "2".to_owned(),
            height: "20".to_owned(),
            name: name.to_owned(),
            words,
        }
    }

    /// Times to write below it: five, evenly.
    pub(crate) fn ticks(self) -> Vec<String> {
        let at = |part: i64| self.from + (self.until - self.from) * part / 4;
        let shown = |at: i64| time_of_day(UnixMillis(at));
        (0..=4).map(at).map(shown).collect()
    }
}

/// The time in ms, or the end of what can be drawn: bodies may hold any.
fn near(at: UnixMillis) -> i64 {
    const FAR: i64 = 1 << 50;
    at.0.clamp(-FAR, FAR)
}

/// The share of `part` in `all`, in `units`.
#[expect(clippy::cast_precision_loss, reason = "it becomes a place on a screen")]
fn ratio(part: i64, units: i64, all: i64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 * units as f64 / all as f64 }
}

fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `12:04`, with its day where it is midnight.
fn minute(at: UnixMillis) -> String {
    let text = clock(at, false);
    let time = text.get(11..16).unwrap_or(&text);
    if time == "00:00" { text.get(..16).unwrap_or(&text).to_owned() } else { time.to_owned() }
}

#[cfg(test)]
mod tests {
    use crate::http::ui::charts::*;

    #[test]
    fn counts_are_stacked_by_span_and_all_are_in_the_table() {
        let at = |minute: i64| UnixMillis(minute * 60_000);
        let counts = [
            (at(0), "call", 3),
            (at(0), "live", 1),
            (at(2), "live", 8),
            (at(2), "live", 0),
            (at(9), "call", 100),
            (at(-1), "call", 100),
        ];
        let chart = Stacked::new(at(0), 60_000, 4, &counts);
        assert_eq!((chart.total, chart.top.as_str()), (12, "8"));
        assert_eq!(chart.bars.len(), 3);
        let first = (&chart.bars[0], &chart.bars[1]);
        assert_eq!((first.0.height.as_str(), first.0.y.as_str()), ("37.5", "62.5"));
        assert_eq!((first.1.height.as_str(), first.1.y.as_str()), ("12.5", "50"));
        assert_eq!(chart.rows[2].1, ["0", "8"]);
        assert_eq!(chart.spans[1].words, "00:01 UTC: no events");
        let empty = Stacked::new(at(0), 60_000, 4, &[]);
        assert!(empty.bars.is_empty() && empty.total == 0);
    }

    #[test]
    fn steps_go_from_the_first_point_to_the_end() {
        let steps = Steps::new(&[(0, 0), (500, 2), (750, 1)], UnixMillis(1000)).unwrap();
        assert_eq!(steps.line, "M0 100H0V100H500V0H750V50H1000");
        assert!(Steps::new(&[], UnixMillis(5)).is_none());
        assert!(Steps::new(&[(5, 0)], UnixMillis(0)).is_some());
    }

    #[test]
    fn a_lane_of_zero_length_has_a_width() {
        let span = Span::around([UnixMillis(1000)].into_iter());
        assert_eq!(span.bar(UnixMillis(1000), UnixMillis(1000), "x", String::new()).width, "3");
        assert_eq!(span.ticks().len(), 5);
        let absurd = [UnixMillis(i64::MIN), UnixMillis(i64::MAX)];
        let span = Span::around(absurd.into_iter());
        assert_eq!(span.bar(absurd[0], absurd[1], "x", String::new()).name, "x");
        assert_eq!(span.ticks().len(), 5);
    }
}
