//! Identifiers. Each is a type of its own.
//!
//! The ones we make are 128 bits behind a prefix, written in Crockford's base32 (26 characters, lower case; upper case
//! is understood): 48 bits of milliseconds, 8 bits of partition, 72 random bits. So they sort by time, and a
//! conversation's or a message's partition can be read off it.
//! Contact ids are 128 bits of a keyed hash instead (see [`ContactId`]).

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use crate::Timestamp;

fn text_schema() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// How many partitions the model is spread over.
pub const PARTITIONS: u8 = 64;

/// One of [`PARTITIONS`] shares of all conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u8);

impl Partition {
    /// The partition of a thread: a hash of kind, platform account and thread id, so that renaming a channel changes
    /// nothing. Stable for ever: stored identifiers depend on it.
    #[must_use]
    pub fn of(thread: &ThreadKey) -> Self {
        let mut hash = Sha256::new();
        for part in [thread.kind.as_str(), thread.account.as_str(), thread.thread.as_str()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        let [first, ..] = digest;
        Self(first % PARTITIONS)
    }

    /// A number below [`PARTITIONS`].
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }
}

/// Why a text is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix}_ and 26 characters{}", if *.prefix == AttachmentId::PREFIX { ", or 28" } else { "" })]
pub struct BadId {
    prefix: &'static str,
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The text of an id, in one piece: written letter by letter, ids were a sixth of what it took to store a message.
struct IdText {
    bytes: [u8; 32],
    length: usize,
}

impl IdText {
    fn new(prefix: &str, value: u128) -> Self {
        let digits = (0..26u32).rev().map(|place| {
            let digit = usize::try_from((value >> (place * 5)) & 31).unwrap_or(0);
            ALPHABET.get(digit).copied().unwrap_or(b'0')
        });
        let mut text = Self { bytes: [0; 32], length: 0 };
        for (to, letter) in text.bytes.iter_mut().zip(prefix.bytes().chain([b'_']).chain(digits)) {
            *to = letter;
            text.length += 1;
        }
        text
    }

    fn as_str(&self) -> &str {
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

/// What a letter of [`ALPHABET`] stands for. `i`, `l`, `o` and `u` are none.
fn digit_of(letter: u8) -> Option<u8> {
    let (first, digit) = match letter.to_ascii_lowercase() {
        b'0'..=b'9' => (b'0', 0),
        b'a'..=b'h' => (b'a', 10),
        b'j'..=b'k' => (b'j', 18),
        b'm'..=b'n' => (b'm', 20),
        b'p'..=b't' => (b'p', 22),
        b'v'..=b'z' => (b'v', 27),
        _ => return None,
    };
    Some(letter.to_ascii_lowercase() - first + digit)
}

fn read_base32(text: &str) -> Option<u128> {
    if text.len() != 26 {
        return None;
    }
    let mut value: u128 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let digit = digit_of(byte)?;
        if place == 0 && digit > 7 {
            return None;
        }
        value = (value << 5) | u128::from(digit);
    }
    Some(value)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// What its text starts with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// From its 128 bits, as a store keeps them.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }

            /// Its 128 bits; their order is the order of the ids.
            #[must_use]
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(IdText::new($prefix, self.0).as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(read_base32)
                    .map(Self)
                    .ok_or(BadId { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(IdText::new($prefix, self.0).as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                text_schema().pattern(Some(concat!("^", $prefix, "_[0-9a-hjkmnp-tv-z]{26}$"))).into()
            }
        }

        impl ToSchema for $name {}
    };
}

macro_rules! timed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        id!($(#[$doc])* $name, $prefix);

        impl $name {
            /// A new id of this moment in this partition; `entropy` must be random.
            #[must_use]
            pub fn new(at: Timestamp, partition: Partition, entropy: [u8; 9]) -> Self {
                let [e0, e1, e2, e3, e4, e5, e6, e7, e8] = entropy;
                let random = u128::from_be_bytes([0, 0, 0, 0, 0, 0, 0, e0, e1, e2, e3, e4, e5, e6, e7, e8]);
                let millis = u128::from(at.as_millis().unsigned_abs()) & 0xffff_ffff_ffff;
                Self((millis << 80) | (u128::from(partition.number()) << 72) | random)
            }

            /// The partition it lies in.
            #[must_use]
            pub fn partition(self) -> Partition {
                let [_, _, _, _, _, _, number, ..] = self.to_bytes();
                Partition(number % PARTITIONS)
            }
        }
    };
}

timed_id!(
    /// One conversation.
    ConversationId, "cnv"
);
timed_id!(
    /// One message, in or out.
    MessageId, "msg"
);
timed_id!(
    /// One event of a conversation's log.
    EventId, "evt"
);
timed_id!(
    /// One dead letter.
    DeadLetterId, "dlt"
);
id!(
    /// A person on the other side: a keyed hash of (kind, account, address) at first sight, so that two first messages at
    /// once agree on it without asking anybody. A sender whom the platform does not vouch for gets an id of the
    /// conversation's own.
    ContactId, "cnt"
);
id!(
    /// Names one writing call, so that the call can be repeated without being carried out twice. Random.
    OperationId, "op"
);
id!(
    /// One life of one daemon. Random.
    DaemonId, "dmn"
);
id!(
    /// Names one claim of one lane: the fence that each write under it is checked against. Random, never used again.
    ClaimId, "clm"
);

/// One file: of a message, or handed in to be used by one.
///
/// A message's attachment carries the message's 128 bits and its place among the message's attachments, so that its message is
/// found without asking what else names it: `att_`, the message's 26 characters, and two for the place. One that was handed in by
/// itself has 128 bits of its own and no place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttachmentId {
    value: u128,
    place: Option<u8>,
}

impl AttachmentId {
    /// What its text starts with, before the underscore.
    pub const PREFIX: &'static str = "att";

    /// That of a message's attachment at a place, from 0.
    #[must_use]
    pub fn of_message(message: MessageId, place: u8) -> Self {
        Self { value: message.0, place: Some(place) }
    }

    /// A new one of no message; `entropy` must be random.
    #[must_use]
    pub fn new(at: Timestamp, entropy: [u8; 9]) -> Self {
        Self { value: MessageId::new(at, Partition(0), entropy).0, place: None }
    }

    /// The message that it belongs to, if it belongs to one.
    #[must_use]
    pub fn message(self) -> Option<MessageId> {
        self.place.map(|_| MessageId(self.value))
    }
}

impl fmt::Display for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(IdText::new(Self::PREFIX, self.value).as_str())?;
        let Some(place) = self.place else { return Ok(()) };
        for digit in [place >> 5, place & 31] {
            let letter = ALPHABET.get(usize::from(digit)).copied().unwrap_or(b'0');
            fmt::Write::write_char(f, char::from(letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for AttachmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AttachmentId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = BadId { prefix: Self::PREFIX };
        let Some(digits) = text.strip_prefix("att_").filter(|digits| digits.is_ascii()) else { return Err(bad) };
        let (value, place) = digits.split_at_checked(26).unwrap_or((digits, ""));
        let Some(value) = read_base32(value) else { return Err(bad) };
        let place = match *place.as_bytes() {
            [] => None,
            [high, low] => match (digit_of(high), digit_of(low)) {
                (Some(high @ 0..=7), Some(low)) => Some(high << 5 | low),
                _ => return Err(bad),
            },
            _ => return Err(bad),
        };
        Ok(Self { value, place })
    }
}

impl Serialize for AttachmentId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AttachmentId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl PartialSchema for AttachmentId {
    fn schema() -> RefOr<Schema> {
        text_schema().pattern(Some("^att_[0-9a-hjkmnp-tv-z]{26}([0-7][0-9a-hjkmnp-tv-z])?$")).into()
    }
}

impl ToSchema for AttachmentId {}

/// A position in a conversation's log: 1 for the first event, without gaps. 0 stands before all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Where a log begins.
    #[must_use]
    pub fn first() -> Self {
        Self(1)
    }

    /// Whether a log begins here.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.0 == 1
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A conversation's version: moves only on what a contact does, on a teammate's message, and on changes of owner or
/// status by others than the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Version(pub u64);

/// A text taken from outside breaks the bounds of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {rule}")]
pub struct BadName {
    what: &'static str,
    rule: &'static str,
}

fn is_plain_name(text: &str) -> bool {
    let mut letters = text.bytes();
    letters.next().is_some_and(|first| first.is_ascii_lowercase())
        && letters.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && text.len() <= 64
}

fn is_opaque_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= 512 && !text.chars().any(char::is_control)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks the bounds.
            ///
            /// # Errors
            /// The text breaks them.
            pub fn new(text: impl AsRef<str>) -> Result<Self, BadName> {
                let text = text.as_ref();
                if $check(text) { Ok(Self(text.into())) } else { Err(BadName { what: $what, rule: $rule }) }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(from)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                text_schema().description(Some(concat!($what, ": ", $rule))).into()
            }
        }

        impl ToSchema for $name {}
    };
}

name!(
    /// A configured channel's name: the `shop` of `[channels.shop]`.
    ChannelName, "a channel's name", is_plain_name,
    "lower-case letters, digits and underscores, a letter first, at most 64"
);
name!(
    /// A kind of channel, such as `webhook`.
    KindName, "a kind", is_plain_name,
    "lower-case letters, digits and underscores, a letter first, at most 64"
);
name!(
    /// The account a channel speaks as on its platform. Threads belong to it, not to the channel's name.
    AccountId, "an account", is_opaque_text, "1 to 512 bytes without control characters"
);
name!(
    /// A platform's own name for a thread: a chat's number, an order's id.
    ThreadId, "a thread", is_opaque_text, "1 to 512 bytes without control characters"
);
name!(
    /// A platform's own name for a message. What arrives twice under one of these (within its account; for the webhook
    /// kind within its thread) is one message.
    ExternalId, "an external id", is_opaque_text, "1 to 512 bytes without control characters"
);

/// What makes two messages belong to one conversation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ThreadKey {
    /// The kind of channel.
    pub kind: KindName,
    /// The account there.
    pub account: AccountId,
    /// The thread within the account.
    pub thread: ThreadId,
}

/// A keyed hash over (kind, account, external id): known means seen before. Made by the engine.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DedupeKey(pub [u8; 16]);

impl fmt::Debug for DedupeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(IdText::new("dedupe", u128::from_be_bytes(self.0)).as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_of_the_alphabet_and_no_other_is_a_digit() {
        for letter in 0..=u8::MAX {
            let place = ALPHABET.iter().position(|known| *known == letter.to_ascii_lowercase());
            assert_eq!(digit_of(letter).map(usize::from), place, "{letter}");
        }
    }
}
