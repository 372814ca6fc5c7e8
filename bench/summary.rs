//! What several rounds say together. A ratio is of two runs of one round, for the machine may be another in the next one.

use crate::contender::{Kind, Storage};
use crate::measure::{Load, Row};

/// The middle one of several figures, and how far they are apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> =
            figures.into_iter().filter(|figure| figure.is_finite()).collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = match figures.len() % 2 {
            1 => figures[middle],
            _ => f64::midpoint(figures[middle - 1], figures[middle]),
        };
        Some(Self { median, least, most })
    }
}

/// All that was measured.
#[derive(Default)]
pub(crate) struct Runs {
    pub(crate) rows: Vec<Row>,
}

impl Runs {
    /// The runs of one kind, one of each round.
    pub(crate) fn of(&self, kind: Kind, load: Load) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.kind == kind && row.load.is(load))
    }

    pub(crate) fn row(&self, round: u32, kind: Kind, load: Load) -> Option<&Row> {
        self.of(kind, load).find(|row| row.round == round)
    }

    pub(crate) fn spread(
        &self,
        kind: Kind,
        load: Load,
        figure: impl Fn(&Row) -> f64,
    ) -> Option<Spread> {
        Spread::of(self.of(kind, load).map(figure))
    }

    /// A figure that is computed of each round by itself.
    pub(crate) fn of_rounds(&self, figure: impl Fn(u32) -> Option<f64>) -> Option<Spread> {
        let mut rounds: Vec<u32> = self.rows.iter().map(|row| row.round).collect();
        rounds.sort_unstable();
        rounds.dedup();
        Spread::of(rounds.into_iter().filter_map(figure))
    }

    /// That one of the peers which took the most events under a load, in one round.
    pub(crate) fn best_peer(&self, round: u32, load: Load) -> Option<&Row> {
        let rows = Kind::PEERS.into_iter().filter_map(|peer| self.row(round, peer, load));
        rows.max_by(|one, other| one.events_per_s.total_cmp(&other.events_per_s))
    }

    /// What the two limits of a store take together for an event, in one round, in us.
    pub(crate) fn limits_us(&self, round: u32, load: Load, store: Storage) -> Option<f64> {
        let http = self.row(round, Kind::HttpNothing, load)?;
        let rows = if store == Storage::Sqlite { Kind::SqliteDirect } else { Kind::Copy };
        Some(http.server_us + self.row(round, rows, Load::Rows)?.cpu_us())
    }
}
