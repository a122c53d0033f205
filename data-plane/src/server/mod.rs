//! The server: gRPC on a Unix socket, and everything that is not per packet.
//!
//! One thread runs it all. The [`core`] holds the state and is polled; the [`service`] turns requests into calls of it; the loop in
//! [`serve`] polls it often while there is work, and every millisecond when there is none: workers make no system call to wake anybody.

mod acquires;
mod change;
pub mod core;
mod counters;
mod dummies;
mod expiry;
mod explain;
mod fragments;
mod load;
mod network;
mod outcomes;
mod path_mtu;
mod policies;
mod program;
mod report;
mod sad;
pub mod service;
pub mod socket;
pub mod workers;

use std::future::Future;
use std::time::Duration;

use culvert_proto::DESCRIPTORS;
use culvert_proto::dataplane::v1::data_plane_server::DataPlaneServer;
use tokio::sync::watch;
use tokio::time;
use tonic::transport::Server;

use crate::clock::Clock;
use crate::server::service::{Service, Shared};
use crate::server::socket::Socket;

/// Between two polls when there is nothing to do.
const IDLE: Duration = Duration::from_millis(1);
/// Polls without a pause while there is something to do, before other tasks get their turn.
const BUSY_POLLS: u32 = 16;
/// How long open streams may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// gRPC failed.
    #[error("gRPC server: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors compiled in are broken.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves until `stop` completes. The workers have been told to stop then.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(core: Shared, mut socket: Socket, clock: Clock, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<DataPlaneServer<Service>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let (stopping, mut stopped) = watch::channel(());
    let server = Server::builder()
        .add_service(health_service)
        .add_service(reflection)
        .add_service(DataPlaneServer::new(Service::new(core.clone())))
        .serve_with_incoming_shutdown(socket.connections(), async move {
            drop(stopped.changed().await);
        });
    tokio::pin!(server);
    let ended = tokio::select! {
        ended = &mut server => Some(ended),
        () = poll(&core, clock) => None,
        () = stop => None,
    };
    core.lock().shut_down();
    drop(stopping);
    let ended = match ended {
        Some(ended) => ended,
        // Whoever keeps a stream open does not keep the process.
        None => {
            let drained = async {
                tokio::select! { ended = &mut server => ended, () = poll(&core, clock) => Ok(()) }
            };
            time::timeout(GRACE, drained).await.unwrap_or(Ok(()))
        }
    };
    // A worker whose queue was full has not been told yet; one that takes nothing within this time never will be.
    drop(time::timeout(GRACE, tell(&core, clock)).await);
    Ok(ended?)
}

/// Polls the core until the workers have all commands in their queues.
async fn tell(core: &Shared, clock: Clock) {
    while core.lock().has_more_to_tell() {
        core.lock().poll(clock.now_ms());
        time::sleep(IDLE).await;
    }
}

/// Polls the core for ever.
async fn poll(core: &Shared, clock: Clock) {
    loop {
        let mut polls = 0;
        while core.lock().poll(clock.now_ms()) && polls < BUSY_POLLS {
            polls += 1;
        }
        if polls < BUSY_POLLS {
            tokio::select! { () = time::sleep(IDLE) => {}, () = core.woken() => {} }
        } else {
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests;
