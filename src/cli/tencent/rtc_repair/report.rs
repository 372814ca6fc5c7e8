//! What a repair found and added.

use anyhow::Result;
use serde::Serialize;

use crate::cli::output::{self, say};
use crate::store::{RepairKind, RepairedMark};

/// Counts of one kind of marks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    /// How many the vendor listed.
    pub(crate) found: u64,
    /// How many of them the store did not have.
    missing: u64,
}

/// Counts of a repair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    pub(crate) dry_run: bool,
    pub(crate) creates: Tally,
    pub(crate) dismissals: Tally,
    pub(crate) enters: Tally,
    pub(crate) exits: Tally,
    /// How many marks were added.
    pub(crate) added: u64,
    /// Of how many sessions users were asked for.
    pub(crate) sessions_asked: u64,
    /// Of how many the vendor refused to list them.
    pub(crate) sessions_failed: u64,
    /// How many sessions are too large to be repaired.
    pub(crate) sessions_skipped: u64,
    /// How many rows of the vendor's answers cannot be read.
    pub(crate) unreadable: u64,
    /// How many requests were sent, those that failed included.
    pub(crate) requests: u64,
}

impl Report {
    /// Counts what is missing.
    pub(crate) fn count(&mut self, marks: &[RepairedMark]) {
        for mark in marks {
            match mark.kind {
                RepairKind::Create => self.creates.missing += 1,
                RepairKind::Dismiss => self.dismissals.missing += 1,
                RepairKind::Enter => self.enters.missing += 1,
                RepairKind::Exit => self.exits.missing += 1,
                RepairKind::Presence => {}
            }
        }
    }

    pub(crate) fn print(&self, json: bool) -> Result<()> {
        if json {
            return output::print(&format!("{}\n", serde_json::to_string(self)?));
        }
        let mut table = output::table(&["WHAT", "FOUND", "MISSING"]);
        for (name, tally) in [
            ("creates", self.creates),
            ("dismissals", self.dismissals),
            ("enters", self.enters),
            ("exits", self.exits),
        ] {
            table.add_row([name.to_owned(), tally.found.to_string(), tally.missing.to_string()]);
        }
        let missing: u64 = [self.creates, self.dismissals, self.enters, self.exits]
            .iter()
            .map(|tally| tally.missing)
            .sum();
        let end = match (missing, self.dry_run) {
            (0, _) => "nothing is missing".to_owned(),
            (missing, true) => format!("would add {missing}"),
            _ => format!("added {}", self.added),
        };
        let Self { requests, sessions_asked, .. } = self;
        output::print(&format!(
            "{}\nsent {requests} requests, asked for the users of {sessions_asked} sessions; {end}\n",
            table.trim_fmt()
        ))?;
        self.say_what_is_left_out();
        Ok(())
    }

    fn say_what_is_left_out(&self) {
        let Self { sessions_skipped, unreadable, .. } = self;
        if *sessions_skipped > 0 {
            say(&format!("{sessions_skipped} sessions have too many users, and were left out"));
        }
        if *unreadable > 0 {
            say(&format!("{unreadable} rows of the vendor's answers could not be read"));
        }
    }
}
