//! Rooms of the RTC Engine where people look, from events to the API, pages and the command line, on both stores.
