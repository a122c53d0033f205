//! Two control planes, each with a fake data plane, and a wire between them.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use culvert_control::config;
use culvert_proto::control::v1::ListSasRequest;
use culvert_proto::control::v1::control_client::ControlClient;
use culvert_proto::control::v1::{ChildSa, IkeSa};
use culvert_proto::dataplane::v1::Datagram;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::{Channel, Endpoint, Uri};

use crate::fake::{FakeDataPlane, State};

/// What the two configurations of a test differ in.
pub(crate) struct Setup {
    pub(crate) start_action: &'static str,
    pub(crate) a_proposals: &'static str,
    pub(crate) b_proposals: &'static str,
    pub(crate) a_secret: &'static str,
    pub(crate) b_secret: &'static str,
    /// Who the second gateway is.
    pub(crate) b_id: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        let proposals = "aes128gcm16-prfsha256-x25519";
        Self {
            start_action: "trap",
            a_proposals: proposals,
            b_proposals: proposals,
            a_secret: "0x6b6579",
            b_secret: "0x6b6579",
            b_id: "gw-2.example",
        }
    }
}

pub(crate) struct Pair {
    pub(crate) a: Side,
    pub(crate) b: Side,
    /// Every IKE message that crossed the wire.
    pub(crate) crossed: Arc<Mutex<Vec<Datagram>>>,
}

pub(crate) struct Side {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) data_plane: Option<FakeDataPlane>,
    folder: TempDir,
    /// Ends the control plane when dropped.
    shutdown: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Pair {
    pub(crate) async fn start(setup: Setup) -> Self {
        let (a_wire, from_a) = mpsc::unbounded_channel();
        let (b_wire, from_b) = mpsc::unbounded_channel();
        let a = State::new("192.0.2.1".parse().unwrap(), 0x1000, a_wire);
        let b = State::new("192.0.2.2".parse().unwrap(), 0x2000, b_wire);
        let crossed = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(wire(from_a, b.clone(), crossed.clone()));
        tokio::spawn(wire(from_b, a.clone(), crossed.clone()));
        let a = Side::start(a, &configuration(1, 2, setup.start_action, setup.a_proposals, ("gw-1.example", setup.b_id)), setup.a_secret);
        let b = Side::start(b, &configuration(2, 1, "none", setup.b_proposals, (setup.b_id, "gw-1.example")), setup.b_secret);
        let pair = Self { a, b, crossed };
        wait("both are attached", || pair.a.state().policies.is_some() && pair.b.state().policies.is_some()).await;
        pair
    }
}

/// Messages change sides: what is local here is remote there.
async fn wire(mut from: mpsc::UnboundedReceiver<Datagram>, to: Arc<Mutex<State>>, crossed: Arc<Mutex<Vec<Datagram>>>) {
    while let Some(datagram) = from.recv().await {
        crossed.lock().unwrap().push(datagram.clone());
        to.lock().unwrap().deliver(Datagram {
            local_address: datagram.remote_address,
            local_port: datagram.remote_port,
            remote_address: datagram.local_address,
            remote_port: datagram.local_port,
            payload: datagram.payload,
        });
    }
}

fn configuration(here: u8, there: u8, start_action: &str, proposals: &str, (local, remote): (&str, &str)) -> String {
    format!(
        r#"
secrets = "secrets.toml"
[connections.peer]
local_addrs = ["192.0.2.{here}"]
remote_addrs = ["192.0.2.{there}"]
proposals = ["{proposals}"]
local.id = '{local}'
remote.id = '{remote}'
[connections.peer.children.net]
local_ts = ["10.{here}.0.0/24"]
remote_ts = ["10.{there}.0.0/24"]
esp_proposals = ["aes128gcm16"]
start_action = "{start_action}"
"#
    )
}

impl Side {
    fn start(state: Arc<Mutex<State>>, configuration: &str, secret: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let sockets = format!(
            "[control]\nsocket = \"{}\"\n[dataplane]\nsocket = \"{}\"\n",
            path("control.sock").display(),
            path("data.sock").display()
        );
        fs::write(path("culvert.toml"), format!("{configuration}{sockets}")).unwrap();
        fs::write(path("secrets.toml"), format!("[ike.peer]\nsecret = \"{secret}\"\n")).unwrap();
        fs::set_permissions(path("secrets.toml"), fs::Permissions::from_mode(0o600)).unwrap();
        let data_plane = FakeDataPlane::start(&path("data.sock"), &state);
        let (end, shutdown) = oneshot::channel();
        let file = path("culvert.toml");
        let thread = thread::spawn(move || {
            let loaded = config::load(&file).unwrap_or_else(|faults| panic!("{faults:?}"));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(culvert_control::run(loaded, mpsc::channel(1).1, shutdown)).unwrap();
        });
        Self { state, data_plane: Some(data_plane), folder, shutdown: Some(end), thread: Some(thread) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn data_socket(&self) -> PathBuf {
        self.folder.path().join("data.sock")
    }

    #[allow(dead_code, reason = "what the command's tests change, the daemon's leave alone")]
    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.path().join("culvert.toml")
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    /// An operator.
    pub(crate) async fn operator(&self) -> ControlClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("unix:{}", self.control_socket().display())).unwrap();
        ControlClient::new(endpoint.origin(Uri::from_static("http://localhost")).connect().await.unwrap())
    }

    pub(crate) async fn ike_sas(&self) -> Vec<IkeSa> {
        self.operator().await.list_sas(ListSasRequest {}).await.unwrap().into_inner().ike_sas
    }

    /// The only Child SA of the only IKE SA, if there is one.
    pub(crate) async fn child_sa(&self) -> Option<ChildSa> {
        self.ike_sas().await.pop()?.child_sas.pop()
    }

    /// Ends the control plane and says how long that took.
    pub(crate) async fn shut_down(&mut self) -> Duration {
        let begin = Instant::now();
        drop(self.shutdown.take());
        let thread = self.thread.take().unwrap();
        tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
        begin.elapsed()
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        drop(self.shutdown.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn flow(source: &str, destination: &str) -> ipsec_types::Flow {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    ipsec_types::Flow {
        source: address(source),
        destination: address(destination),
        protocol: 1,
        source_port: Some(0x800),
        destination_port: Some(0x800),
    }
}

/// Waits until something is so; a test that waits longer has failed.
pub(crate) async fn wait(what: &str, mut is: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is() {
        assert!(begin.elapsed() < Duration::from_secs(30), "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
