//! The control socket's place: how the command line reaches a running daemon. It lies in the daemon's folder (with SQLite its store's), which belongs to
//! one daemon, and only the user that the daemon runs as may open it.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};

/// Its file in the daemon's folder.
pub const FILE: &str = "control.sock";
/// What the kernel takes as a socket's path, without the zero at its end.
const LONGEST: usize = 107;

/// Listens there.
///
/// # Errors
/// Something lies there already, or the folder cannot be written.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    UnixListener::bind(&Short::of(path)?.path)
}

/// Opens a connection to the daemon that listens there.
///
/// # Errors
/// Nobody does, or not for this user.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let short = Short::of(path)?;
    UnixStream::connect(&short.path).await
}

/// A path that the kernel takes as a socket's, for as long as this lives: a long one is reached through its open folder.
struct Short {
    path: PathBuf,
    _folder: Option<File>,
}

impl Short {
    fn of(path: &Path) -> io::Result<Self> {
        let long = path.as_os_str().as_bytes().len() > LONGEST;
        let (true, Some(folder), Some(name)) = (long, path.parent(), path.file_name()) else {
            return Ok(Self { path: path.to_owned(), _folder: None });
        };
        let folder = File::open(folder)?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _folder: Some(folder) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test may stop at the first surprise

    use super::*;

    #[tokio::test]
    async fn a_socket_deep_in_the_tree_is_reached_too() {
        let top = tempfile::tempdir().unwrap();
        for folder in [top.path().to_owned(), top.path().join("a-folder-with-a-long-name".repeat(6))] {
            std::fs::create_dir_all(&folder).unwrap();
            let path = folder.join(FILE);
            assert_eq!(connect(&path).await.unwrap_err().kind(), io::ErrorKind::NotFound);
            let listener = bind(&path).unwrap();
            let (near, far) = tokio::join!(connect(&path), listener.accept());
            near.unwrap();
            far.unwrap();
            drop(listener);
            assert_eq!(connect(&path).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        }
    }
}
