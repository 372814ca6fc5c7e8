//! Bodies that are not quite as they should be, or of which a part does not fit: what is right counts, in the read models too.

use protocol::event::Payload;
use trtc_callbacks::store::StoredEvent;

use crate::support::{Database, Server, on_both_stores, stored};

async fn only_row(database: &Database) -> StoredEvent {
    let mut rows = stored(database).await;
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

on_both_stores! {
    async fn a_byte_order_mark_before_a_body_is_as_if_it_were_not_there(database: Database) {
        let server = Server::start(&database).await;
        let body = r#"{"CallbackCommand":"Room.CallbackAfterCreateRoom","RoomInfo":{"RoomId":"r-1"},
            "EventTime":1793530060000}"#;
        let marked = [b"\xef\xbb\xbf", body.as_bytes()].concat();
        for sent in [&marked, &marked, &body.as_bytes().to_vec()] {
            server.post_body("Room.CallbackAfterCreateRoom", sent.clone()).await;
        }
        let row = only_row(&database).await;
        assert_eq!((row.room_id.as_deref(), row.decode_error), (Some("r-1"), None));
        assert_eq!(row.payload, Payload::Json(body.to_owned()));
        assert_eq!(database.texts("select room_id from room_changes").await, ["r-1"]);
        server.stop().await;
    }

    async fn a_call_whose_callees_do_not_fit_is_still_a_call(database: Database) {
        let server = Server::start(&database).await;
        let body = r#"{"CallbackCommand":"Call.CallbackAfterEndCall","CallRecord":{"CallId":"c-1",
            "Caller_Account":"ann","MediaType":"Audio","CallType":"SingleCall","StartTime":1793530000,
            "AcceptTime":1793530005,"EndTime":1793530060,"CallResult":"NormalEnd",
            "CalleeList_Account":"ben"},"EventTime":1793530060000}"#;
        server.post_body("Call.CallbackAfterEndCall", body).await;
        let row = only_row(&database).await;
        let reason = row.decode_error.unwrap();
        assert_eq!(reason, "CallRecord.CalleeList_Account: expected a list, found another text");
        let calls = "select call_id || ' ' || caller || ' ' || media || ' ' || result from calls";
        assert_eq!(database.texts(calls).await, ["c-1 ann audio normal_end"]);
        assert_eq!(database.texts("select account from call_members").await, ["ann"]);
        server.stop().await;
    }

    async fn one_member_that_does_not_fit_leaves_the_others_in_the_call(database: Database) {
        let server = Server::start(&database).await;
        let body = r#"{"CallbackCommand":"Call.CallbackAfterStartCall","CallInfo":{"CallId":"c-1"},
            "UserList":[{"User_Account":"ann","Status":"Calling"},"ben",{"User_Account":"cat",
            "Status":["Waiting"]}],"EventTime":1793530060000}"#;
        server.post_body("Call.CallbackAfterStartCall", body).await;
        let reason = only_row(&database).await.decode_error.unwrap();
        assert_eq!(
            reason,
            "UserList[1]: expected an object, found another text; \
             UserList[2].Status: expected a word, found an array"
        );
        let members = database.texts("select account from call_members order by account").await;
        assert_eq!(members, ["ann", "cat"]);
        server.stop().await;
    }

    async fn half_an_emoji_in_a_name_or_account_loses_no_field(database: Database) {
        let server = Server::start(&database).await;
        let body = r#"{"CallbackCommand":"Room.CallbackAfterCreateRoom","Operator_Account":"ann\ud83d",
            "RoomInfo":{"RoomId":"r-1","RoomName":"cut \ud83d","Owner_Account":"\ude00ann"},
            "EventTime":1793530060000}"#;
        server.post_body("Room.CallbackAfterCreateRoom", body).await;
        let row = only_row(&database).await;
        assert_eq!((row.room_id.as_deref(), row.decode_error), (Some("r-1"), None));
        assert_eq!(row.operator.as_deref(), Some("ann\u{fffd}"));
        let rooms = "select room_id || ' ' || name || ' ' || owner || ' ' || by_account from room_changes";
        assert_eq!(database.texts(rooms).await, ["r-1 cut \u{fffd} \u{fffd}ann ann\u{fffd}"]);
        server.stop().await;
    }
}
