//! Prints a `UserSig` that is valid for a day: `SDK_SECRET_KEY=… cargo run -p trtc-rest-api --example usersig 1400000001 alice`.

use std::env;
use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tencent_api::{AppId, ExposeSecret, SecretString, UnixMillis, UserSig};

#[expect(
    clippy::disallowed_methods,
    reason = "a program reads the clock somewhere, and this is all of it"
)]
fn now() -> UnixMillis {
    UnixMillis::default().plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(app), Some(identifier)) = (arguments.next(), arguments.next()) else {
        return Err("give an SDKAppID and the name of an account".into());
    };
    let app = AppId::parse(&app).ok_or("the first argument is not a valid SDKAppID")?;
    // Not an argument: those of every process can be read by everybody on the machine.
    let key = env::var("SDK_SECRET_KEY").map_err(|_| "set `SDK_SECRET_KEY` to the app's key")?;
    let key = SecretString::from(key);

    let ticket = UserSig::new(app, &identifier, &key, now(), Duration::from_hours(24))?;
    println!("{}", ticket.encode().expose_secret());
    Ok(())
}
