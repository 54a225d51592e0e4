//! Keys that a first start makes.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use frontdesk::keys::{KeyError, Keys, Origin, Source, provide};
use frontdesk_http::Scope;

use crate::world::Folder;

const BARE: &str =
    "[agent]\nurl = \"http://127.0.0.1:1/\"\n[channels.blog]\nkind = \"post\"\n[channels.shop]\nkind = \"post\"\n";

fn keys(folder: &Folder) -> Result<Keys, KeyError> {
    provide(&folder.load(&[]).unwrap(), &Source::Random)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_first_start_makes_a_key_for_each_channel_and_a_secret_for_the_agent() {
    let folder = Folder::new(BARE);
    let made = keys(&folder).unwrap();
    assert_eq!(made.channels.len(), 2);
    for key in &made.channels {
        assert_eq!(key.path, folder.path("data").join(format!("{}.token", key.channel)));
        assert_eq!(key.origin, Origin::Made);
        assert_eq!(mode(&key.path), 0o600);
        let token = key.token.expose();
        assert!(token.starts_with("fdt_") && token.len() == 36, "a prefix and 32 letters");
        assert_eq!(fs::read_to_string(&key.path).unwrap(), format!("{token}\n"), "the file and nothing else holds it");
    }
    assert_ne!(made.channels[0].token, made.channels[1].token);
    let agent = made.agent.clone().unwrap();
    assert_eq!(
        (agent.path.clone(), mode(&agent.path), agent.origin),
        (folder.path("data/agent.secret"), 0o600, Origin::Made)
    );
    assert!(agent.secret.expose().starts_with("whsec_"));
    assert_eq!(mode(&folder.path("data")), 0o700);
    let left: Vec<_> = fs::read_dir(folder.path("data")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "no drafts are left: {left:?}");
}

#[test]
fn a_key_opens_its_own_channel_for_handing_in_and_answering_only() {
    let grants = keys(&Folder::new(BARE)).unwrap().grants();
    assert_eq!(grants.len(), 2);
    let shop = grants.iter().find(|grant| grant.name == "shop").unwrap();
    assert_eq!(shop.channels, Some(vec!["shop".parse().unwrap()]));
    let has = |scope| shop.scopes.contains(scope);
    assert!(has(Scope::Ingest) && has(Scope::Agent) && !has(Scope::Desk) && !has(Scope::Admin));
}

#[test]
fn a_later_start_reads_the_same_keys_again() {
    let folder = Folder::new(BARE);
    let first = keys(&folder).unwrap();
    let second = keys(&folder).unwrap();
    assert!(second.channels.iter().all(|key| key.origin == Origin::Read));
    assert_eq!(second.agent.as_ref().unwrap().origin, Origin::Read);
    assert_eq!(first.agent.unwrap().secret, second.agent.unwrap().secret);
    let tokens = |keys: &[frontdesk::keys::ChannelKey]| keys.iter().map(|key| key.token.clone()).collect::<Vec<_>>();
    assert_eq!(tokens(&first.channels), tokens(&second.channels));
}

#[test]
fn a_draft_that_a_crash_left_behind_is_no_hindrance() {
    let folder = Folder::new(BARE);
    fs::create_dir(folder.path("data")).unwrap();
    folder.put("data/shop.new", b"fdt_half", 0o644);
    let made = keys(&folder).unwrap();
    let shop = made.channels.iter().find(|key| key.channel.as_str() == "shop").unwrap();
    assert_eq!((mode(&shop.path), shop.origin), (0o600, Origin::Made));
    assert!(!folder.path("data/shop.new").exists());
}

#[test]
fn nothing_is_made_where_the_configuration_says_it() {
    let folder = Folder::new(
        "[tokens.a]\ntoken = \"0123456789abcdef\"\nscopes = [\"agent\"]\n[agent]\nurl = \"http://127.0.0.1:1/\"\n\
         secret = \"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n[channels.shop]\nkind = \"post\"\n",
    );
    assert_eq!(keys(&folder).unwrap(), Keys::default());
    assert!(!folder.path("data").exists());
    let model = Folder::new(
        &format!("{BARE}[tokens.a]\ntoken = \"0123456789abcdef\"\nscopes = [\"agent\"]\n")
            .replace("[agent]\n", "[agent]\nprotocol = \"openai\"\nmodel = \"m\"\n"),
    );
    assert_eq!(keys(&model).unwrap(), Keys::default(), "nothing is signed for a chat-completions server");
    let no_agent = Folder::new("[channels.shop]\nkind = \"post\"\n");
    assert_eq!(keys(&no_agent).unwrap().agent, None);
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_mend() {
    let folder = Folder::new(BARE);
    let token = keys(&folder).unwrap().channels[1].token.clone();
    folder.put("data/shop.token", format!("{}\n", token.expose()).as_bytes(), 0o640);
    let error = keys(&folder).unwrap_err();
    assert!(matches!(error, KeyError::ReadableByOthers { mode: 0o640, .. }));
    let said = error.to_string();
    assert!(said.contains("mend: chmod 600") && !said.contains(token.expose()), "{said}");
}

#[test]
fn t37_a_file_that_holds_no_key_is_refused_and_not_repeated() {
    let folder = Folder::new(BARE);
    keys(&folder).unwrap();
    for bytes in [&b""[..], b"c4n4ry", b"fdt_c4n4ry", b"\xff\xfe", &[b'a'; 10_000]] {
        folder.put("data/shop.token", bytes, 0o600);
        let error = keys(&folder).unwrap_err();
        assert!(matches!(error, KeyError::NotAKey { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("c4n4ry"));
    }
    let shown = format!("{:?}", keys(&Folder::new(BARE)).unwrap());
    assert!(!shown.contains("fdt_") && !shown.contains("whsec_"), "{shown}");
}
