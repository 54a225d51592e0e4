//! MessagePack, as far as the scripts speak it (`cmsgpack`): what goes into them, what comes out, what they store.
//!
//! Lua knows one kind of text, so bytes and text are one here too, and absent things are `nil` or `false`. A Lua table with a
//! gap at its end is shorter, so a place beyond the end of a list reads as absent.

use frontdesk_model::StoreError;

/// What is stored, or what a script answered, is not in a form that this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

impl From<Unreadable> for StoreError {
    fn from(_: Unreadable) -> Self {
        StoreError::Unavailable("what is stored in Redis is not in a form that this program knows".into())
    }
}

/// Writes values one after the other; a list or map is opened by its length.
#[derive(Debug, Default, Clone)]
pub(super) struct Packer(Vec<u8>);

impl Packer {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn list(&mut self, length: usize) -> &mut Self {
        self.head(length, 0x90, 16, [0xdc, 0xdd])
    }

    pub(super) fn map(&mut self, length: usize) -> &mut Self {
        self.head(length, 0x80, 16, [0xde, 0xdf])
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let length = bytes.len();
        match u8::try_from(length) {
            Ok(short) if short >= 32 => self.0.extend([0xd9, short]),
            _ => {
                self.head(length, 0xa0, 32, [0xda, 0xdb]);
            }
        }
        self.0.extend(bytes);
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn number(&mut self, number: i64) -> &mut Self {
        match (u8::try_from(number), u32::try_from(number)) {
            (Ok(small), _) if small < 128 => self.0.push(small),
            (_, Ok(middle)) => {
                self.0.push(0xce);
                self.0.extend(middle.to_be_bytes());
            }
            _ => {
                self.0.push(0xd3);
                self.0.extend(number.to_be_bytes());
            }
        }
        self
    }

    pub(super) fn flag(&mut self, flag: bool) -> &mut Self {
        self.0.push(if flag { 0xc3 } else { 0xc2 });
        self
    }

    /// What is not there.
    pub(super) fn none(&mut self) -> &mut Self {
        self.flag(false)
    }

    /// A value, or what is not there.
    pub(super) fn maybe<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) -> &mut Self {
        match value {
            Some(value) => put(self, value),
            None => {
                self.none();
            }
        }
        self
    }

    /// A value that is packed already.
    pub(super) fn raw(&mut self, packed: &[u8]) -> &mut Self {
        self.0.extend(packed);
        self
    }

    fn head(&mut self, length: usize, fixed: u8, below: usize, [two, four]: [u8; 2]) -> &mut Self {
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short), _) if length < below => self.0.push(fixed | short),
            (_, Ok(middle)) => {
                self.0.push(two);
                self.0.extend(middle.to_be_bytes());
            }
            _ => {
                self.0.push(four);
                // Nothing that is sent or stored comes near four gigabytes: Redis takes half a gigabyte at most.
                self.0.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
            }
        }
        self
    }

    pub(super) fn done(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item<'a> {
    Absent,
    True,
    Number(i64),
    Bytes(&'a [u8]),
    List(Vec<Item<'a>>),
    Map(Vec<(Item<'a>, Item<'a>)>),
}

/// What is beyond a list's end, or not in a map.
const ABSENT: &Item<'static> = &Item::Absent;
/// As deep as the scripts go, and some more.
const DEPTH: u8 = 16;

impl<'a> Item<'a> {
    /// The one value that these bytes are.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let mut reader = Reader { rest: bytes };
        let item = reader.item(DEPTH)?;
        if reader.rest.is_empty() { Ok(item) } else { Err(Unreadable) }
    }

    pub(super) fn list(&self) -> Result<&[Self], Unreadable> {
        match self {
            Self::List(items) => Ok(items),
            Self::Absent => Ok(&[]),
            _ => Err(Unreadable),
        }
    }

    /// The value at a place of a list, from 0.
    pub(super) fn at(&self, place: usize) -> &Self {
        match self {
            Self::List(items) => items.get(place).unwrap_or(ABSENT),
            _ => ABSENT,
        }
    }

    /// The value of a name in a map.
    pub(super) fn get(&self, name: &str) -> &Self {
        let Self::Map(entries) = self else { return ABSENT };
        let named = |key: &Self| matches!(key, Self::Bytes(bytes) if *bytes == name.as_bytes());
        entries.iter().find(|(key, _)| named(key)).map_or(ABSENT, |(_, value)| value)
    }

    pub(super) fn bytes(&self) -> Result<&'a [u8], Unreadable> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(Unreadable),
        }
    }

    pub(super) fn text(&self) -> Result<&'a str, Unreadable> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Unreadable)
    }

    pub(super) fn number(&self) -> Result<i64, Unreadable> {
        match self {
            Self::Number(number) => Ok(*number),
            _ => Err(Unreadable),
        }
    }

    pub(super) fn count(&self) -> Result<u64, Unreadable> {
        u64::try_from(self.number()?).map_err(|_| Unreadable)
    }

    pub(super) fn id(&self) -> Result<[u8; 16], Unreadable> {
        self.bytes()?.try_into().map_err(|_| Unreadable)
    }

    pub(super) fn is_true(&self) -> bool {
        *self == Self::True
    }

    /// `None` where nothing is.
    pub(super) fn maybe(&self) -> Option<&Self> {
        (*self != Self::Absent).then_some(self)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Unreadable)?;
        self.rest = rest;
        Ok(taken)
    }

    fn unsigned(&mut self, length: usize) -> Result<u64, Unreadable> {
        Ok(self.take(length)?.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn signed(&mut self, length: usize) -> Result<i64, Unreadable> {
        let unused = 64 - 8 * u32::try_from(length).map_err(|_| Unreadable)?;
        let shifted = self.unsigned(length)?.checked_shl(unused).ok_or(Unreadable)?;
        Ok(i64::from_be_bytes(shifted.to_be_bytes()) >> unused)
    }

    fn length(&mut self, length: usize) -> Result<usize, Unreadable> {
        usize::try_from(self.unsigned(length)?).map_err(|_| Unreadable)
    }

    fn item(&mut self, depth: u8) -> Result<Item<'a>, Unreadable> {
        let [head] = *self.take(1)? else { return Err(Unreadable) };
        let small = usize::from(head & 0x0f);
        match head {
            0x00..=0x7f => Ok(Item::Number(i64::from(head))),
            0x80..=0x8f => self.map(small, depth),
            0x90..=0x9f => self.list(small, depth),
            0xa0..=0xbf => Ok(Item::Bytes(self.take(usize::from(head & 0x1f))?)),
            0xc0 | 0xc2 => Ok(Item::Absent),
            0xc3 => Ok(Item::True),
            0xc4 | 0xd9 => self.long_bytes(1),
            0xc5 | 0xda => self.long_bytes(2),
            0xc6 | 0xdb => self.long_bytes(4),
            0xcc => Ok(Item::Number(i64::try_from(self.unsigned(1)?).map_err(|_| Unreadable)?)),
            0xcd => Ok(Item::Number(i64::try_from(self.unsigned(2)?).map_err(|_| Unreadable)?)),
            0xce => Ok(Item::Number(i64::try_from(self.unsigned(4)?).map_err(|_| Unreadable)?)),
            0xcf => Ok(Item::Number(i64::try_from(self.unsigned(8)?).map_err(|_| Unreadable)?)),
            0xd0 => Ok(Item::Number(self.signed(1)?)),
            0xd1 => Ok(Item::Number(self.signed(2)?)),
            0xd2 => Ok(Item::Number(self.signed(4)?)),
            0xd3 => Ok(Item::Number(self.signed(8)?)),
            0xdc => {
                let length = self.length(2)?;
                self.list(length, depth)
            }
            0xdd => {
                let length = self.length(4)?;
                self.list(length, depth)
            }
            0xde => {
                let length = self.length(2)?;
                self.map(length, depth)
            }
            0xdf => {
                let length = self.length(4)?;
                self.map(length, depth)
            }
            0xe0..=0xff => Ok(Item::Number(i64::from(i8::from_be_bytes([head])))),
            _ => Err(Unreadable),
        }
    }

    fn long_bytes(&mut self, length: usize) -> Result<Item<'a>, Unreadable> {
        let length = self.length(length)?;
        Ok(Item::Bytes(self.take(length)?))
    }

    fn list(&mut self, length: usize, depth: u8) -> Result<Item<'a>, Unreadable> {
        let depth = depth.checked_sub(1).ok_or(Unreadable)?;
        (0..length).map(|_| self.item(depth)).collect::<Result<_, _>>().map(Item::List)
    }

    fn map(&mut self, length: usize, depth: u8) -> Result<Item<'a>, Unreadable> {
        let depth = depth.checked_sub(1).ok_or(Unreadable)?;
        (0..length).map(|_| Ok((self.item(depth)?, self.item(depth)?))).collect::<Result<_, _>>().map(Item::Map)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let long = vec![7u8; 70_000];
        let mut packer = Packer::new();
        packer.list(9).none().flag(true).bytes(b"").bytes(&[b'x'; 31]).bytes(&[b'x'; 32]).bytes(&[b'x'; 256]);
        packer.bytes(&long).map(1).text("at").number(253_402_300_799_999).list(0);
        let bytes = packer.done();
        let item = Item::read(&bytes).unwrap();
        assert_eq!(item.list().unwrap().len(), 9);
        assert_eq!(item.at(0), &Item::Absent);
        assert!(item.at(1).is_true());
        let lengths: Vec<usize> = (2..7).map(|place| item.at(place).bytes().unwrap().len()).collect();
        assert_eq!(lengths, [0, 31, 32, 256, 70_000]);
        assert_eq!(item.at(7).get("at").number(), Ok(253_402_300_799_999));
        assert_eq!((item.at(7).get("no"), item.at(12)), (ABSENT, ABSENT));
        assert_eq!(item.at(8).list(), Ok(&[][..]));
    }

    #[test]
    fn numbers_of_every_width_are_read() {
        for number in [0, 1, 127, 128, 255, 65_535, 4_294_967_295, 4_294_967_296, i64::MAX, -1, -32, -33, i64::MIN] {
            let bytes = Packer::new().number(number).done();
            assert_eq!(Item::read(&bytes).unwrap().number(), Ok(number));
        }
        for (bytes, number) in [(vec![0xcc, 200], 200), (vec![0xcd, 1, 0], 256), (vec![0xd1, 0xff, 0x00], -256)] {
            assert_eq!(Item::read(&bytes).unwrap().number(), Ok(number));
        }
    }

    #[test]
    fn what_is_broken_is_refused_without_a_panic() {
        let nested = vec![0x91; 40];
        for bytes in [&[][..], &[0xc1], &[0xd9, 5, 1], &[0x92, 1], &[0xdd, 0xff, 0xff, 0xff, 0xff], &[1, 1], &nested] {
            assert_eq!(Item::read(bytes), Err(Unreadable), "{bytes:?}");
        }
    }
}
