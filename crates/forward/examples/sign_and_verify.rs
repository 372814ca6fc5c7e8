//! Makes the envelope of an event, signs it, and verifies it as a receiver does: with the official library of Standard Webhooks.
//!
//! `cargo run -p trtc-callbacks-forward --example sign_and_verify`

use std::error::Error;
use std::time::SystemTime;

use forward::destination::secret::SigningSecret;
use forward::envelope::{ClientIp, envelope};
use forward::event_columns::{Content, EventColumns};
use forward::signature::Delivery;
use protocol::event::Payload;
use protocol::{AppId, UnixMillis};
use standardwebhooks::Webhook;
use uuid::Uuid;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn main() -> Result<(), Box<dyn Error>> {
    let now = UnixMillis::default().plus(SystemTime::UNIX_EPOCH.elapsed()?);
    let event = EventColumns {
        id: Uuid::parse_str("0198f300-0000-8000-8000-000000000001")?,
        position: 182_736,
        app: AppId::parse("1400000001").ok_or("an app's id is a number")?,
        family: "call".to_owned(),
        command: "Call.CallbackAfterEndCall".to_owned(),
        command_sent: None,
        event_time: now,
        received_at: now,
        call_id: Some("0a8e".to_owned()),
        room_id: Some("1808209309".to_owned()),
        operator: Some("alice".to_owned()),
        client_ip: None,
        platform: Some("Android".to_owned()),
        decode_error: None,
        content: Content::Vendor(Payload::Json(r#"{"CallId":"0a8e"}"#.to_owned())),
    };
    let body = envelope(&event, ClientIp::Omitted);
    let secrets = [SigningSecret::parse(&SECRET.into())?];
    let delivery =
        Delivery { id: event.id, destination: "billing", attempt: 1, replay: false, body: &body };
    let headers = delivery.headers(&secrets, now);
    for (name, value) in &headers {
        println!("{name}: {value}");
    }
    println!("\n{body}");

    // What the receiver does: over the bytes as they came, before it reads them.
    let names = headers.into_iter().map(|(name, value)| Ok((name.parse()?, value.parse()?)));
    let received = names.collect::<Result<_, Box<dyn Error>>>()?;
    Webhook::new(SECRET)?.verify(body.as_bytes(), &received)?;
    println!("\nverified");
    Ok(())
}
