//! Calls between two.

use std::time::Duration;

use crate::simulate::people::Person;
use crate::simulate::scenario::Kind;
use crate::simulate::scenarios::calls::{Action, Call, RING_MAX, soon};
use crate::simulate::scenarios::recordings::CallRecording;
use crate::simulate::script::Script;

/// A call between two that ends as `kind` says.
pub(crate) fn one_to_one(script: &mut Script<'_>, kind: Kind) {
    let mut people = script.cast(2).into_iter();
    let (Some(caller), Some(peer)) = (people.next(), people.next()) else { return };
    let mut call = Call::start(script, &caller, std::slice::from_ref(&peer), false);
    if kind.has_room() {
        call.enter(script, &caller);
    }
    let ring = script.dice().seconds(2, 20);
    match kind {
        Kind::BusyCall => {
            script.wait(Duration::from_millis(300));
            call.end(script, &peer, "CallBusy");
        }
        Kind::CancelledCall => {
            script.wait(ring);
            call.end(script, &caller, "Cancel");
        }
        Kind::RejectedCall => {
            script.wait(ring);
            call.change(script, &[(&caller, true)], &[(&peer, Action::Reject)]);
            soon(script);
            call.end(script, &peer, "Reject");
        }
        Kind::MissedCall => {
            script.wait(RING_MAX);
            call.change(script, &[(&caller, true)], &[(&peer, Action::NotAnswer)]);
            soon(script);
            call.end(script, &peer, "NotAnswer");
        }
        _ => {
            script.wait(ring);
            talk(script, &mut call, &peer, kind == Kind::DroppedCall);
        }
    }
    call.engine.close(script);
}

/// The callee takes it, both talk, and one leaves or gets lost.
fn talk(script: &mut Script<'_>, call: &mut Call, peer: &Person, dropped: bool) {
    let caller = call.caller.clone();
    call.change(script, &[(&caller, true), (peer, true)], &[(peer, Action::Accept)]);
    let recorded = script.is_recorded();
    let recording = recorded.then(|| CallRecording::start(script, call));
    let (median, max) = (script.world.options.talk_median, script.world.options.talk_max);
    let talk = script.dice().about(median, max);
    script.wait(talk);
    let by_caller = script.dice().chance(0.5);
    let (leaver, other) = if by_caller { (&caller, peer) } else { (peer, &caller) };
    let (action, result) = if dropped {
        (Action::Offline, script.dice().word(&["Interrupt", "Offline"]))
    } else {
        (Action::HangUp, "NormalEnd")
    };
    call.change(script, &[(other, true)], &[(leaver, action)]);
    soon(script);
    call.end(script, leaver, result);
    if let Some(recording) = recording {
        recording.stop(script, call);
    }
}
