//! Readers: what each channel writes, as a tree. None of them fails: what cannot be understood is text.

pub(crate) mod build;
pub mod discord;
mod html;
mod markdown;
mod plain;
mod telegram;

pub use self::{
    discord::{discord, discord_with},
    html::html,
    markdown::markdown,
    plain::{link_addresses, plain},
    telegram::telegram,
};
