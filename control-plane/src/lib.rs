//! The control plane daemon: everything around the pure protocol core of the crate `ike`.
//!
//! [`run`] ties the rooms together: `southbound` brings what the data plane says, `northbound` what operators ask, `offload` does the slow
//! work, and the driver's loop owns the core. One thread carries all of it; blocking threads carry the jobs.

pub mod config;
mod driver;
mod fetch;
mod key_log;
mod northbound;
mod offload;
mod radius;
mod southbound;
pub mod telemetry;
mod throttle;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

pub use northbound::BindError;
pub use offload::TOKEN_THREADS;

use config::{Diagnostic, Loaded};
use driver::{Driver, Request};
use key_log::KeyLog;
use northbound::Names;

/// Reports and requests that may wait for the driver; beyond them their senders wait.
const QUEUE: usize = 64;
/// How long the last operations and operators' calls may take after the driver has ended.
const CLOSING: Duration = Duration::from_millis(500);

/// Why the control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operators' socket cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Keys cannot be written where the configuration wants them.
    #[error("{0}")]
    KeyLog(Box<Diagnostic>),
}

/// Runs the control plane until `shutdown` is sent or dropped. Each of the `hangups` has the configuration read again.
///
/// # Errors
/// Where the operators' socket or the key log cannot be opened.
pub async fn run(loaded: Loaded, hangups: mpsc::Receiver<()>, shutdown: oneshot::Receiver<()>) -> Result<(), StartError> {
    let Loaded { file, control_socket, data_socket, key_log, ike, warnings } = loaded;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let key_log = key_log.as_deref().map(KeyLog::open).transpose().map_err(StartError::KeyLog)?;
    let socket = northbound::bind(&control_socket).await?;
    let (requests, asked) = mpsc::channel(QUEUE);
    let (reports, reported) = mpsc::channel(QUEUE);
    let (end, ended) = oneshot::channel::<()>();
    let (names, named) = watch::channel(Names::of(&ike));
    let hangups = tokio::spawn(reload_on(hangups, requests.clone()));
    let operators = tokio::spawn(northbound::serve(socket, requests, named, async {
        let _ = ended.await;
    }));
    let data_plane = tokio::spawn(southbound::run(data_socket, reports));
    Driver::new(ike, file, names, key_log).run(reported, asked, shutdown).await;
    drop(end);
    hangups.abort();
    // With the driver its session and the watchers' streams have ended; what is still on its way gets a moment.
    let _ = tokio::time::timeout(CLOSING, async { tokio::join!(data_plane, operators) }).await;
    Ok(())
}

/// What came of it is logged where it is done.
async fn reload_on(mut hangups: mpsc::Receiver<()>, requests: mpsc::Sender<Request>) {
    while hangups.recv().await.is_some() {
        let (reply, reloaded) = oneshot::channel();
        if requests.send(Request::Reload(reply)).await.is_err() {
            return;
        }
        let _ = reloaded.await;
    }
}
