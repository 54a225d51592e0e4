//! Whatever a platform, or somebody in its place, sends: each kind decodes or refuses it, the same way each time, and what it shows
//! as HTML runs nothing. Whatever is to be rendered, what becomes of it is within the platform's limits.
//!
//! `cargo +nightly fuzz run --fuzz-dir tests/fuzz insight`
#![no_main]

use frontdesk::registry;
use frontdesk_model::{Raw, Wanted};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let raw = Raw::Bytes(bytes.to_vec());
    let wanted = raw.json().ok().and_then(|input| Wanted::read(&input).ok());
    for kind in registry::insights() {
        let first = kind.decode(&raw);
        assert_eq!(first, kind.decode(&raw));
        match first {
            Ok(decoded) => {
                let html = decoded.html.unwrap_or_default().to_lowercase();
                assert!(!html.contains("<script") && !html.contains("href=\"javascript:"));
            }
            Err(error) => assert!(!error.code.is_empty() && !error.message.is_empty()),
        }
        for request in wanted.iter().flat_map(|wanted| kind.render(wanted).requests) {
            let length = |place: &str, of: fn(&str) -> usize| request.pointer(place).and_then(|text| text.as_str()).map_or(1, of);
            assert!((1..=4096).contains(&length("/params/text", |text| text.encode_utf16().count())));
            assert!((1..=2000).contains(&length("/body/content", |text| text.chars().count())));
        }
    }
});
