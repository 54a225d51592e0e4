//! Whatever the agent answers, reading it ends, and what is read keeps the bounds of a reply.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(reply) = frontdesk_engine::parse_reply(body) {
        assert!(reply.messages.len() <= 20);
        assert!(reply.messages.iter().all(|message| !message.content.source().trim().is_empty()));
    }
});
