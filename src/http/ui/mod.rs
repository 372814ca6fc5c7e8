//! What the pages of the dashboard are made of: shell, filters, charts and assets.

pub(crate) mod assets;
pub(crate) mod charts;
pub(crate) mod filters;
pub(crate) mod html;
pub(crate) mod shell;
