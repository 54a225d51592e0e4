//! Status, owner and attention in one number. One index over (channel, shelf, time) serves every list of conversations:
//! a list is merged from the shelves that it asks for, each of them in its order already. An index for each filter
//! would be rewritten with every message, as each holds the time at which the log last grew.

use frontdesk_model::*;

const STATUSES: [Status; 3] = [Status::Open, Status::Pending, Status::Resolved];
const OWNERS: [Owner; 2] = [Owner::Agent, Owner::Desk];
/// A new kind of attention goes to the end: stored numbers count on the order.
const ATTENTIONS: [Option<Attention>; 4] =
    [None, Some(Attention::DeadLetter), Some(Attention::Handoff), Some(Attention::Fallback)];

/// Conversations that no filter on these three tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shelf {
    pub(super) status: Status,
    owner: Owner,
    attention: Option<Attention>,
}

impl Shelf {
    pub(super) fn of(conversation: &Conversation) -> Self {
        let Conversation { status, owner, attention, .. } = *conversation;
        Self { status, owner, attention }
    }

    /// All there are, the place of each being its number.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let of = |attention| {
            STATUSES.iter().flat_map(move |status| {
                OWNERS.iter().map(move |owner| Self { status: *status, owner: *owner, attention })
            })
        };
        ATTENTIONS.into_iter().flat_map(of)
    }

    /// Stored; never changes.
    pub(super) fn number(self) -> i64 {
        Self::all().zip(0..).find(|(shelf, _)| *shelf == self).map_or(0, |(_, number)| number)
    }

    pub(super) fn numbered(number: i64) -> Option<Self> {
        Self::all().zip(0..).find(|(_, place)| *place == number).map(|(shelf, _)| shelf)
    }

    /// Whether a list asks for what stands here.
    pub(super) fn is_asked_for(self, filter: &ConversationFilter) -> bool {
        filter.status.is_none_or(|status| status == self.status)
            && filter.owner.is_none_or(|owner| owner == self.owner)
            && filter.attention.is_none_or(|attention| Some(attention) == self.attention)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shelf_has_a_number_of_its_own() {
        let numbers: Vec<i64> = Shelf::all().map(Shelf::number).collect();
        assert_eq!(numbers, (0..24).collect::<Vec<_>>());
        assert!(Shelf::all().all(|shelf| Shelf::numbered(shelf.number()) == Some(shelf)));
        assert_eq!(Shelf::numbered(24), None);
    }
}
