//! What the pages of the dashboard are made of: shell, filters, charts and assets.

pub(crate) mod assets;
pub(crate) mod charts;
pub(crate) mod error;
pub(crate) mod filters;
pub(crate) mod html;
pub(crate) mod live_part;
pub(crate) mod page;
pub(crate) mod recordings;
pub(crate) mod section;
pub(crate) mod shell;
