//! Where the running daemon's socket is: in the daemon's folder, which the configuration names: with SQLite its
//! store's, else [store] folder.
//!
//! An installed daemon runs under systemd, where relative paths start in the service's state folder. Who calls the command has
//! no such variable, so for the installed configuration that folder is looked into as well.

use std::path::{Path, PathBuf};

use super::{Failure, Reach};
use crate::{
    config::{Backend, DEFAULT_FILE, Environment, Store, locate, store_of},
    control,
};

/// Where a packaged daemon has its configuration and its state.
const INSTALLED: Installed<'static> = Installed { file: "/etc/frontdesk/channels.toml", state: "/var/lib/frontdesk" };

/// A daemon that systemd runs.
#[derive(Debug, Clone, Copy)]
struct Installed<'a> {
    file: &'a str,
    state: &'a str,
}

/// Where to look, in this order.
pub(super) fn sockets(
    reach: &Reach,
    config: Option<&Path>,
    environment: &Environment,
) -> Result<Vec<PathBuf>, Failure> {
    looked_for(reach, config, environment, INSTALLED)
}

/// What the configuration says of the store, in the same order: where there are two, their folders differ.
pub(super) fn stores(config: Option<&Path>, environment: &Environment) -> Result<Vec<Store>, Failure> {
    named(config, environment, INSTALLED)
}

/// The one of them that is a file: the first that is there. `None`: there is no file.
pub(super) fn kept_in_a_file(stores: &[Store]) -> Option<&Store> {
    let files = || stores.iter().filter(|store| store.backend == Backend::Sqlite);
    files().find(|store| store.folder.is_dir()).or_else(|| files().next())
}

fn looked_for(
    reach: &Reach,
    config: Option<&Path>,
    environment: &Environment,
    installed: Installed<'_>,
) -> Result<Vec<PathBuf>, Failure> {
    if let Some(socket) = &reach.socket {
        return Ok(vec![socket.clone()]);
    }
    let stores = named(config, environment, installed)?;
    Ok(stores.iter().map(|store| store.folder.join(control::FILE)).collect())
}

fn named(config: Option<&Path>, environment: &Environment, installed: Installed<'_>) -> Result<Vec<Store>, Failure> {
    let file = locate(config, environment);
    let nothing_here = file == Path::new(DEFAULT_FILE) && !file.exists() && Path::new(installed.file).exists();
    let file = if nothing_here { PathBuf::from(installed.file) } else { file };
    let mut stores = vec![store_of(&file, environment)?];
    if file == Path::new(installed.file) && environment.get("STATE_DIRECTORY").is_none() {
        let as_service = environment.with("STATE_DIRECTORY", installed.state);
        stores.insert(0, store_of(&file, &as_service)?);
    }
    stores.dedup();
    Ok(stores)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use super::*;

    fn shown(found: Result<Vec<PathBuf>, Failure>, folder: &Path) -> Vec<String> {
        let bare = |path: PathBuf| path.to_string_lossy().replace(&*folder.to_string_lossy(), "~");
        found.unwrap().into_iter().map(bare).collect()
    }

    #[test]
    fn the_socket_is_in_the_folder_that_the_configuration_names_whatever_else_is_wrong_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("desk.toml");
        let nowhere = Installed { file: "/not/there.toml", state: "/not/there" };
        let none = Environment::default();
        let look = |text: &str, environment: &Environment| {
            std::fs::write(&file, text).unwrap();
            shown(looked_for(&Reach::default(), Some(&file), environment, nowhere), folder.path())
        };
        let with_secret = "[agent]\nurl = 7\nsecret = { env = \"NOT_THERE\" }\n[channels.x]\nkind = \"odd\"\n";
        assert_eq!(look(with_secret, &none), ["~/./data/control.sock"]);
        assert_eq!(look("[store]\nurl = \"sqlite:./kept\"\ndurability = 3\n", &none), ["~/./kept/control.sock"]);
        assert_eq!(look("[store]\nurl = \"sqlite:/kept\"\n", &none), ["/kept/control.sock"]);
        let shared = "[store]\nurl = \"redis://x/0\"\npassword = { env = \"NOT_THERE\" }\n";
        assert_eq!(look(shared, &none), ["~/./data/control.sock"]);
        assert_eq!(look(&format!("{shared}folder = \"desk\"\n"), &none), ["~/desk/control.sock"]);
        let moved = none.with("FRONTDESK__STORE__URL", "sqlite:/elsewhere");
        assert_eq!(look("", &moved), ["/elsewhere/control.sock"]);
        let named = Reach { socket: Some("a.sock".into()) };
        assert_eq!(shown(looked_for(&named, Some(Path::new("/no.toml")), &none, nowhere), folder.path()), ["a.sock"]);
        for bad in ["[store]\nurl = \"mysql://x\"\n", "[store\n", "store = 3\n"] {
            std::fs::write(&file, bad).unwrap();
            let refused = looked_for(&Reach::default(), Some(&file), &none, nowhere).unwrap_err();
            assert_eq!(refused.exit_code(), 2, "{bad}");
            assert!(refused.said(false).contains("mend: "), "{bad}");
        }
    }

    #[test]
    fn an_installed_daemon_is_found_in_its_state_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("channels.toml");
        std::fs::write(&file, "[store]\nurl = \"sqlite:data\"\n").unwrap();
        let installed = Installed { file: file.to_str().unwrap(), state: "/state" };
        let environment = Environment::default();
        let wanted = ["/state/data/control.sock", "~/data/control.sock"];
        for config in [None, Some(file.as_path())] {
            assert_eq!(shown(looked_for(&Reach::default(), config, &environment, installed), folder.path()), wanted);
        }
    }
}
