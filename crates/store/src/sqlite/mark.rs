//! Opaque texts that answers give and calls hand back: numbers behind a mark of the store, so that a text of another store, or
//! of another list, is not taken for one of this.

/// What a store's texts begin with.
#[derive(Clone, Copy)]
pub(super) struct Mark<'a>(&'a str);

impl<'a> Mark<'a> {
    pub(super) fn of(store_id: &'a str) -> Self {
        Self(store_id.get(..8).unwrap_or(store_id))
    }

    pub(super) fn write<const N: usize>(self, numbers: [i64; N]) -> String {
        numbers.iter().fold(self.0.to_owned(), |text, number| format!("{text}.{number}"))
    }

    /// Only what was written in this way: as many numbers, without a sign or leading zeros.
    pub(super) fn read<const N: usize>(self, text: &str) -> Option<[i64; N]> {
        let numbers = text.strip_prefix(self.0)?.strip_prefix('.')?;
        let numbers: Vec<i64> = numbers.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        let numbers: [i64; N] = numbers.try_into().ok()?;
        let written = numbers.iter().all(|number| *number >= 0) && self.write(numbers) == text;
        written.then_some(numbers)
    }
}
