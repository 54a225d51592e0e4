//! What a failure shows, and what is logged.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)] // tests may stop at the first surprise

mod world;

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use frontdesk_model::*;
use frontdesk_testkit::{
    adapter_suite::TestInbox,
    far_end::{FarEnd, Reply},
};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;
use world::*;

/// Everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn of_this_test(level: tracing::Level) -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber =
            tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(log.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn t37_no_failure_shows_the_token_however_it_fails() {
    let (log, _guard) = Log::of_this_test(tracing::Level::DEBUG);
    let replies = [
        Reply::close(),
        Reply::reset(),
        Reply::text(200, &format!("<html>/bot{TOKEN}/getMe</html>")),
        Reply::json(400, json!({"ok": false, "error_code": 400, "description": format!("Bad Request: /bot{TOKEN}/x")})),
        Reply::json(401, json!({"ok": false, "error_code": 401, "description": TOKEN, "parameters": {}})),
        Reply::json(409, json!({"ok": false, "error_code": 409, "description": format!("Conflict: webhook {TOKEN}")})),
        Reply::json(200, json!({"ok": true, "result": {"url": format!("https://other.example/{TOKEN}")}})),
    ];
    for reply in replies {
        let far_end = FarEnd::start(move |_| reply.clone()).await;
        failures(far_end.addr(), &log).await;
    }
    // Nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    failures(nobody, &log).await;
}

async fn failures(address: std::net::SocketAddr, log: &Log) {
    let (adapter, _) = channel_at(address, vec![]);
    let (hooked, _) = channel_at(address, vec![("receive", text("webhook"))]);
    let hello = outgoing("123", "Hello");
    let parts = adapter.render(&hello);
    let dispatch = Dispatch { message: hello.message.id, index: 0, part: &parts[0], links: &[] };
    let mut shown = vec![
        format!("{:?}", send(&adapter, &hello).await),
        format!("{:?}", adapter.edit(&dispatch, "123:1").await),
        format!("{:?}", adapter.withdraw(&hello.thread, "123:1").await),
        format!("{:?}", adapter.inspect().await),
        format!("{:?}", hooked.inspect().await),
        format!("{:?}", hooked.receive(TestInbox::open() as _).await),
    ];
    shown.extend(adapter.probe().await.err().map(|error| format!("{error} {error:?}")));
    // What it found may be the address, which holds the token; what it says when it finds none may not.
    shown.extend(adapter.locate("file").await.err().map(|error| format!("{error} {error:?}")));
    adapter.typing(&hello.thread).await;
    shown.push(log.text());
    for words in shown {
        assert!(!words.contains("secret_of_the_bot"), "{words}");
    }
}

#[tokio::test]
async fn t38_nothing_of_what_a_stranger_writes_gets_into_the_log() {
    let (log, _guard) = Log::of_this_test(tracing::Level::INFO);
    let evil = "Ada\n2026-01-05T10:00:00Z ERROR forged \u{1b}[31mred";
    let mut named =
        private(1, 123, 1, json!({"text": evil, "forward_origin": {"type": "hidden_user", "sender_user_name": evil}}));
    named["message"]["from"]["first_name"] = evil.into();
    let far_end = polled(vec![
        named,
        json!({"update_id": 2, "message": {"message_id": evil}}),
        json!({"update_id": 3, evil: {"of": evil}}),
        json!({"update_id": 4, "my_chat_member": {"chat": evil}}),
    ])
    .await;
    let inbox = noted(&far_end, 3, vec![]).await;
    let log = log.text();
    assert!(log.contains("cannot be read"), "it does log: {log}");
    assert!(!log.contains("forged") && !log.contains('\u{1b}') && !log.contains("Ada"), "{log}");
    let taken = inbox.taken();
    for name in [taken[0].sender.name.as_deref().unwrap(), taken[0].forwarded_from.as_deref().unwrap()] {
        assert!(!name.contains(char::is_control), "{name:?}");
    }
    // What is kept for the operator is kept as it came.
    assert!(matches!(&inbox.noted()[0].what, Happening::Unreadable { raw, .. }
        if serde_json::from_str::<Value>(raw).unwrap()["message"]["message_id"] == evil));
}
