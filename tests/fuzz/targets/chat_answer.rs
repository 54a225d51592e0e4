//! Whatever a chat-completions server answers, reading it ends, and what is read says or does something.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(answer) = frontdesk_engine::read_chat_answer(body) {
        let reply = answer.reply;
        assert!(!reply.messages.is_empty() || !reply.actions.is_empty());
        assert!(reply.messages.len() <= 1 && reply.actions.len() <= 2);
        assert!(reply.messages.iter().all(|message| !message.content.source().trim().is_empty()));
    }
});
