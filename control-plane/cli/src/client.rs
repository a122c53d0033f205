//! Reaching the control plane.

use std::path::Path;

use culvert_proto::control::v1::control_client::ControlClient;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::failure::Failure;

/// Connects to the control plane's Unix socket.
pub(crate) async fn connect(socket: &Path) -> Result<ControlClient<Channel>, Failure> {
    // A first connection of our own tells what is wrong with the socket; tonic would only say "transport error".
    let stream = UnixStream::connect(socket).await.map_err(|error| {
        Failure::Unreachable(format!(
            "cannot reach the control plane at {}: {error}; is culvert-control running, and is --socket (or CULVERT_SOCKET) its control.socket?",
            socket.display()
        ))
    })?;
    drop(stream);
    let path = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The authority of this URL is what h2 sends; over a Unix socket it must be a plain host name.
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await;
    channel.map(ControlClient::new).map_err(|error| Failure::Unreachable(format!("cannot reach the control plane: {error}")))
}
