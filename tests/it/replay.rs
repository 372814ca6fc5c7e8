//! What `replay` sends.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::process::{done, failed};

#[test]
fn recorded_headers_are_sent_along() {
    let folder = tempfile::tempdir().unwrap();
    let line = r#"{"headers":{"sign":"c2ln"},"query":"SdkAppid=1400000001","body":{"A":1}}"#;
    std::fs::write(folder.path().join("one.jsonl"), line).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/callback", listener.local_addr().unwrap());
    let receiver = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut part) = (Vec::new(), [0; 1024]);
        while !request.ends_with(br#"{"A":1}"#) {
            let read = stream.read(&mut part).unwrap();
            assert!(read > 0, "the request broke off");
            request.extend_from_slice(&part[..read]);
        }
        let answer = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;
        let length = answer.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}").unwrap();
        String::from_utf8(request).unwrap()
    });
    let said = done(folder.path(), &["replay", "one.jsonl", "--to", &url]);
    assert!(said.starts_with("1 sent: 1 answered OK"), "{said}");
    let request = receiver.join().unwrap();
    assert!(request.contains("\r\nsign: c2ln\r\n"), "{request}");
}

#[test]
fn a_cut_off_line_of_an_error_log_counts_as_failed() {
    let folder = tempfile::tempdir().unwrap();
    let line = r#"{"not_stored":"why","id":"01a196fb-120b-8870-bd94-eb89a3dc61ef","query":"SdkApp"#;
    std::fs::write(folder.path().join("serve.log"), format!("ready\n{line}\n")).unwrap();
    let to = ["--to", "http://127.0.0.1:1/"];
    let said = failed(folder.path(), &[&["replay", "serve.log"][..], &to].concat(), 1);
    assert!(said.contains("failed: serve.log:2: an event that was not stored, but its"), "{said}");
    assert!(said.contains("error: 1 of 1 events failed"), "{said}");
}
