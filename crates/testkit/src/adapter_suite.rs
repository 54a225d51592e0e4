//! What every channel owes, as claims that every channel is held to. The obligations are those of
//! [`frontdesk_model::Adapter`]; each claim is one function here.
//!
//! A channel describes itself by an [`AdapterCase`] and writes `adapter_suite!(TheCase)`, which makes one test of each claim.
//! The suite holds both sides in its hands: the inbox that a channel hands messages to, and the far end it sends to.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a claim that does not hold fails its test

mod claims;
mod inbox;

use std::{net::SocketAddr, sync::Arc};

use frontdesk_model::{Adapter, ChannelConfig, Outgoing, RouteRequest};

pub use self::{claims::*, inbox::*};
use crate::{
    clock::TestClock,
    far_end::{FarEnd, Received},
};

/// What the suite has to know of one kind of channel.
pub trait AdapterCase: Send + Sync {
    /// Checked settings of a channel that sends to this address, with its shortest time-out and with
    /// [`AdapterCase::secrets`] wherever its settings can hold any.
    fn config(&self, far_end: SocketAddr) -> Box<dyn ChannelConfig>;

    /// The clock's time, at which [`AdapterCase::good_request`] is valid.
    fn now(&self) -> frontdesk_model::Timestamp;

    /// A request to the channel's first route that hands in one message; each number another message. `None` where the
    /// channel has no routes.
    fn good_request(&self, number: u32) -> Option<RouteRequest>;

    /// Requests to the first route that must be refused, each with what is wrong about it.
    fn bad_requests(&self) -> Vec<(&'static str, RouteRequest)>;

    /// A message to send.
    fn outgoing(&self) -> Outgoing;

    /// By what the far end recognises a part that it has already taken; `None` when the channel has no such key.
    fn key(&self, received: &Received) -> Option<String>;

    /// Texts that may never be shown.
    fn secrets(&self) -> Vec<String>;
}

/// A channel of the case, and the clock that it was given.
pub fn channel(case: &dyn AdapterCase, far_end: &FarEnd) -> (Arc<dyn Adapter>, Arc<TestClock>) {
    channel_at(case, far_end.addr())
}

/// A channel that sends to an address, and the clock that it was given.
pub fn channel_at(case: &dyn AdapterCase, address: SocketAddr) -> (Arc<dyn Adapter>, Arc<TestClock>) {
    let clock = Arc::new(TestClock::new(case.now()));
    let adapter = case
        .config(address)
        .build(frontdesk_model::Surroundings { clock: Arc::clone(&clock) as _, public_url: None })
        .unwrap();
    (adapter, clock)
}

/// Makes a test of each claim, for a case that the expression builds.
#[macro_export]
macro_rules! adapter_suite {
    ($case:expr) => {
        $crate::adapter_suite!(@claims $case;
            capabilities_are_constant
            building_shows_no_secret
            answers_2xx_only_after_accept_returned
            passes_on_an_inbox_error_and_takes_the_repeat
            gives_a_duplicate_the_first_answer
            answers_as_its_description_says
            refuses_bad_requests_before_the_inbox
            renders_purely_and_at_least_one_part
            receive_may_be_dropped_at_any_time
            sends_once_and_says_sent
            sends_under_the_same_key_on_every_attempt
            is_uncertain_when_the_far_end_may_have_taken_it
            gives_up_on_a_far_end_that_hangs_in_time
            retries_later_when_no_connection_opens
            follows_no_redirect
            shows_no_secret_in_any_outcome
        );
    };
    (@claims $case:expr; $($claim:ident)*) => {
        $(
            #[tokio::test]
            async fn $claim() {
                $crate::adapter_suite::$claim(&$case).await;
            }
        )*
    };
}

#[cfg(test)]
mod tests;
