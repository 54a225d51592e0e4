//! Standard Webhooks signatures: HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{body}`, in base64 behind `v1,`.
//!
//! The body is taken as the bytes that came: re-ordered or re-spaced JSON is another body. The id and the timestamp are
//! taken as the text of their headers. A header may carry several signatures (the sender is changing its secret) and a channel
//! several secrets (we are); one match is enough. <https://github.com/standard-webhooks/standard-webhooks>

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use frontdesk_model::{Secret, Timestamp};
use hmac::{Hmac, Mac};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
const VERSION: &str = "v1";
/// A secret holds at least this many bytes.
pub(super) const MIN_SECRET: usize = 24;
/// A secret holds at most this many bytes.
pub(super) const MAX_SECRET: usize = 64;
/// How far a request's timestamp may lie from our clock, either way.
pub(super) const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// A secret that requests are signed and verified with.
#[derive(Clone)]
pub(super) struct SigningKey(Hmac<Sha256>);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Why a text is no secret. Shows nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadSecret {
    #[error("does not start with whsec_")]
    Prefix,
    #[error("is not base64 behind whsec_")]
    Base64,
    #[error("holds {0} bytes, where {MIN_SECRET} to {MAX_SECRET} are needed")]
    Length(usize),
}

/// Why a request is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// None of the signatures is one of ours over these bytes.
    NoMatch,
    /// The signature is right and the timestamp is no number of seconds.
    NotATimestamp,
    /// The signature is right, and too old or too far ahead.
    Stale,
}

/// The three headers of a signed request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) id: &'a str,
    pub(super) timestamp: &'a str,
    pub(super) signatures: &'a str,
}

impl SigningKey {
    pub(super) fn parse(secret: &Secret) -> Result<Self, BadSecret> {
        let encoded = secret.expose().strip_prefix(PREFIX).ok_or(BadSecret::Prefix)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| BadSecret::Base64)?;
        if !(MIN_SECRET..=MAX_SECRET).contains(&bytes.len()) {
            return Err(BadSecret::Length(bytes.len()));
        }
        Hmac::new_from_slice(&bytes).map(Self).map_err(|_| BadSecret::Length(bytes.len()))
    }

    /// The signature as it stands in the header.
    pub(super) fn sign(&self, id: &str, timestamp: &str, body: &[u8]) -> String {
        format!("{VERSION},{}", STANDARD.encode(self.mac(id, timestamp, body).finalize().into_bytes()))
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        for piece in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(piece);
        }
        mac
    }
}

impl Signed<'_> {
    /// Checks the signature, and then the timestamp that it covers.
    pub(super) fn verify(&self, keys: &[SigningKey], body: &[u8], now: Timestamp) -> Result<(), Refused> {
        let given: Vec<Vec<u8>> = self.signatures.split(' ').filter_map(decoded).collect();
        let matches = keys.iter().any(|key| {
            let mac = key.mac(self.id, self.timestamp, body);
            // Compares in constant time, whatever the length.
            given.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
        });
        if !matches {
            return Err(Refused::NoMatch);
        }
        let seconds: i64 = self.timestamp.parse().map_err(|_| Refused::NotATimestamp)?;
        let off = seconds.abs_diff(now.as_secs());
        if off > TOLERANCE.as_secs() { Err(Refused::Stale) } else { Ok(()) }
    }
}

fn decoded(signature: &str) -> Option<Vec<u8>> {
    let (version, encoded) = signature.split_once(',')?;
    if version != VERSION {
        return None;
    }
    STANDARD.decode(encoded).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use super::*;

    /// The example of the reference implementations.
    #[test]
    fn signs_as_the_reference_does() {
        let key = SigningKey::parse(&Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned())).unwrap();
        let signature = key.sign(
            "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
            "1649367553",
            br#"{"email":"test@example.com","username":"test_user"}"#,
        );
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn refuses_what_is_no_secret_without_showing_it() {
        let parse = |text: &str| SigningKey::parse(&Secret::new(text.to_owned())).unwrap_err();
        assert_eq!(parse("C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), BadSecret::Prefix);
        assert_eq!(parse("whsec_not base64"), BadSecret::Base64);
        assert_eq!(parse(&format!("whsec_{}", STANDARD.encode([1; 23]))), BadSecret::Length(23));
        assert_eq!(parse(&format!("whsec_{}", STANDARD.encode([1; 65]))), BadSecret::Length(65));
        for length in [MIN_SECRET, MAX_SECRET] {
            let secret = Secret::new(format!("whsec_{}", STANDARD.encode(vec![1; length])));
            assert_eq!(format!("{:?}", SigningKey::parse(&secret).unwrap()), "[secret]");
        }
    }
}
