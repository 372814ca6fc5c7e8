//! The callback endpoint inside an axum app of your own, with typed events handed to your code.
//!
//! Run it with `cargo run -p trtc-callbacks-receiver --example own_app`, then, in another terminal:
//! `cargo run -- send --all --to http://127.0.0.1:3000/rtc/callback`

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::routing::get;
use trtc_callbacks_receiver::protocol::body::call::CallBody;
use trtc_callbacks_receiver::protocol::body::live::LiveBody;
use trtc_callbacks_receiver::protocol::{AppId, Apps, Body, Event};
use trtc_callbacks_receiver::{Outcome, Receiver, Sink, async_trait, callback_router};

/// What your app does with an event. Whatever must not be lost is to be on a disk when `submit` returns, for then the
/// vendor is answered; to have that done for you, use `trtc_callbacks::ingest::Ingest` in place of this.
struct Printer;

#[async_trait]
impl Sink for Printer {
    async fn submit(&self, event: Event, _arrived: Instant) -> Outcome {
        match &event.body {
            Body::Call(CallBody::EndCall(end)) => {
                let record = end.call_record.as_ref();
                let result = record.and_then(|record| record.call_result.as_ref());
                let result = result.map_or("unknown", |result| result.as_str());
                println!("call {} ended: {result}", event.call_id.as_deref().unwrap_or("?"));
            }
            Body::Live(LiveBody::BeforeSendGift(gift)) => {
                let gift = gift.gift_water.as_ref().and_then(|gift| gift.gift_id.as_ref());
                println!("gift {} is on its way", gift.map_or("?", |id| id.as_str()));
            }
            _ => println!("{} at {}", event.command, event.event_time),
        }
        Outcome::New
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app_id = AppId::parse("1400000001").ok_or("not an SDKAppID")?;
    // With a token in the list, requests must be signed with it.
    let receiver = Receiver::new(Apps::new().with(app_id, Vec::new()), Arc::new(Printer));
    let app = Router::new()
        .route("/", get(|| async { "your own pages" }))
        .merge(callback_router(receiver, &["/rtc/callback".to_owned()]));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await?;
    Ok(())
}
