//! The Unix socket: who may connect, and what to do with one that was left behind.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, StreamExt};

/// A socket that listens. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    listener: Option<UnixListener>,
    allowed_uids: Vec<u32>,
}

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process listens there.
    #[error("{}: another process listens here; stop it, or configure another socket", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket has the name.
    #[error("{}: exists and is no socket; remove it, or configure another socket", .0.display())]
    Occupied(PathBuf),
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Socket {
    /// Listens at `path`, for the users named, or else the user of this process. A file left behind by a process that is gone is replaced.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(path: &Path, allowed_uids: Option<&[u32]>) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Io { path: path.to_owned(), source };
        remove_stale(path)?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        let own = rustix::process::geteuid().as_raw();
        let allowed_uids = allowed_uids.map_or_else(|| vec![own], <[u32]>::to_vec);
        // Credentials decide; the mode only keeps others from trying. Other users reach the socket through its group.
        let mode = if allowed_uids.iter().all(|uid| *uid == own) { 0o600 } else { 0o660 };
        let socket = Self { path: path.to_owned(), listener: Some(listener), allowed_uids };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
        Ok(socket)
    }

    /// Connections of users who may; others are closed at once.
    pub fn connections(&mut self) -> impl Stream<Item = io::Result<UnixStream>> + use<> {
        let allowed = self.allowed_uids.clone();
        let accepted = self.listener.take().map(UnixListenerStream::new);
        let stream: std::pin::Pin<Box<dyn Stream<Item = io::Result<UnixStream>> + Send>> = match accepted {
            Some(stream) => Box::pin(stream),
            None => Box::pin(tokio_stream::empty()),
        };
        stream.filter_map(move |connection| match connection {
            Ok(stream) => may(&stream, &allowed).then_some(Ok(stream)),
            // One failed accept (too many open files) must not end the server.
            Err(error) => {
                tracing::warn!(%error, "accept");
                None
            }
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

fn may(stream: &UnixStream, allowed: &[u32]) -> bool {
    match stream.peer_cred() {
        Ok(peer) if allowed.contains(&peer.uid()) => true,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), pid = peer.pid(), "connection refused: add the user to allowed_uids if this is right");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "connection refused: no credentials");
            false
        }
    }
}

fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(SocketError::Occupied(path.to_owned())),
        Ok(_) => {}
    }
    match StdUnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}
