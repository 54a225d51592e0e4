//! Identifiers keep their promises for every input.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

use std::time::Duration;

use frontdesk_model::*;
use proptest::prelude::*;

fn thread(kind: &str, account: &str, thread: &str) -> ThreadKey {
    ThreadKey { kind: kind.parse().unwrap(), account: account.parse().unwrap(), thread: thread.parse().unwrap() }
}

#[test]
fn a_threads_partition_never_changes() {
    let numbers: Vec<u8> =
        ["a", "b", "order-77"].iter().map(|text| Partition::of(&thread("webhook", "shop", text)).number()).collect();
    assert_eq!(numbers, [16, 25, 10], "taken down once; stored ids depend on them");
}

#[test]
fn ids_of_later_moments_sort_later_as_bytes_and_as_text() {
    let partition = Partition::of(&thread("webhook", "shop", "t"));
    let early = MessageId::new(Timestamp::from_millis(1_700_000_000_000), partition, [255; 9]);
    let late = MessageId::new(Timestamp::from_millis(1_700_000_000_001), partition, [0; 9]);
    assert!(early < late && early.to_bytes() < late.to_bytes() && early.to_string() < late.to_string());
}

#[test]
fn names_with_control_characters_or_beyond_their_length_are_refused() {
    assert!(ThreadId::new("a\u{0}b").is_err());
    assert!(ThreadId::new("").is_err());
    assert!(ThreadId::new("a".repeat(513)).is_err());
    assert!(ThreadId::new("a}:{b / ü").is_ok());
    assert!(ChannelName::new("Shop").is_err());
    assert!(ChannelName::new("9a").is_err());
    assert!(ChannelName::new("a_9").is_ok());
}

proptest! {
    #[test]
    fn an_id_reads_back_from_its_text_in_either_case(bytes: [u8; 16]) {
        let id = ConversationId::from_bytes(bytes);
        prop_assert_eq!(id.to_string().parse::<ConversationId>().unwrap(), id);
        let shouted = format!("cnv_{}", &id.to_string()[4..].to_ascii_uppercase());
        prop_assert_eq!(shouted.parse::<ConversationId>().unwrap(), id);
    }

    #[test]
    fn no_text_makes_reading_an_id_panic(text in ".{0,40}") {
        let _ = text.parse::<ConversationId>();
        let _ = format!("cnv_{text}").parse::<ConversationId>();
    }

    #[test]
    fn an_id_carries_its_partition(entropy: [u8; 9], millis in 0i64..253_402_300_799_999, text in "[a-z]{1,20}") {
        let partition = Partition::of(&thread("webhook", "shop", &text));
        prop_assert!(partition.number() < PARTITIONS);
        let id = ConversationId::new(Timestamp::from_millis(millis), partition, entropy);
        prop_assert_eq!(id.partition(), partition);
    }

    #[test]
    fn a_moment_reads_back_from_its_text(millis in 0i64..253_402_300_799_999) {
        let moment = Timestamp::from_millis(millis);
        prop_assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment);
    }

    #[test]
    fn moments_never_leave_their_range(millis: i64, later: u64) {
        let moment = Timestamp::from_millis(millis).plus(Duration::from_millis(later));
        prop_assert!(moment >= Timestamp::from_millis(0) && moment <= Timestamp::MAX);
    }
}
