//! What is derived from the master key, and random identifiers.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use frontdesk_model::{
    AccountId, AttachmentId, ContactId, ConversationId, DaemonId, DeadLetterId, DedupeKey, EventId, ExternalId,
    Identity, KindName, MasterKey, MessageId, OperationId, Partition, Secret, ThreadKey, Timestamp, Trust,
    UniqueWithin,
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::runtime::StartError;

/// How long a reply token opens its conversation.
const REPLY_TOKEN_LIFE_SECS: i64 = 24 * 60 * 60;
/// How long an attachment's signed address opens it.
const ATTACHMENT_LINK_LIFE_SECS: i64 = 24 * 60 * 60;
const REPLY_TOKEN_PREFIX: &str = "frt_";

/// Keyed hashes. Each use has a label of its own and every piece its length before it, so that no two inputs of
/// different meaning are the same bytes.
pub(crate) struct Keys {
    master: MasterKey,
}

impl Keys {
    pub(crate) fn new(master: MasterKey) -> Self {
        Self { master }
    }

    /// A master key for a store that has none yet.
    pub(crate) fn candidate() -> Result<MasterKey, StartError> {
        let mut key = [0u8; 32];
        fill(&mut key)?;
        let mut name = [0u8; 5];
        fill(&mut name)?;
        let id = name.iter().map(|byte| char::from_digit(u32::from(byte % 36), 36).unwrap_or('0'));
        let id: String = id.chain("key".chars()).collect();
        Ok(MasterKey { id, key: Secret::new(key) })
    }

    /// For what a daemon keeps outside of its store; the same for every daemon of the store.
    pub(crate) fn outside(&self, name: &str) -> [u8; 32] {
        self.hash("outside", &[name.as_bytes()])
    }

    fn hash(&self, label: &str, pieces: &[&[u8]]) -> [u8; 32] {
        // An HMAC takes a key of any length, so this cannot fail; the empty hash would only make every id alike.
        let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(self.master.key.expose()) else { return [0; 32] };
        for piece in std::iter::once(label.as_bytes()).chain(pieces.iter().copied()) {
            mac.update(&(piece.len() as u64).to_be_bytes());
            mac.update(piece);
        }
        mac.finalize().into_bytes().into()
    }

    fn short_hash(&self, label: &str, pieces: &[&[u8]]) -> [u8; 16] {
        let mut short = [0u8; 16];
        for (to, from) in short.iter_mut().zip(self.hash(label, pieces)) {
            *to = from;
        }
        short
    }

    pub(crate) fn dedupe(&self, thread: &ThreadKey, id: &ExternalId, within: UniqueWithin) -> DedupeKey {
        let scope = match within {
            UniqueWithin::Account => "",
            UniqueWithin::Thread => thread.thread.as_str(),
        };
        DedupeKey(self.short_hash(
            "dedupe",
            &[
                thread.kind.as_str().as_bytes(),
                thread.account.as_str().as_bytes(),
                scope.as_bytes(),
                id.as_str().as_bytes(),
            ],
        ))
    }

    /// Under which the message is found that an album's first item made.
    pub(crate) fn album(&self, thread: &ThreadKey, album: &str) -> DedupeKey {
        DedupeKey(self.short_hash(
            "album",
            &[
                thread.kind.as_str().as_bytes(),
                thread.account.as_str().as_bytes(),
                thread.thread.as_str().as_bytes(),
                album.as_bytes(),
            ],
        ))
    }

    /// Names something that happened, so that it has its effects once.
    pub(crate) fn occurrence(&self, thread: &ThreadKey, id: &ExternalId) -> [u8; 32] {
        let account = [thread.kind.as_str().as_bytes(), thread.account.as_str().as_bytes()];
        self.hash("occurrence", &[account[0], account[1], id.as_str().as_bytes()])
    }

    /// The thread of an input that could not be read.
    pub(crate) fn unreadable(&self, kind: &KindName, account: &AccountId, id: &ExternalId) -> String {
        let pieces = [kind.as_str().as_bytes(), account.as_str().as_bytes(), id.as_str().as_bytes()];
        format!("unreadable:{}", URL_SAFE_NO_PAD.encode(self.short_hash("unreadable", &pieces)))
    }

    /// The same person for the same verified address; a stranger of this conversation for any other.
    pub(crate) fn contact(&self, thread: &ThreadKey, identity: &Identity) -> ContactId {
        let scope = match identity.trust {
            Trust::Verified => "",
            Trust::Asserted | Trust::Guess => thread.thread.as_str(),
        };
        ContactId::from_bytes(self.short_hash(
            "contact",
            &[
                identity.kind.as_bytes(),
                thread.account.as_str().as_bytes(),
                scope.as_bytes(),
                identity.value.as_bytes(),
            ],
        ))
    }

    /// `frt_<key id>.<unix seconds of its end>.<event id>.<mac>`: opens one conversation for replies to one event.
    pub(crate) fn reply_token(&self, conversation: ConversationId, event: EventId, now: Timestamp) -> String {
        let end = now.as_secs().saturating_add(REPLY_TOKEN_LIFE_SECS);
        let event = URL_SAFE_NO_PAD.encode(event.to_bytes());
        let mac = self.reply_mac(conversation, &event, end);
        format!("{REPLY_TOKEN_PREFIX}{}.{end}.{event}.{mac}", self.master.id)
    }

    fn reply_mac(&self, conversation: ConversationId, event: &str, end: i64) -> String {
        let pieces: [&[u8]; 3] = [&conversation.to_bytes(), event.as_bytes(), &end.to_be_bytes()];
        URL_SAFE_NO_PAD.encode(self.short_hash("reply", &pieces))
    }

    /// The event that a reply token was made for, if it opens this conversation and is not over.
    pub(crate) fn reply_token_opens(
        &self,
        token: &str,
        conversation: ConversationId,
        now: Timestamp,
    ) -> Option<EventId> {
        let mut pieces = token.strip_prefix(REPLY_TOKEN_PREFIX)?.splitn(4, '.');
        let (key, end, event, mac) = (pieces.next()?, pieces.next()?, pieces.next()?, pieces.next()?);
        let end = end.parse::<i64>().ok()?;
        let wanted = self.reply_mac(conversation, event, end);
        let genuine = key == self.master.id && bool::from(wanted.as_bytes().ct_eq(mac.as_bytes()));
        if !genuine || end <= now.as_secs() {
            return None;
        }
        let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(event).ok()?.try_into().ok()?;
        Some(EventId::from_bytes(bytes))
    }

    /// The query of an attachment's signed address, and until when it opens: `expires` in unix seconds, `key` the id of the key, and
    /// the `signature` over all of that and the attachment.
    pub(crate) fn attachment_link(&self, id: AttachmentId, now: Timestamp) -> (String, Timestamp) {
        let end = now.as_secs().saturating_add(ATTACHMENT_LINK_LIFE_SECS);
        let signature = self.attachment_mac(id, end);
        let query = format!("expires={end}&key={}&signature={signature}", self.master.id);
        (query, Timestamp::from_millis(end.saturating_mul(1000)))
    }

    fn attachment_mac(&self, id: AttachmentId, end: i64) -> String {
        let id = id.to_string();
        let pieces: [&[u8]; 2] = [id.as_bytes(), &end.to_be_bytes()];
        URL_SAFE_NO_PAD.encode(self.hash("attachment", &pieces))
    }

    /// Whether such a query opens this attachment now.
    pub(crate) fn attachment_link_opens(&self, id: AttachmentId, query: &str, now: Timestamp) -> bool {
        let Some(LinkQuery { expires, key, signature }) = LinkQuery::read(query) else { return false };
        let wanted = self.attachment_mac(id, expires);
        key == self.master.id && bool::from(wanted.as_bytes().ct_eq(signature.as_bytes())) && expires > now.as_secs()
    }

    /// What a caller's own key for a request is stored as. Keys of two callers never meet.
    pub(crate) fn once(&self, by: &str, key: &str) -> [u8; 32] {
        self.hash("once", &[by.as_bytes(), key.as_bytes()])
    }
}

/// The query of an attachment's signed address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkQuery<'q> {
    expires: i64,
    key: &'q str,
    signature: &'q str,
}

impl<'q> LinkQuery<'q> {
    /// Exactly the three, each once, in any order: none of them needs an escape.
    pub(crate) fn read(query: &'q str) -> Option<Self> {
        let (mut expires, mut key, mut signature) = (None, None, None);
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=')?;
            let place = match name {
                "expires" => &mut expires,
                "key" => &mut key,
                "signature" => &mut signature,
                _ => return None,
            };
            if place.replace(value).is_some() {
                return None;
            }
        }
        let expires =
            expires.filter(|text| (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))?;
        Some(Self { expires: expires.parse().ok()?, key: key?, signature: signature? })
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), StartError> {
    getrandom::fill(bytes).map_err(|error| StartError::NoRandomness(error.to_string()))
}

/// Makes new identifiers.
#[derive(Debug, Default)]
pub(crate) struct Ids;

impl Ids {
    fn random<const N: usize>() -> [u8; N] {
        let mut bytes = [0u8; N];
        // The kernel's generator was asked at start already and does not fail after that; going on with guessable ids
        // would be worse than stopping.
        #[allow(clippy::expect_used)]
        getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
        bytes
    }

    pub(crate) fn conversation(&self, at: Timestamp, partition: Partition) -> ConversationId {
        ConversationId::new(at, partition, Self::random())
    }

    pub(crate) fn message(&self, at: Timestamp, partition: Partition) -> MessageId {
        MessageId::new(at, partition, Self::random())
    }

    pub(crate) fn event(&self, at: Timestamp, partition: Partition) -> EventId {
        EventId::new(at, partition, Self::random())
    }

    pub(crate) fn dead_letter(&self, at: Timestamp, partition: Partition) -> DeadLetterId {
        DeadLetterId::new(at, partition, Self::random())
    }

    pub(crate) fn attachment(&self, at: Timestamp) -> AttachmentId {
        AttachmentId::new(at, Self::random())
    }

    pub(crate) fn daemon(&self) -> DaemonId {
        DaemonId::from_bytes(Self::random())
    }

    pub(crate) fn operation(&self) -> OperationId {
        OperationId::from_bytes(Self::random())
    }
}

/// A random span up to `most`, in whole milliseconds.
pub(crate) fn jitter(most: std::time::Duration) -> std::time::Duration {
    let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).max(1);
    std::time::Duration::from_millis(u64::from_be_bytes(Ids::random()) % millis)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use super::*;

    fn keys() -> Keys {
        Keys::new(MasterKey { id: "abcdekey".into(), key: Secret::new([7; 32]) })
    }

    fn thread(text: &str) -> ThreadKey {
        ThreadKey { kind: "webhook".parse().unwrap(), account: "shop".parse().unwrap(), thread: text.parse().unwrap() }
    }

    fn conversation(entropy: u8) -> ConversationId {
        ConversationId::new(Timestamp::from_millis(1_000), Partition::of(&thread("t")), [entropy; 9])
    }

    #[test]
    fn a_reply_token_opens_its_own_conversation_for_a_day_and_no_other() {
        let keys = keys();
        let now = Timestamp::from_millis(1_700_000_000_000);
        let event = EventId::new(now, Partition::of(&thread("t")), [3; 9]);
        let token = keys.reply_token(conversation(1), event, now);
        assert_eq!(keys.reply_token_opens(&token, conversation(1), now), Some(event));
        assert_eq!(keys.reply_token_opens(&token, conversation(2), now), None, "another conversation");
        let later = now.plus(std::time::Duration::from_secs(24 * 3600));
        assert_eq!(keys.reply_token_opens(&token, conversation(1), later), None, "a day later");
        let longer = token.replace("1700086400", "1800086400");
        assert_ne!(longer, token, "the token carries its end");
        assert_eq!(keys.reply_token_opens(&longer, conversation(1), now), None, "a stretched end");
        assert_eq!(keys.reply_token_opens("frt_", conversation(1), now), None);
    }

    #[test]
    fn an_attachments_link_opens_it_alone_for_a_day() {
        let keys = keys();
        let now = Timestamp::from_millis(1_700_000_000_000);
        let message = MessageId::new(now, Partition::of(&thread("t")), [3; 9]);
        let (id, other) = (AttachmentId::of_message(message, 0), AttachmentId::of_message(message, 1));
        let (query, end) = keys.attachment_link(id, now);
        assert!(keys.attachment_link_opens(id, &query, now));
        assert!(!keys.attachment_link_opens(other, &query, now), "another attachment");
        assert!(!keys.attachment_link_opens(id, &query, end), "a day later");
        assert!(!keys.attachment_link_opens(id, &query.replace("1700086400", "1800086400"), now), "a stretched end");
        assert!(!keys.attachment_link_opens(id, &query.replace("abcdekey", "abcdefey"), now), "another key");
        for wrong in [String::new(), format!("{query}&"), format!("{query}&a=b"), format!("{query}&{query}")] {
            assert!(!keys.attachment_link_opens(id, &wrong, now), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_query_is_read_or_refused_and_none_opens(query in "\\PC*|(expires|key|signature|=|&|[0-9a-z]){0,20}") {
            let id = AttachmentId::new(Timestamp::from_millis(1), [1; 9]);
            proptest::prop_assert!(!keys().attachment_link_opens(id, &query, Timestamp::from_millis(0)));
        }
    }

    #[test]
    fn t42_ids_that_look_like_separators_stay_apart() {
        let keys = keys();
        let a = keys.dedupe(&thread("a}:{b"), &"c".parse().unwrap(), UniqueWithin::Thread);
        let b = keys.dedupe(&thread("a}"), &":{bc".parse().unwrap(), UniqueWithin::Thread);
        assert_ne!(a, b);
    }

    #[test]
    fn an_asserted_address_is_a_stranger_in_every_conversation() {
        let keys = keys();
        let of =
            |trust, text| keys.contact(&thread(text), &Identity { kind: "webhook".into(), value: "u42".into(), trust });
        assert_eq!(of(Trust::Verified, "one"), of(Trust::Verified, "two"));
        assert_ne!(of(Trust::Asserted, "one"), of(Trust::Asserted, "two"));
    }
}
