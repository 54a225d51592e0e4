//! The Telegram channel passes the suite that every channel passes.
#![allow(missing_docs)]

mod world;

frontdesk_testkit::adapter_suite!(world::TelegramCase);
