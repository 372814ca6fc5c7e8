//! What is looked after at the vendor while the server runs: a guard compares what is registered with what is wanted, and
//! the list of the vendor's addresses is kept fresh. Neither stands in the way of a callback: what the vendor's API does
//! or does not do is shown, and nothing else.
//!
//! In reading order: a [`Watch`] is all that the settings want to be looked after. Its guard (`drift`) checks and writes
//! what it finds into a [`Book`], which the settler and the dashboard read. `addresses` asks for the list, puts it in
//! force (`address_merge`) and keeps it on disk (`address_file`). `words` is how a difference is told, [`Trouble`] a
//! failure.

use std::time::Duration;

mod address_file;
mod address_merge;
mod addresses;
mod book;
mod drift;
mod trouble;
mod watch;
mod words;

pub(crate) use address_file::Kept;
pub(crate) use addresses::AddressBook;
pub(crate) use book::{Book, Entry, Standing};
pub(crate) use trouble::Trouble;
pub(crate) use watch::{Watch, address_file};
pub(crate) use words::shown;

/// A pause a little shorter than `most`, at random, so that servers that start together do not ask together.
fn jittered(most: Duration) -> Duration {
    most.mul_f64(0.8 + fastrand::f64() / 5.0)
}
