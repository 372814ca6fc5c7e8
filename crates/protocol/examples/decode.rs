//! From a request to a typed event: `cargo run -p trtc-callbacks-protocol --example decode`.

use std::time::{SystemTime, UNIX_EPOCH};

use trtc_callbacks_protocol::body::call::CallBody;
use trtc_callbacks_protocol::body::rtc::event::RtcBody;
use trtc_callbacks_protocol::{AppId, Apps, Body, Event, Query, UnixMillis};

#[expect(
    clippy::disallowed_methods,
    reason = "a program reads the clock somewhere, and this is all of it"
)]
fn now() -> UnixMillis {
    UnixMillis::default().plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn main() {
    // Tokens would stand in the list; without one, every request that names the app is taken. The same goes for the RTC Engine's
    // keys.
    let app = AppId::parse("1400000001").expect("a number");
    let apps = Apps::new().with(app, Vec::new()).with_rtc_keys(app, Vec::new());
    end_of_a_call(&apps);
    entry_into_a_room(&apps);
}

fn end_of_a_call(apps: &Apps) {
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

/// An event of the RTC Engine: its app and its signature stand in headers.
fn entry_into_a_room(apps: &Apps) {
    let (sdk_app_id, sign) = (b"1400000001", b"");
    let body = br#"{"EventGroupId":1,"EventType":103,"EventInfo":{"RoomId":7,"EventMsTs":1740464128807,"UserId":"alice","Role":20}}"#;

    let app = apps.rtc_app([&sdk_app_id[..]]).expect("an app of ours");
    let verified = apps.verify_rtc(app, [&sign[..]], body, Query::default()).expect("no key");
    let event = Event::decode(&verified, body, now());
    println!("{} {} of room {:?}", event.id, event.command, event.room_id);
    if let Body::Rtc(body) = &event.body
        && let RtcBody::Room(entry) = &**body
    {
        println!("{:#?}", entry.event_info);
    }
}
