//! The control plane daemon: everything around the pure protocol core of the crate `ike`.
//!
//! [`run`] ties the rooms together: `southbound` brings what the data plane says, `northbound` what operators ask, `offload` does the slow
//! work, and the driver's loop owns the core. One thread carries all of it; blocking threads carry the jobs.

pub mod config;
mod driver;
mod northbound;
mod offload;
mod southbound;
pub mod telemetry;
mod throttle;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub use northbound::BindError;

use config::Loaded;
use driver::Driver;
use northbound::Names;

/// Reports and requests that may wait for the driver; beyond them their senders wait.
const QUEUE: usize = 64;
/// How long the last operations and operators' calls may take after the driver has ended.
const CLOSING: Duration = Duration::from_millis(500);

/// Runs the control plane until `shutdown` is sent or dropped.
///
/// # Errors
/// Where the operators' socket cannot be opened.
pub async fn run(loaded: Loaded, shutdown: oneshot::Receiver<()>) -> Result<(), BindError> {
    let Loaded { control_socket, data_socket, ike } = loaded;
    let socket = northbound::bind(&control_socket).await?;
    let (requests, asked) = mpsc::channel(QUEUE);
    let (reports, reported) = mpsc::channel(QUEUE);
    let (end, ended) = oneshot::channel::<()>();
    let operators = tokio::spawn(northbound::serve(socket, requests, Names::of(&ike), async {
        let _ = ended.await;
    }));
    let data_plane = tokio::spawn(southbound::run(data_socket, reports));
    Driver::new(ike).run(reported, asked, shutdown).await;
    drop(end);
    // With the driver its session and the watchers' streams have ended; what is still on its way gets a moment.
    let _ = tokio::time::timeout(CLOSING, async { tokio::join!(data_plane, operators) }).await;
    Ok(())
}
