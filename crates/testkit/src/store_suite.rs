//! What every store is held to. Written against [`frontdesk_model::Store`] alone: nothing here knows a backend.
//!
//! A backend's test file is one function that makes a [`Bench`] on an empty store, and one line:
//!
//! ```ignore
//! frontdesk_testkit::store_suite!(open);
//! ```
//!
//! Each claim becomes a test of its own, named after the claim.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test may stop at the first surprise

pub mod attachments;
pub mod census;
pub mod changes;
pub mod checking;
pub mod claims;
pub mod company;
pub mod dead_letters;
pub mod delivery;
pub mod finding;
pub mod guards;
pub mod inbound;
pub mod interleaving;
pub mod keeping;
pub mod lanes;
pub mod operations;
pub mod reading;
pub mod requests;
pub mod timers;

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use frontdesk_model::*;

use crate::clock::TestClock;

/// How long the suite's claims last.
pub const LEASE: Duration = Duration::from_secs(30);

/// As much as there is.
pub const ALL: Take = Take { rows: usize::MAX, bytes: usize::MAX };

/// At most so many rows, of any size.
#[must_use]
pub fn rows(rows: usize) -> Take {
    Take { rows, bytes: usize::MAX }
}

/// An empty store on a clock that only the test moves, and short ways to use it.
pub struct Bench {
    /// The store under test.
    pub store: Arc<dyn Store>,
    /// Its clock.
    pub clock: TestClock,
    made: AtomicU64,
    _keep: Box<dyn Any + Send + Sync>,
}

impl Bench {
    /// `keep` lives as long as the bench: a folder, a server.
    pub fn new(store: Arc<dyn Store>, clock: TestClock, keep: impl Any + Send + Sync) -> Self {
        Self { store, clock, made: AtomicU64::new(1), _keep: Box::new(keep) }
    }

    /// How things leave the store.
    pub fn keeping(&self) -> &dyn Keeping {
        self.store.keeping()
    }

    fn entropy(&self) -> [u8; 9] {
        let [a, b, c, d, e, f, g, h] = self.made.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        [a, b, c, d, e, f, g, h, 7]
    }

    /// An operation id that was not used before.
    pub fn operation(&self) -> OperationId {
        let mut bytes = [0x0f; 16];
        bytes[..9].copy_from_slice(&self.entropy());
        OperationId::from_bytes(bytes)
    }

    /// A message id that was not used before.
    pub fn message_id(&self) -> MessageId {
        MessageId::new(self.clock.now(), Partition::of(&thread("any")), self.entropy())
    }

    /// An event id that was not used before.
    pub fn event_id(&self) -> EventId {
        EventId::new(self.clock.now(), Partition::of(&thread("any")), self.entropy())
    }

    /// A customer's message in a thread, as the engine commits one.
    pub fn inbound(&self, thread: &ThreadKey) -> CommitInbound {
        let message = self.message_id();
        let wakes = vec![Wake { lane: Lane::Agent, only_if_owner: Some(Owner::Agent) }];
        let effects = vec![
            Effect::PutParticipant(contact(1)),
            Effect::BumpVersion,
            self.event(said(message, Direction::Inbound), wakes, None),
            Effect::MarkUnanswered,
        ];
        let dedupe = DedupeKey(message.to_bytes());
        let new = self.new_conversation(thread);
        CommitInbound { thread: thread.clone(), dedupe, message, new, effects, claim: None }
    }

    /// What a thread's conversation is made of.
    pub fn new_conversation(&self, thread: &ThreadKey) -> NewConversation {
        NewConversation {
            id: ConversationId::new(self.clock.now(), Partition::of(thread), self.entropy()),
            channel: "shop".parse().unwrap(),
            owner: Owner::Agent,
            subject: None,
            at: self.clock.now(),
        }
    }

    /// An event of this moment.
    pub fn event(&self, message: Message, wakes: Vec<Wake>, status: Option<DeliveryStatus>) -> Effect {
        let body = EventBody::MessageCreated { message };
        Effect::Append { id: self.event_id(), at: self.clock.now(), body, wakes, status }
    }

    /// A queued reply, which wakes the deliver lane.
    pub fn reply(&self) -> (MessageId, Effect) {
        let message = self.message_id();
        let wakes = vec![Wake { lane: Lane::Deliver, only_if_owner: None }];
        (message, self.event(said(message, Direction::Outbound), wakes, Some(DeliveryStatus::Queued)))
    }

    /// An event that wakes nobody.
    pub fn note(&self) -> Effect {
        let body = EventBody::ConversationUpdated {
            by: "system".into(),
            status: Status::Open,
            owner: Owner::Agent,
            attention: None,
            assignee: None,
            snoozed_until: None,
            reason: None,
        };
        Effect::Append { id: self.event_id(), at: self.clock.now(), body, wakes: Vec::new(), status: None }
    }

    /// A customer writes in the thread of this name.
    pub async fn say(&self, name: &str) -> (ConversationId, Seq) {
        match self.store.commit_inbound(self.inbound(&thread(name))).await.unwrap() {
            Committed::New { conversation, seq, .. } => (conversation, seq),
            duplicate @ Committed::Duplicate { .. } => panic!("{duplicate:?}"),
        }
    }

    /// A reply is written without a claim.
    pub async fn queue_reply(&self, conversation: ConversationId) -> MessageId {
        let (message, effect) = self.reply();
        self.apply(conversation, vec![effect]).await;
        message
    }

    /// A write without a claim.
    pub fn appending(&self, conversation: ConversationId, guards: Vec<Guard>, effects: Vec<Effect>) -> Append {
        Append { operation: self.operation(), conversation, once: None, guards, effects }
    }

    /// Applies effects without a claim.
    pub async fn append(&self, conversation: ConversationId, guards: Vec<Guard>, effects: Vec<Effect>) -> Applied {
        self.store.append(self.appending(conversation, guards, effects)).await.unwrap()
    }

    /// Applies effects that must take hold.
    pub async fn apply(&self, conversation: ConversationId, effects: Vec<Effect>) {
        let applied = self.append(conversation, Vec::new(), effects).await;
        assert!(matches!(applied, Applied::Done { .. }), "{applied:?}");
    }

    /// Asks for work.
    pub async fn claim(&self, lane: Lane, limit: usize) -> Claims {
        let request =
            ClaimRequest { operation: self.operation(), lane, limit, lease: LEASE, order: ClaimOrder::LongestDue };
        self.store.claim(request).await.unwrap()
    }

    /// The one claim that is due, if one is.
    pub async fn try_one(&self, lane: Lane) -> Option<Claim> {
        self.claim(lane, 1).await.claims.pop()
    }

    /// The one claim that must be due.
    pub async fn one(&self, lane: Lane) -> Claim {
        self.try_one(lane).await.expect("a lane is due")
    }

    /// A settling write that nothing guards.
    pub fn settling(&self, claim: &Claim, effects: Vec<Effect>, then: Then) -> Settle {
        Settle {
            operation: self.operation(),
            claim: claim.id,
            guards: Vec::new(),
            effects,
            then,
            next: Vec::new(),
            intend: None,
        }
    }

    /// Settles, whatever comes of it.
    pub async fn settle(&self, claim: &Claim, effects: Vec<Effect>, then: Then) -> Applied {
        self.store.settle(self.settling(claim, effects, then)).await.unwrap().applied
    }

    /// Settles, which must take hold, and moves on.
    pub async fn finish(&self, claim: &Claim) {
        let applied = self.settle(claim, Vec::new(), Then::Advance).await;
        assert!(matches!(applied, Applied::Done { .. }), "{applied:?}");
    }

    /// Gives a claim back for `span`, having waited for `waiting`.
    pub async fn park(&self, claim: &Claim, span: Duration, waiting: Option<Waiting>, attempts: u32) -> Held {
        let progress = Progress { attempts, ..Progress::default() };
        let until = self.clock.now().plus(span);
        let release = Release { operation: self.operation(), claim: claim.id, until, waiting, progress };
        self.store.release(release).await.unwrap()
    }

    /// A conversation that must be there.
    pub async fn conversation(&self, id: ConversationId) -> Conversation {
        self.store.conversation(id).await.unwrap().expect("the conversation is there")
    }

    /// A conversation's whole log.
    pub async fn log(&self, id: ConversationId) -> Vec<Event> {
        self.store.events(id, Seq::ZERO, ALL).await.unwrap().expect("the conversation is there").data
    }

    /// The work of a claim as a dead letter.
    pub fn dead_letter(&self, claim: &Claim) -> DeadLetter {
        DeadLetter {
            id: DeadLetterId::new(self.clock.now(), claim.conversation.id.partition(), self.entropy()),
            conversation: claim.conversation.id,
            lane: claim.lane,
            seq: claim.event.seq,
            event: claim.event.id,
            batch_from: None,
            channel: claim.conversation.channel.clone(),
            reason: "it answered 400".into(),
            attempts: 1,
            at: self.clock.now(),
        }
    }

    /// Gives a claim's work up: a dead letter, and the desk is asked to look.
    pub async fn bury(&self, claim: &Claim) -> DeadLetter {
        let letter = self.dead_letter(claim);
        let effects = vec![Effect::AddDeadLetter(letter.clone()), Effect::SetAttention(Some(Attention::DeadLetter))];
        assert!(matches!(self.settle(claim, effects, Then::Advance).await, Applied::Done { .. }));
        letter
    }

    /// Ends a dead letter.
    pub async fn requeue(&self, letter: &DeadLetter, end: DeadLetterEnd) -> Applied {
        let effects = vec![Effect::ClearDeadLetterAttention];
        let (operation, guards) = (self.operation(), Vec::new());
        let requeue = Requeue { operation, dead_letter: letter.id, guards, effects, end };
        self.store.requeue(requeue).await.unwrap()
    }
}

/// The thread of this name on the suite's channel.
pub fn thread(name: &str) -> ThreadKey {
    ThreadKey { kind: "webhook".parse().unwrap(), account: "shop".parse().unwrap(), thread: name.parse().unwrap() }
}

/// Threads that all lie in the partition of the first, which is `order-77`.
pub fn neighbours(count: usize) -> Vec<ThreadKey> {
    let partition = Partition::of(&thread("order-77"));
    (77..)
        .map(|number| thread(&format!("order-{number}")))
        .filter(|key| Partition::of(key) == partition)
        .take(count)
        .collect()
}

/// One of the suite's contacts.
pub fn contact(number: u8) -> Contact {
    Contact { id: ContactId::from_bytes([number; 16]), name: Some("Ada".into()), locale: None, identities: Vec::new() }
}

/// A message of this id, from the first contact or from the agent.
pub fn said(id: MessageId, direction: Direction) -> Message {
    let author = match direction {
        Direction::Inbound => Author::Contact { id: contact(1).id, name: Some("Ada".into()) },
        Direction::Outbound => Author::Agent,
    };
    Message {
        id,
        direction,
        author,
        external_id: None,
        content: Content::Text("Where is my order?".into()),
        reply_to: None,
        private: false,
        attachments: Vec::new(),
        auto_generated: false,
        sent_at: None,
        received_at: Timestamp::from_millis(0),
        buttons: Vec::new(),
        quote: None,
        forwarded_from: None,
        edited_at: None,
        settles_at: None,
    }
}

/// Makes each claim of the suite a test on the benches that `$open` makes: an `async fn() -> Bench`.
#[macro_export]
macro_rules! store_suite {
    ($open:path) => {
        $crate::store_suite! { @tests $open;
            inbound::a_thread_is_one_conversation_with_its_messages_in_order;
            inbound::a_new_conversation_is_as_it_was_named;
            inbound::a_known_message_changes_nothing_and_repeats_the_first_answer;
            inbound::the_same_message_many_times_at_once_is_taken_once;
            inbound::many_first_messages_at_once_make_one_conversation;
            inbound::seq_has_no_gaps_whoever_writes_at_once;
            inbound::t42_odd_names_of_threads_stay_apart;
            inbound::participants_stand_once_and_contacts_are_renewed;
            inbound::a_status_changes_only_from_where_it_may;
            inbound::plain_effects_do_what_they_say;
            guards::a_guard_that_fails_leaves_everything_as_it_was;
            guards::the_first_guard_that_fails_is_named;
            guards::guards_look_at_the_state_before_the_effects;
            guards::a_failed_guard_keeps_the_claim;
            guards::a_refused_effect_undoes_those_before_it;
            guards::nothing_of_a_refused_write_is_remembered;
            guards::a_refusal_does_not_touch_what_is_written_at_once;
            guards::what_is_unknown_is_not_found;
            guards::a_moment_must_be_exactly_the_one_named;
            guards::a_requeue_is_guarded;
            operations::a_repeated_append_repeats_its_answer;
            operations::a_repeated_settle_repeats_its_answer_though_its_claim_is_over;
            operations::a_repeated_release_repeats_its_answer;
            operations::a_repeated_requeue_repeats_its_answer;
            operations::a_repeated_claim_hands_out_the_same_claims;
            operations::a_claim_repeated_after_its_claims_are_over_hands_out_nothing_new;
            operations::a_refusal_by_a_guard_is_repeated_too;
            requests::a_repeated_request_has_its_effects_once;
            requests::a_request_is_known_in_every_conversation_and_before_its_guards;
            requests::a_key_with_another_fingerprint_is_refused;
            requests::a_request_that_had_no_effects_is_not_kept;
            requests::a_request_that_asks_for_nothing_is_known_too;
            requests::a_request_is_known_for_as_long_as_it_asked;
            requests::the_same_request_many_times_at_once_has_its_effects_once;
            requests::a_repeated_operation_is_looked_at_before_the_key;
            claims::a_claimed_lane_is_given_to_nobody_else;
            claims::claims_at_once_never_share_a_lane;
            claims::untried_lanes_come_first_when_asked_for;
            claims::lanes_of_one_conversation_do_not_wait_for_each_other;
            claims::conversations_do_not_wait_for_each_other;
            claims::a_lease_that_is_over_is_claimed_anew_and_the_old_fence_is_refused;
            claims::a_lease_that_is_over_is_refused_though_nobody_else_claimed;
            claims::renewing_counts_the_lease_from_now;
            claims::renewing_or_releasing_a_strange_claim_does_nothing;
            claims::new_work_never_moves_a_leased_lane;
            claims::a_lane_gives_one_event_after_the_other;
            claims::keeping_a_claim_keeps_its_event;
            claims::a_released_lane_is_due_at_its_moment_with_its_progress;
            claims::progress_ends_with_its_event;
            claims::waking_makes_due_what_waits_for_that;
            claims::waking_reaches_all_that_wait;
            claims::waking_leaves_a_claimed_lane_with_its_holder;
            claims::the_longest_due_comes_first;
            claims::a_lane_with_much_to_do_lets_others_in_between;
            claims::next_due_names_only_what_nobody_holds;
            claims::a_claim_shows_who_wrote;
            claims::a_limit_of_nothing_is_refused;
            claims::a_commit_claims_what_it_makes_due;
            claims::a_commit_claims_nothing_that_cannot_be_had;
            claims::settling_claims_the_lane_that_it_makes_due;
            claims::settling_claims_nothing_that_cannot_be_had;
            claims::settling_may_claim_the_same_lanes_next_event;
            claims::settling_may_claim_several_lanes;
            claims::a_message_that_is_claimed_may_be_intended_at_once;
            claims::a_message_that_is_not_claimed_is_not_intended;
            finding::a_message_is_found_by_what_it_came_with_and_by_what_it_is_known_as;
            finding::a_message_that_is_rewritten_reads_so_wherever_it_is_read;
            finding::what_becomes_of_messages_is_read_as_it_was_written;
            finding::a_pressed_button_waits_for_an_answer_like_a_message;
            finding::an_origin_is_noted_once;
            finding::what_channels_remember_stays_until_it_is_replaced;
            finding::what_comes_and_is_no_message_is_taken_once;
            finding::an_earlier_event_can_bring_something_to_be_fetched;
            lanes::the_first_unanswered_message_is_known;
            lanes::what_comes_while_the_desk_owns_is_not_due;
            lanes::handed_back_it_goes_on_at_the_first_unanswered;
            lanes::handed_back_without_anything_unanswered_it_goes_on_at_the_end;
            lanes::following_the_tail_skips_what_was_waiting;
            lanes::following_the_tail_gives_up_replays;
            lanes::work_left_from_before_is_not_skipped_by_an_owner_that_does_not_match;
            lanes::what_wakes_nobody_stays_so_when_handed_back;
            lanes::an_effect_that_moves_the_lane_has_the_last_word_over_advancing;
            lanes::a_message_that_is_passed_by_wakes_nobody_later;
            lanes::the_agent_lane_goes_on_behind_what_is_done;
            lanes::a_parked_agent_lane_that_goes_on_is_due_at_once;
            lanes::replays_are_not_done_with_what_came_before;
            timers::a_moment_comes_and_stays_until_it_is_changed;
            timers::the_earlier_of_two_moments_counts;
            timers::the_longest_past_come_first;
            timers::there_is_no_time_to_answer_by_where_nothing_waits;
            timers::what_waits_next_is_what_waits_for_an_answer_at_all;
            delivery::parts_are_frozen_once;
            delivery::a_claim_shows_the_status_and_every_part;
            delivery::a_status_is_known_by_the_messages_id;
            delivery::only_what_is_sent_has_a_status;
            delivery::another_conversations_message_is_out_of_reach;
            delivery::an_inbound_message_has_no_delivery;
            delivery::an_outbound_message_needs_a_status;
            dead_letters::they_are_listed_newest_first_in_pages;
            dead_letters::a_replay_comes_before_other_work_and_once;
            dead_letters::a_replay_makes_a_parked_lane_due;
            dead_letters::a_replay_waits_for_the_lanes_holder;
            dead_letters::a_replay_has_its_own_progress;
            dead_letters::a_dropped_one_is_gone_for_good;
            dead_letters::attention_goes_with_the_last_one;
            dead_letters::another_attention_stays;
            dead_letters::a_replay_knows_where_its_batch_began;
            reading::pages_are_complete_and_stable_while_new_rows_come;
            reading::the_conversation_that_grew_last_is_first;
            reading::filters_choose;
            reading::a_text_that_no_page_gave_is_refused;
            reading::a_page_has_from_1_to_200_rows;
            reading::messages_come_newest_first_and_events_in_order;
            reading::what_was_discarded_is_noted_until_told;
            reading::the_master_key_is_the_same_for_all;
            reading::a_closed_store_fails_every_call;
            reading::filtered_lists_have_pages_too;
            reading::an_answer_stays_within_its_bounds_and_says_whether_there_is_more;
            changes::every_change_comes_once_in_one_order;
            changes::a_write_that_was_refused_is_no_change;
            changes::an_answer_stays_within_its_bounds;
            changes::a_change_shows_what_it_happened_to;
            changes::a_filter_leaves_out_what_is_not_asked_for;
            changes::a_change_behind_many_others_is_found_at_once;
            changes::a_position_that_no_answer_gave_is_refused;
            changes::who_follows_many_writers_misses_nothing;
            census::conversations_and_dead_letters_are_counted;
            attachments::what_a_message_brings_stays_with_it;
            attachments::what_becomes_of_an_attachment_is_shown_by_its_message;
            attachments::a_message_that_is_gone_takes_no_attachments;
            attachments::what_has_to_be_fetched_is_found_until_it_is_done_with;
            attachments::of_two_who_look_one_fetches;
            attachments::an_erased_conversation_fetches_nothing;
            attachments::a_lane_that_waits_for_attachments_is_woken_by_their_message;
            attachments::that_files_lie_beside_the_store_is_known_for_ever;
            census::lanes_with_something_to_do_are_counted;
            census::what_is_replayed_is_as_old_as_its_event;
            interleaving::random_steps_of_several_workers_keep_every_promise;
            interleaving::workers_at_once_settle_every_event_once_and_in_order;
        }
    };
    (@tests $open:path; $($module:ident::$claim:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                $crate::store_suite::$module::$claim($open().await).await;
            }
        )*

        #[test]
        fn every_claim_of_the_suite_is_a_test() {
            assert_eq!($crate::store_suite::written_claims(), [$(stringify!($claim)),*].len());
        }
    };
}

/// Makes each claim about what leaves a store a test, like [`store_suite!`](crate::store_suite!).
#[macro_export]
macro_rules! keeping_suite {
    ($open:path) => {
        $crate::keeping_suite! { @tests $open;
            what_is_older_goes_from_the_front_of_its_log;
            what_has_still_to_be_done_stays_with_what_came_after_it;
            an_empty_log_goes_with_its_conversation_and_its_contacts;
            a_message_that_is_gone_is_known_for_as_long_as_was_asked;
            a_pass_goes_on_where_its_last_step_ended;
            dead_letters_go_with_their_events;
            who_follows_the_changes_is_told_what_is_gone;
            an_erased_contact_leaves_places_in_the_log_and_nothing_else;
            an_erased_conversation_is_not_worked_on_any_more;
            an_erased_thread_begins_anew;
            others_keep_what_they_said;
            a_long_conversation_is_erased_in_steps_that_can_be_resumed;
            who_is_unknown_is_not_erased;
            an_erased_contact_leaves_no_edit_no_reaction_and_no_press;
        }
    };
    (@tests $open:path; $($claim:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                $crate::store_suite::keeping::$claim($open().await).await;
            }
        )*
    };
}

/// Makes each claim about checking a store a test, like [`store_suite!`](crate::store_suite!).
#[macro_export]
macro_rules! checking_suite {
    ($open:path) => {
        $crate::checking_suite! { @tests $open;
            a_store_that_was_used_has_no_flaw;
            what_leaves_a_store_leaves_no_flaw;
            a_check_goes_on_where_its_last_step_ended;
            a_place_that_no_step_gave_is_refused;
        }
    };
    (@tests $open:path; $($claim:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                $crate::store_suite::checking::$claim($open().await).await;
            }
        )*
    };
}

/// Makes each claim about the daemons on a store a test, like [`store_suite!`](crate::store_suite!).
#[macro_export]
macro_rules! company_suite {
    ($open:path) => {
        $crate::company_suite! { @tests $open;
            everybody_hears_of_everybody_until_they_are_silent_for_too_long;
            what_a_daemon_tells_is_what_it_told_last;
            one_alone_holds_a_channel_until_it_goes_or_wants_it_no_more;
            a_silent_holder_loses_its_channel;
            of_many_at_once_one_gets_it;
            the_others_hear_who_wants_quiet_and_for_how_long;
            too_much_is_not_wanted;
            a_budget_has_so_many_places_in_any_span;
            a_place_is_taken_in_each_budget_or_in_none;
            a_budget_is_its_channels_own;
            of_many_at_once_each_gets_a_place_of_its_own;
            what_is_no_budget_is_refused;
        }
    };
    (@tests $open:path; $($claim:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                $crate::store_suite::company::$claim($open().await).await;
            }
        )*
    };
}

/// How many claims stand in the suite's files; none may be missing from the list of [`store_suite!`](crate::store_suite!).
#[must_use]
pub fn written_claims() -> usize {
    [
        include_str!("store_suite/attachments.rs"),
        include_str!("store_suite/census.rs"),
        include_str!("store_suite/changes.rs"),
        include_str!("store_suite/claims.rs"),
        include_str!("store_suite/dead_letters.rs"),
        include_str!("store_suite/delivery.rs"),
        include_str!("store_suite/finding.rs"),
        include_str!("store_suite/guards.rs"),
        include_str!("store_suite/inbound.rs"),
        include_str!("store_suite/interleaving.rs"),
        include_str!("store_suite/lanes.rs"),
        include_str!("store_suite/operations.rs"),
        include_str!("store_suite/reading.rs"),
        include_str!("store_suite/requests.rs"),
        include_str!("store_suite/timers.rs"),
    ]
    .iter()
    .map(|file| file.matches("\npub async fn ").count())
    .sum()
}
