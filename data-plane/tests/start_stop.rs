//! The whole process on virtual devices, without hugepages: it starts, answers, refuses what it must, and stops when told.

#![expect(clippy::unwrap_used, reason = "a test program")]

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use culvert_proto::dataplane::v1::StatsRequest;
use culvert_proto::dataplane::v1::data_plane_client::DataPlaneClient;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

const EAL: [&str; 9] = [
    "--no-huge",
    "-m",
    "256",
    "--no-shconf",
    "--no-pci",
    "--no-telemetry",
    "--vdev=net_ring0",
    "--vdev=net_null0,no-rx=1",
    "--log-level=error",
];
const WAIT: Duration = Duration::from_secs(20);

struct Gateway {
    folder: PathBuf,
    child: Option<Child>,
}

impl Gateway {
    fn configure(name: &str, port: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("culvert-data-{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let gateway = Self { folder, child: None };
        let config = format!(
            r#"socket = "{}"
workers = [0]
[[port]]
name = "{port}"
role = "protected"
addresses = ["10.1.0.1/24"]
[[port]]
name = "net_null0"
role = "unprotected"
addresses = ["192.0.2.1/24"]
"#,
            gateway.socket().display()
        );
        fs::write(gateway.folder.join("data.toml"), config).unwrap();
        gateway
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_culvert-data"));
        command.arg("--config").arg(self.folder.join("data.toml")).arg("--").args(EAL).stderr(Stdio::piped());
        command
    }

    async fn start(&mut self) -> Channel {
        self.child = Some(self.command().spawn().unwrap());
        let end = Instant::now() + WAIT;
        loop {
            let endpoint = Endpoint::try_from(format!("unix:{}", self.socket().display())).unwrap();
            if let Ok(channel) = endpoint.connect().await {
                return channel;
            }
            assert!(Instant::now() < end, "does not listen: {:?}", self.child.as_mut().unwrap().try_wait());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends a signal and waits for the end.
    async fn end(&mut self, signal: Signal) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        let end = Instant::now() + WAIT;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > end {
                child.kill().unwrap();
                panic!("did not end on {signal:?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn refused(&self) -> String {
        let Output { status, stderr, .. } = self.command().output().unwrap();
        assert_eq!(status.code(), Some(1));
        String::from_utf8_lossy(&stderr).into_owned()
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("data.sock")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop((child.kill(), child.wait()));
        }
        drop(fs::remove_dir_all(&self.folder));
    }
}

#[tokio::test]
async fn it_starts_answers_and_stops() -> Result<(), Box<dyn Error>> {
    for signal in [Signal::TERM, Signal::INT] {
        let mut gateway = Gateway::configure("start", "net_ring0");
        let channel = gateway.start().await;
        let check = HealthCheckRequest { service: "culvert.dataplane.v1.DataPlane".to_owned() };
        let health = timeout(WAIT, HealthClient::new(channel.clone()).check(check)).await??.into_inner();
        assert_eq!(health.status, 1, "SERVING");

        let list = ServerReflectionRequest { message_request: Some(MessageRequest::ListServices(String::new())), ..Default::default() };
        let mut answers = ServerReflectionClient::new(channel.clone()).server_reflection_info(tokio_stream::once(list)).await?.into_inner();
        assert!(answers.next().await.is_some_and(|answer| answer.is_ok()));

        let mut client = DataPlaneClient::new(channel);
        let first = client.stats(StatsRequest {}).await?.into_inner();
        assert_eq!(first.boot_id.len(), 16);
        assert_ne!(first.boot_id, [0; 16]);
        assert_eq!(first.ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["net_ring0", "net_null0"]);
        assert_eq!(first.workers.len(), 1);
        // Its thread is one of the process, and its loop turns.
        let pid = gateway.child.as_ref().map_or(0, Child::id);
        assert!(PathBuf::from(format!("/proc/{pid}/task/{}", first.workers[0].thread)).exists());
        timeout(WAIT, async {
            loop {
                let second = client.stats(StatsRequest {}).await?.into_inner();
                if second.workers[0].iterations > first.workers[0].iterations && second.uptime_ms > first.uptime_ms {
                    return Ok::<_, Box<dyn Error>>(());
                }
                sleep(Duration::from_millis(5)).await;
            }
        })
        .await??;

        assert_eq!(gateway.end(signal).await.code(), Some(0));
        assert!(!gateway.socket().exists());
    }
    Ok(())
}

#[tokio::test]
async fn it_says_why_it_does_not_start() {
    let mut gateway = Gateway::configure("socket", "net_ring0");
    let _channel = gateway.start().await;
    let told = gateway.refused();
    assert!(told.contains("another process listens here"), "{told}");
    assert!(gateway.socket().exists(), "the refused one takes nothing away");
    assert_eq!(gateway.end(Signal::TERM).await.code(), Some(0));

    let unknown = Gateway::configure("port", "net_ring7").refused();
    assert!(unknown.contains("net_ring7") && unknown.contains("net_ring0"), "{unknown}");

    let broken = Gateway::configure("config", "net_ring0");
    fs::write(broken.folder.join("data.toml"), "workers = [0]\n").unwrap();
    let told = broken.refused();
    assert!(told.contains("data.toml:1: ") && told.contains("socket"), "{told}");
}
