//! From a request to a typed event: `cargo run -p trtc-callbacks-protocol --example decode`.

use std::time::{SystemTime, UNIX_EPOCH};

use trtc_callbacks_protocol::body::call::CallBody;
use trtc_callbacks_protocol::{AppId, Apps, Body, Event, Query, UnixMillis};

#[expect(
    clippy::disallowed_methods,
    reason = "a program reads the clock somewhere, and this is all of it"
)]
fn now() -> UnixMillis {
    UnixMillis::default().plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn main() {
    // Tokens would stand in the list; without one, every request that names the app is taken.
    let app = AppId::parse("1400000001").expect("a number");
    let apps = Apps::new().with(app, Vec::new());

    let query = "SdkAppid=1400000001&CallbackCommand=Call.CallbackAfterEndCall&contenttype=json";
    let body =
        br#"{"CallId":"c-1","CallRecord":{"CallResult":"normalEnd","CallMediaType":"video"}}"#;

    let verified = apps.verify(Query::parse(query), now()).expect("a request of this app");
    let event = Event::decode(&verified, body, now());
    println!("{} {} of call {:?}", event.id, event.command, event.call_id);
    if let Body::Call(CallBody::EndCall(end)) = &event.body {
        println!("{:#?}", end.call_record);
    }
}
