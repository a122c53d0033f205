//! Two control planes, each with a fake data plane, and a wire between them.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

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
    /// More TOML, and more secrets.
    pub(crate) more: [Extra; 2],
    /// The daemon's binary, where both are to be processes; their log is [`Side::log`], as verbose as can be.
    pub(crate) binary: Option<&'static str>,
}

/// What one side has beyond the other's mirror image.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) configuration: String,
    pub(crate) secrets: String,
    /// Names and what is in them; nobody else may read them.
    pub(crate) files: Vec<(&'static str, String)>,
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
            more: Default::default(),
            binary: None,
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
    /// Besides the one that both share.
    secrets: String,
    control_plane: Option<ControlPlane>,
}

/// How the daemon runs.
enum ControlPlane {
    /// In this process, until the sender is dropped.
    Thread(oneshot::Sender<()>, thread::JoinHandle<()>),
    /// As a process of its own, until SIGTERM.
    Process(Child),
}

impl ControlPlane {
    fn end(self) {
        match self {
            Self::Thread(shutdown, thread) => {
                drop(shutdown);
                thread.join().unwrap();
            }
            Self::Process(mut process) => {
                let told = Command::new("kill").arg(process.id().to_string()).status().unwrap();
                assert!(told.success() && process.wait().unwrap().success());
            }
        }
    }
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
        let binary = setup.binary;
        let a_configuration = configuration(1, 2, setup.start_action, setup.a_proposals, ("gw-1.example", setup.b_id));
        let b_configuration = configuration(2, 1, "none", setup.b_proposals, (setup.b_id, "gw-1.example"));
        let [a_more, b_more] = setup.more;
        let a = Side::start(a, &a_configuration, setup.a_secret, a_more, binary);
        let b = Side::start(b, &b_configuration, setup.b_secret, b_more, binary);
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
    fn start(state: Arc<Mutex<State>>, configuration: &str, secret: &str, more: Extra, binary: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let sockets = format!(
            "[control]\nsocket = \"{}\"\n[dataplane]\nsocket = \"{}\"\n",
            path("control.sock").display(),
            path("data.sock").display()
        );
        let file = path("culvert.toml");
        fs::write(&file, format!("{configuration}{}{sockets}", more.configuration)).unwrap();
        for (name, contents) in more.files {
            write_private(&path(name), &contents);
        }
        let data_plane = FakeDataPlane::start(&path("data.sock"), &state);
        let mut side = Self { state, data_plane: Some(data_plane), folder, secrets: more.secrets, control_plane: None };
        side.set_secret(secret);
        side.control_plane = Some(match binary {
            None => in_thread(file),
            Some(binary) => {
                let log = fs::File::create(side.folder.path().join("control.log")).unwrap();
                let mut command = Command::new(binary);
                ControlPlane::Process(command.args(["--log", "trace", "--config"]).arg(file).stderr(log).spawn().unwrap())
            }
        });
        side
    }

    /// Writes the file of secrets, to be read by a reload.
    pub(crate) fn set_secret(&self, secret: &str) {
        write_private(&self.folder.path().join("secrets.toml"), &format!("[ike.peer]\nsecret = \"{secret}\"\n{}", self.secrets));
    }

    /// What a process has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("control.log")).unwrap()
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

    /// Ends the control plane.
    pub(crate) async fn shut_down(&mut self) {
        let control_plane = self.control_plane.take().unwrap();
        soon("the control plane ends", tokio::task::spawn_blocking(|| control_plane.end())).await.unwrap();
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        match self.control_plane.take() {
            Some(ControlPlane::Thread(shutdown, thread)) => {
                drop(shutdown);
                let _ = thread.join();
            }
            Some(ControlPlane::Process(mut process)) => {
                let _ = process.kill();
                let _ = process.wait();
            }
            None => {}
        }
    }
}

fn write_private(path: &Path, contents: &str) {
    fs::write(path, contents).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn in_thread(file: PathBuf) -> ControlPlane {
    let (end, shutdown) = oneshot::channel();
    let thread = thread::spawn(move || {
        let loaded = config::load(&file).unwrap_or_else(|faults| panic!("{faults:?}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(culvert_control::run(loaded, mpsc::channel(1).1, shutdown)).unwrap();
    });
    ControlPlane::Thread(end, thread)
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

/// How long anything may take, however slow and busy the machine is. What takes longer does not happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something is so.
pub(crate) async fn wait(what: &str, mut is: impl FnMut() -> bool) {
    let so = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(what, so).await;
}

/// Waits for what comes by itself.
pub(crate) async fn soon<T>(what: &str, coming: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, coming).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}
