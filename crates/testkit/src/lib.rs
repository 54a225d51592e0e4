//! For tests only.

pub mod clock;
pub mod far_end;
