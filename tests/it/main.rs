//! The integration tests: one binary, so that it links once.

#![expect(clippy::disallowed_methods, reason = "tests spawn tasks that end with them")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod alerts;
mod amounts;
mod api;
mod api_document;
mod api_feed;
mod api_schema;
mod api_stream;
mod backup;
mod callback_config;
mod cloud_stub;
#[path = "../faults/cluster.rs"]
#[expect(dead_code, reason = "the fault tests use the rest")]
mod cluster;
mod conditions;
mod confirmation;
mod corpus;
mod dashboard;
mod derived_events;
mod derived_events_bounds;
mod doctor;
mod documents;
mod doors;
mod encodings;
mod entrances;
mod erase;
mod escapes;
mod feed;
mod fixtures;
mod forward_commands;
mod forward_faults;
mod forward_receiver;
mod forward_replay;
mod forward_seen;
mod forwarding;
mod grafana;
mod handlers;
mod hostile;
mod http;
mod imports;
mod ingest;
mod kubernetes;
mod layers;
mod listen;
mod listener;
mod listening;
mod misfits;
mod models;
mod moments;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "nats")]
mod nats_access;
#[cfg(feature = "nats")]
#[expect(dead_code, reason = "the fault tests use the rest")]
mod nats_server;
mod panics;
mod partitions;
mod permutations;
mod pooler;
mod ports;
mod postgres_failover;
mod postgres_front;
mod process;
mod properties;
mod proxies;
mod proxy_protocol;
mod quirks;
mod reading;
mod rebuild;
mod recordings;
mod reference;
mod registration;
mod replay;
mod requests;
mod retention;
mod rtc_engine;
mod rtc_read;
mod rtc_repair;
mod rtc_rooms;
mod rtc_tasks;
mod service_manager;
mod sessions;
mod settle;
mod settle_bounds;
mod simulate;
mod simulate_rtc;
mod spool;
mod start;
// Only there is a device that is always full.
#[cfg(target_os = "linux")]
mod stderr;
mod store;
mod store_url;
#[cfg(feature = "nats")]
mod stream;
#[cfg(feature = "nats")]
mod stream_faults;
mod support;
// Where there are terminals to be had without a window.
#[cfg(target_os = "linux")]
mod terminal;
mod tls;
mod told;
mod vendor;
mod vendor_apply;
mod vendor_check;
mod vendor_codes;
mod vendor_stub;
mod vendor_usersig;
