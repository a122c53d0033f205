//! The same core behind gRPC on a Unix socket of the test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use culvert_proto::dataplane::v1::data_plane_client::DataPlaneClient;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::*;
use crate::clock::Clock;
use crate::server::service::Shared;
use crate::server::socket::{Socket, SocketError};
use crate::server::{ServeError, serve};

/// How long anything may take before a test fails: far more than it needs, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("culvert-data-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("data.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

struct Running {
    folder: Folder,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), ServeError>>,
    /// Reports to the server as a worker would.
    notices: mpsc::Sender<Notice>,
}

impl Running {
    fn start(allowed_uids: Option<&[u32]>) -> Self {
        Self::sized(allowed_uids, POLICIES)
    }

    fn sized(allowed_uids: Option<&[u32]>, policy_slots: u32) -> Self {
        let folder = Folder::new();
        let socket = Socket::bind(&folder.socket(), allowed_uids).unwrap();
        let (core, mut ends) = core(1, QueueSizes::default(), 64, policy_slots);
        let (stop, stopped) = oneshot::channel();
        let stopped = async move { drop(stopped.await) };
        let server = tokio::spawn(serve(Shared::new(core), socket, Clock::start(), stopped));
        let (notices, mut reported) = mpsc::channel(8);
        tokio::spawn(async move {
            let mut end = ends.pop().unwrap();
            loop {
                while end.command().is_some() {
                    end.applied();
                }
                while let Ok(notice) = reported.try_recv() {
                    end.notify(notice);
                }
                sleep(Duration::from_millis(1)).await;
            }
        });
        Self { folder, stop, server, notices }
    }

    async fn channel(&self) -> Channel {
        connect(&self.folder.socket()).await.unwrap()
    }

    async fn client(&self) -> DataPlaneClient<Channel> {
        DataPlaneClient::new(self.channel().await)
    }

    /// Stops the server, whatever streams are open. The socket goes with it.
    async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.server).await.unwrap().unwrap().unwrap();
        assert!(!self.folder.socket().exists());
    }
}

async fn connect(path: &Path) -> Result<Channel, tonic::transport::Error> {
    Endpoint::try_from(format!("unix:{}", path.display())).unwrap().connect().await
}

async fn attach(client: &mut DataPlaneClient<Channel>) -> u64 {
    client.attach(v1::AttachRequest { controller: "test".to_owned() }).await.unwrap().into_inner().epoch
}

/// A stream of requests that stays open as long as its sender.
fn requests<T>() -> (mpsc::Sender<T>, ReceiverStream<T>) {
    let (sender, receiver) = mpsc::channel(8);
    (sender, ReceiverStream::new(receiver))
}

async fn message<T>(stream: &mut Streaming<T>) -> Result<Option<T>, Status> {
    timeout(PATIENCE, stream.message()).await.unwrap()
}

#[tokio::test]
async fn health_reflection_and_stats_answer_without_an_epoch() {
    let running = Running::start(None);
    let mode = fs::metadata(running.folder.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut health = HealthClient::new(running.channel().await);
    let check = HealthCheckRequest { service: "culvert.dataplane.v1.DataPlane".to_owned() };
    assert_eq!(health.check(check).await.unwrap().into_inner().status, 1, "SERVING");

    let list = ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::ListServices(String::new())) };
    let mut reflection = ServerReflectionClient::new(running.channel().await);
    let mut answers = reflection.server_reflection_info(tokio_stream::once(list)).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(services) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"culvert.dataplane.v1.DataPlane") && names.contains(&"grpc.health.v1.Health"), "{names:?}");

    let mut client = running.client().await;
    assert_eq!(client.stats(v1::StatsRequest {}).await.unwrap().into_inner().boot_id, [7; 16]);
    assert!(client.list_child_sas(v1::ListChildSasRequest {}).await.unwrap().into_inner().child_sas.is_empty());
    drop((client, health, reflection, answers));
    running.stop().await;
}

#[tokio::test]
async fn a_child_sa_is_programmed_and_listed_without_keys() {
    let running = Running::start(None);
    let mut client = running.client().await;
    let epoch = attach(&mut client).await;
    let (program, stream) = requests();
    let mut answers = client.program(stream).await.unwrap().into_inner();
    let batch = |operations: Vec<(u64, Operation)>| v1::ProgramRequest {
        epoch,
        operations: operations.into_iter().map(|(id, operation)| v1::Operation { id, operation: Some(operation) }).collect(),
    };
    let policies = Operation::SetPolicies(v1::SetPolicies { policies: vec![policy(1)], more: false });
    program.send(batch(vec![(1, policies), (2, Operation::LeaseSpis(v1::LeaseSpis { count: 1 }))])).await.unwrap();
    let outcomes = message(&mut answers).await.unwrap().unwrap().outcomes;
    assert_eq!(outcomes.iter().map(|outcome| outcome.id).collect::<Vec<_>>(), [1, 2]);
    let Some(outcome::Outcome::Spis(lease)) = &outcomes[1].outcome else { panic!("{outcomes:?}") };
    program.send(batch(vec![(3, Operation::Install(install(9, lease.spis[0])))])).await.unwrap();
    assert_eq!(message(&mut answers).await.unwrap().unwrap().outcomes[0].outcome, Some(done()));
    let listed = client.list_child_sas(v1::ListChildSasRequest {}).await.unwrap().into_inner().child_sas;
    assert_eq!(listed.iter().map(|status| (status.child_sa, status.inbound_spi)).collect::<Vec<_>>(), [(9, lease.spis[0])]);

    // Another controller attaches: the old epoch is refused on every stream.
    attach(&mut running.client().await).await;
    program.send(batch(vec![(4, Operation::Claim(v1::Claim::default()))])).await.unwrap();
    assert_eq!(message(&mut answers).await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(client.events(v1::EventsRequest { epoch }).await.unwrap_err().code(), Code::FailedPrecondition);
    let (punts, stream) = requests();
    punts.send(v1::PuntRequest { epoch, ..v1::PuntRequest::default() }).await.unwrap();
    let mut datagrams = client.punt(stream).await.unwrap().into_inner();
    assert_eq!(message(&mut datagrams).await.unwrap_err().code(), Code::FailedPrecondition);
    // Streams that are open do not keep the server from stopping.
    running.stop().await;
}

/// The worker takes up nothing before it has both: whoever waits for the first answer with the second request waits in vain.
#[tokio::test]
async fn a_request_does_not_wait_for_the_answer_to_the_one_before() {
    let folder = Folder::new();
    let socket = Socket::bind(&folder.socket(), None).unwrap();
    let (core, mut ends) = core(1, QueueSizes::default(), 64, POLICIES);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(Shared::new(core), socket, Clock::start(), async move { drop(stopped.await) }));
    let worker = tokio::spawn(async move {
        let mut end = ends.pop().unwrap();
        let mut held = 0;
        loop {
            match end.command() {
                Some(Command::Stop) => return,
                Some(Command::Install { .. }) if held == 0 => held = 1,
                Some(_) => (0..=std::mem::take(&mut held)).for_each(|_| end.applied()),
                None => sleep(Duration::from_millis(1)).await,
            }
        }
    });
    let mut client = DataPlaneClient::new(connect(&folder.socket()).await.unwrap());
    let epoch = attach(&mut client).await;
    let (program, stream) = requests();
    let mut answers = client.program(stream).await.unwrap().into_inner();
    let request = |id, operation| v1::ProgramRequest { epoch, operations: vec![v1::Operation { id, operation: Some(operation) }] };
    let policies = Operation::SetPolicies(v1::SetPolicies { policies: vec![policy(1)], more: false });
    for (id, operation) in [(1, policies), (2, Operation::LeaseSpis(v1::LeaseSpis { count: 2 }))] {
        program.send(request(id, operation)).await.unwrap();
    }
    message(&mut answers).await.unwrap().unwrap();
    let leased = message(&mut answers).await.unwrap().unwrap().outcomes;
    let Some(outcome::Outcome::Spis(lease)) = &leased[0].outcome else { panic!("{leased:?}") };
    for (id, spi) in (3..).zip(&lease.spis) {
        program.send(request(id, Operation::Install(install(id, *spi)))).await.unwrap();
    }
    for id in [3, 4] {
        let outcomes = message(&mut answers).await.unwrap().unwrap().outcomes;
        assert_eq!((outcomes[0].id, &outcomes[0].outcome), (id, &Some(done())), "in their order");
    }
    stop.send(()).unwrap();
    timeout(PATIENCE, server).await.unwrap().unwrap().unwrap();
    timeout(PATIENCE, worker).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_hundred_thousand_policies_come_in_parts_as_no_message_holds_them() {
    const COUNT: u32 = 100_000;
    let running = Running::sized(None, COUNT);
    let mut client = running.client().await;
    let epoch = attach(&mut client).await;
    let request = |id, ids: std::ops::Range<u32>, more| {
        let set = v1::SetPolicies { policies: ids.map(policy).collect(), more };
        v1::ProgramRequest { epoch, operations: vec![v1::Operation { id, operation: Some(Operation::SetPolicies(set)) }] }
    };
    let (program, stream) = requests();
    let mut answers = client.program(stream).await.unwrap().into_inner();
    program.send(request(1, 0..COUNT, false)).await.unwrap();
    assert_eq!(message(&mut answers).await.unwrap(), None, "longer than gRPC permits");

    let (program, stream) = requests();
    let mut answers = client.program(stream).await.unwrap().into_inner();
    for (id, first) in (2..).zip((0..COUNT).step_by(1000)) {
        let more = first + 1000 < COUNT;
        program.send(request(id, first..first + 1000, more)).await.unwrap();
        assert_eq!(message(&mut answers).await.unwrap().unwrap().outcomes[0].outcome, Some(done()));
    }
    let stats = client.max_decoding_message_size(64 << 20).stats(v1::StatsRequest {}).await.unwrap().into_inner();
    assert!(stats.policies.iter().map(|status| status.id).eq(0..COUNT));
    drop((program, answers));
    running.stop().await;
}

#[tokio::test]
async fn an_acquire_is_sent_again_on_subscribing() {
    let running = Running::start(None);
    let mut client = running.client().await;
    let epoch = attach(&mut client).await;
    let (program, stream) = requests();
    let mut answers = client.program(stream).await.unwrap().into_inner();
    let policies = Operation::SetPolicies(v1::SetPolicies { policies: vec![policy(1)], more: false });
    let operations = vec![v1::Operation { id: 1, operation: Some(policies) }];
    program.send(v1::ProgramRequest { epoch, operations }).await.unwrap();
    assert_eq!(message(&mut answers).await.unwrap().unwrap().outcomes[0].outcome, Some(done()));
    running.notices.send(Notice::Acquire { policy: PolicyId(1), slot: PolicySlot(0), flow: flow() }).await.unwrap();
    for _ in 0..2 {
        let epoch = attach(&mut client).await;
        let mut events = client.events(v1::EventsRequest { epoch }).await.unwrap().into_inner();
        let event = message(&mut events).await.unwrap().unwrap().event.unwrap();
        assert_eq!(event, event::Event::Acquire(v1::Acquire { id: 1, policy: 1, flow: Some(flow().into()) }));
        attach(&mut client).await;
        assert!(message(&mut events).await.unwrap().is_none(), "ends with its epoch");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_worker_that_does_not_keep_up_is_told_to_stop() {
    let folder = Folder::new();
    let socket = Socket::bind(&folder.socket(), None).unwrap();
    let (mut core, mut ends) = core(1, QueueSizes { commands: 1, ..QueueSizes::default() }, 64, POLICIES);
    let epoch = core.attach(&v1::AttachRequest { controller: "test".to_owned() }).epoch;
    let policies = Operation::SetPolicies(v1::SetPolicies { policies: vec![policy(1)], more: false });
    let _answer = core.submit(v1::ProgramRequest { epoch, operations: vec![v1::Operation { id: 1, operation: Some(policies) }] });
    core.poll(0);
    let worker = tokio::spawn(async move {
        sleep(Duration::from_millis(100)).await;
        let mut end = ends.pop().unwrap();
        loop {
            match end.command() {
                Some(Command::Stop) => return,
                Some(_) => end.applied(),
                None => sleep(Duration::from_millis(1)).await,
            }
        }
    });
    let core = Shared::new(core);
    // As in the daemon, the core outlives the server.
    timeout(PATIENCE, serve(core.clone(), socket, Clock::start(), async {})).await.unwrap().unwrap();
    timeout(PATIENCE, worker).await.unwrap().unwrap();
}

#[tokio::test]
async fn users_who_are_not_named_are_turned_away() {
    let stranger = rustix::process::geteuid().as_raw().wrapping_add(1);
    let running = Running::start(Some(&[stranger]));
    let refused = match connect(&running.folder.socket()).await {
        Ok(channel) => DataPlaneClient::new(channel).stats(v1::StatsRequest {}).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    running.stop().await;
}

#[tokio::test]
async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let folder = Folder::new();
    let path = folder.socket();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let socket = Socket::bind(&path, None).unwrap();
    assert!(matches!(Socket::bind(&path, None), Err(SocketError::InUse(_))));
    assert!(path.exists(), "the refused one takes nothing away");
    drop(socket);
    assert!(!path.exists());
    fs::write(&path, "").unwrap();
    assert!(matches!(Socket::bind(&path, None), Err(SocketError::Occupied(_))));
    assert!(path.exists());
}
