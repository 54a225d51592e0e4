//! Where the daemon is reached: the public listener, the administrators' one, and the control socket in the daemon's folder.
//!
//! A supervisor may hand the TCP listeners over (systemd's socket activation, names `frontdesk` and `frontdesk-admin`):
//! then connections that are made while the daemon is down wait in the kernel and are served after the start.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};

use crate::{
    config::{Config, Environment},
    control,
};

/// The name of the public socket in a socket unit. One without a name counts as it.
const PUBLIC: &str = "frontdesk";
/// The name of the administrators' socket in a socket unit.
const ADMIN: &str = "frontdesk-admin";

/// Everything that is listened on.
pub(crate) struct Listeners {
    pub(crate) public: TcpListener,
    pub(crate) admin: Option<TcpListener>,
    pub(crate) control: Option<Control>,
}

/// The control socket; its file goes with it.
pub(crate) struct Control {
    pub(crate) listener: UnixListener,
    pub(crate) file: SocketFile,
}

/// A socket's file, removed when it is dropped.
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Opens all of them.
///
/// # Errors
/// What cannot be listened on, with the mend.
pub(crate) async fn open(config: &Config, environment: &Environment) -> Result<Listeners> {
    let mut handed = handed_over(environment)?;
    let public = match handed.public.take() {
        Some(listener) => listener,
        None => bind(config.server.listen, "listen").await?,
    };
    let admin = match (handed.admin.take(), config.server.admin_listen) {
        (Some(listener), _) => Some(listener),
        (None, Some(address)) => Some(bind(address, "admin_listen").await?),
        (None, None) => None,
    };
    Ok(Listeners { public, admin, control: control(&config.store.folder) })
}

async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let mend = match error.kind() {
            io::ErrorKind::AddrInUse => format!("stop what listens there, or set {key} in [server]"),
            io::ErrorKind::AddrNotAvailable => {
                format!("{} is not an address of this machine: set {key} in [server] to one that is", address.ip())
            }
            io::ErrorKind::PermissionDenied => {
                format!("ports below 1024 are for root: set {key} in [server] to a higher one, or use a socket unit")
            }
            _ => format!("set {key} in [server]"),
        };
        anyhow!("cannot listen on {address}: {error}\n  mend: {mend}")
    })
}

#[derive(Default)]
struct Handed {
    public: Option<TcpListener>,
    admin: Option<TcpListener>,
}

/// What the supervisor opened for us. Sockets of other names are a mistake in the socket unit, and named.
fn handed_over(environment: &Environment) -> Result<Handed> {
    let mut listening = ListenFd::from_env();
    let names = environment.get("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut handed = Handed::default();
    for index in 0..listening.len() {
        let name = names.next().unwrap_or_default();
        let socket = listening
            .take_tcp_listener(index)
            .with_context(|| format!("socket {index} of the socket unit ({name}) is no TCP listener"))?;
        let Some(socket) = socket else { continue };
        socket.set_nonblocking(true).context("a handed-over socket cannot be used")?;
        let socket = TcpListener::from_std(socket).context("a handed-over socket cannot be used")?;
        match name {
            ADMIN => handed.admin = Some(socket),
            // Without FileDescriptorName= a socket is named after its unit.
            PUBLIC | "frontdesk.socket" | "" | "unknown" if handed.public.is_none() => handed.public = Some(socket),
            other => {
                return Err(anyhow!(
                    "the socket unit hands over a socket named {other}, which has no use\n  mend: name one {PUBLIC} and another \
                     {ADMIN}, with FileDescriptorName="
                ));
            }
        }
    }
    Ok(handed)
}

/// The folder belongs to this daemon alone (it holds its lock), so a socket file in it is a leftover.
fn control(folder: &Path) -> Option<Control> {
    let path = folder.join(control::FILE);
    let path = std::path::absolute(&path).unwrap_or(path);
    match open_control(&path) {
        Ok(listener) => Some(Control { listener, file: SocketFile(path) }),
        Err(error) => {
            tracing::warn!(%error, "no control socket; the command line cannot reach this daemon");
            None
        }
    }
}

fn open_control(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something else lies in its place")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Nobody can open it between the two steps: the folder is its owner's alone.
    let listener = control::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
