//! `rtc-repair`: sessions and stays of the RTC Engine whose events were lost.

pub(crate) mod command;
mod compare;
mod credentials;
mod listing;
mod matching;
mod report;
