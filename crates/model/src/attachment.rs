//! Files that come with messages. A message says what is known of them; their bytes lie beside the store, named after what they hold.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::AttachmentId;

/// One file of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Its id. Of a message's attachment it names the message too.
    pub id: AttachmentId,
    /// What it is called, for people: no path, no control characters, at most [`Attachment::MAX_NAME`] characters.
    pub name: String,
    /// Whether its bytes are here.
    #[serde(flatten)]
    pub state: AttachmentState,
}

impl Attachment {
    /// The longest name, in characters.
    pub const MAX_NAME: usize = 120;
    /// A message has at most so many.
    pub const MAX_OF_A_MESSAGE: usize = 10;

    /// Whether its bytes have still to be fetched.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self.state, AttachmentState::Pending { .. })
    }

    /// What its bytes are, where they are here.
    #[must_use]
    pub fn stored(&self) -> Option<&Stored> {
        match &self.state {
            AttachmentState::Stored(stored) => Some(stored),
            AttachmentState::Pending { .. } | AttachmentState::Failed { .. } => None,
        }
    }
}

/// Whether an attachment's bytes are here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum AttachmentState {
    /// Not yet. Left by `stored` or `failed`.
    Pending {
        /// Where they are fetched from. Forgotten with this state: such an address may be a secret.
        #[serde(flatten)]
        at: FileAt,
        /// How often that was tried.
        #[serde(default)]
        tries: u32,
    },
    /// Yes. Final.
    Stored(Stored),
    /// They could not be had. Final.
    Failed {
        /// Why, in a sentence without the address.
        reason: String,
    },
}

/// Where a file that lies elsewhere can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileAt {
    /// At an address: `http` or `https`, with a host.
    Url(String),
    /// At the platform, under a name of its own: [`Adapter::locate`](crate::Adapter::locate) finds the address.
    Handle(String),
}

impl AttachmentState {
    /// As it is written in answers.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Stored(_) => "stored",
            Self::Failed { .. } => "failed",
        }
    }
}

/// What is known of bytes that are here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// What they are, as they show themselves: never only what somebody said of them.
    pub media_type: String,
    /// How many.
    pub size: u64,
    /// Their SHA-256, under which they lie.
    pub sha256: ContentHash,
}

/// The SHA-256 of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub [u8; 32]);

/// A text is not the hash that it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 64 hexadecimal digits in lower case")]
pub struct BadHash;

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContentHash {
    type Err = BadHash;

    fn from_str(text: &str) -> Result<Self, BadHash> {
        let digit = |letter: u8| match letter {
            b'0'..=b'9' => Ok(letter - b'0'),
            b'a'..=b'f' => Ok(letter - b'a' + 10),
            _ => Err(BadHash),
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(BadHash);
        }
        let mut bytes = [0; 32];
        for (to, [high, low]) in bytes.iter_mut().zip(pairs) {
            *to = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for ContentHash {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
