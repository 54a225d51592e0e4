//! Whatever stands in the configuration's file, reading it ends with a configuration or with findings.
#![no_main]

use std::io::Write;

use frontdesk::config::{Config, Environment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return };
    if file.write_all(text).is_err() {
        return;
    }
    if let Err(refused) = Config::load(file.path(), &Environment::default(), frontdesk::registry::kinds()) {
        assert!(!refused.findings.is_empty());
    }
});
