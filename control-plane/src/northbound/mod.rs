//! The operators' gRPC service on a Unix socket.

mod names;
mod service;
mod view;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use culvert_proto::control::v1::control_server::ControlServer;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::driver::Request;
use service::Service;

pub(crate) use names::Names;

/// Why the socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers there.
    #[error("{}: another process listens on this socket; stop it, or name another socket in [control]", .0.display())]
    Taken(PathBuf),
    /// The file system refuses.
    #[error("{}: cannot open the socket: {error}", .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// An open socket; removed from the file system when dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: Option<UnixListener>,
    path: PathBuf,
    /// The user this process runs as.
    owner: u32,
}

/// Opens the socket for its owner alone. One that was left behind by a process that is gone is replaced.
pub(crate) async fn bind(path: &Path) -> Result<Socket, BindError> {
    let failed = |error| BindError::Io { path: path.to_path_buf(), error };
    match UnixStream::connect(path).await {
        Ok(_) => return Err(BindError::Taken(path.to_path_buf())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed)?,
        Err(_) => {}
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    // Between these two lines others might connect; they are refused by their credentials.
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let owner = fs::metadata(path).map_err(failed)?.uid();
    Ok(Socket { listener: Some(listener), path: path.to_path_buf(), owner })
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Serves until `end`.
pub(crate) async fn serve(
    mut socket: Socket,
    requests: mpsc::Sender<Request>,
    names: watch::Receiver<Names>,
    end: impl Future<Output = ()>,
) {
    let Some(listener) = socket.listener.take() else { return };
    let owner = socket.owner;
    let trusted =
        UnixListenerStream::new(listener).filter(move |connection| connection.as_ref().map_or(true, |stream| may_operate(stream, owner)));

    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<ControlServer<Service>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(culvert_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("culvert.control.v1.Control")
        .with_service_name("grpc.health.v1.Health")
        .build_v1();
    let mut server = Server::builder();
    let router = server.add_service(ControlServer::new(Service::new(requests, names))).add_service(health_service);
    let router = match reflection {
        Ok(reflection) => router.add_service(reflection),
        Err(error) => {
            tracing::error!("no reflection: {error}");
            router
        }
    };
    if let Err(error) = router.serve_with_incoming_shutdown(trusted, end).await {
        tracing::error!("the operators' service has failed: {error}");
    }
}

/// Whether the process at the other end runs as root or as this process's own user.
fn may_operate(connection: &UnixStream, owner: u32) -> bool {
    match connection.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == owner => true,
        Ok(peer) => {
            tracing::warn!("refused user {} on the operators' socket", peer.uid());
            false
        }
        Err(error) => {
            tracing::warn!("refused a connection on the operators' socket: {error}");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_its_owners_and_replaces_only_a_dead_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/control.sock");
        let socket = bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(bind(&path).await, Err(BindError::Taken(_))));
        // A process that was killed leaves its socket behind.
        drop(std::os::unix::net::UnixListener::bind(folder.path().join("dead.sock")).unwrap());
        bind(&folder.path().join("dead.sock")).await.unwrap();
        drop(socket);
        assert!(!path.exists());
    }
}
