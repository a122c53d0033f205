//! A data plane without packets: it keeps the contract, remembers what it was told, and hands IKE messages to a wire.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use culvert_proto::convert::address_octets;
use culvert_proto::dataplane::v1::data_plane_server::{DataPlane, DataPlaneServer};
use culvert_proto::dataplane::v1::explain_response::Fate;
use culvert_proto::dataplane::v1::operation::Operation as Kind;
use culvert_proto::dataplane::v1::outcome::Outcome as Result_;
use culvert_proto::dataplane::v1::{
    self, Acquire, AttachRequest, AttachResponse, ChildSaStatus, Counter, Datagram, Done, Event, EventsRequest, ExplainRequest,
    ExplainResponse, Failure, ListChildSasRequest, ListChildSasResponse, NextHop, NoSa, Operation, Outcome, Policy as Wire, PolicyStatus,
    PortStatus, ProgramRequest, ProgramResponse, PuntRequest, PuntResponse, SpiLease, StatsRequest, StatsResponse, WorkerStatus, event,
    failure,
};
use ipsec_types::{Activation, ChildSa, Flow, Policy, SequenceNumbers};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{UnboundedReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the data plane knows. Outlives the process that holds it, so that a test can look at it and start another one.
pub(crate) struct State {
    pub(crate) boot: [u8; 16],
    pub(crate) epoch: u64,
    /// Policies, once they have come in this boot.
    pub(crate) policies: Option<Vec<Policy>>,
    /// Of a set of which more is to come.
    draft: Vec<Policy>,
    /// What is installed.
    pub(crate) sas: BTreeMap<u64, ChildSa>,
    /// Every Install of every boot, as it came.
    pub(crate) installs: Vec<u64>,
    pub(crate) retired: Vec<u64>,
    pub(crate) refused_acquires: Vec<u64>,
    pub(crate) claims: Vec<Vec<u64>>,
    /// Identifiers of operations that came twice.
    pub(crate) repeated: Vec<u64>,
    /// Whether Installs are to fail.
    pub(crate) exhausted: bool,
    /// Whether questions for counters go without an answer.
    pub(crate) silent: bool,
    address: IpAddr,
    outcomes: HashMap<u64, Outcome>,
    leased: HashSet<u32>,
    next_spi: u32,
    wire: mpsc::UnboundedSender<Datagram>,
    punt: Option<mpsc::UnboundedSender<Result<PuntResponse, Status>>>,
    events: Option<mpsc::UnboundedSender<Result<Event, Status>>>,
}

impl State {
    pub(crate) fn new(address: IpAddr, first_spi: u32, wire: mpsc::UnboundedSender<Datagram>) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            boot: [1; 16],
            epoch: 0,
            policies: None,
            draft: Vec::new(),
            sas: BTreeMap::new(),
            installs: Vec::new(),
            retired: Vec::new(),
            refused_acquires: Vec::new(),
            claims: Vec::new(),
            repeated: Vec::new(),
            exhausted: false,
            silent: false,
            address,
            outcomes: HashMap::new(),
            leased: HashSet::new(),
            next_spi: first_spi,
            wire,
            punt: None,
            events: None,
        }))
    }

    /// What a process forgets when it ends.
    pub(crate) fn reboot(&mut self) {
        self.boot[0] += 1;
        self.policies = None;
        self.sas.clear();
        self.outcomes.clear();
        self.leased.clear();
    }

    /// A message from the wire.
    pub(crate) fn deliver(&self, datagram: Datagram) {
        if let Some(punt) = &self.punt {
            let _ = punt.send(Ok(PuntResponse { datagrams: vec![datagram] }));
        }
    }

    /// A packet waits for an SA of the policy called `name`.
    pub(crate) fn acquire(&self, id: u64, name: &str, flow: Flow) {
        let policy = self.policies.iter().flatten().find(|policy| policy.name == name).expect("the policy is there").id.0;
        let acquire = event::Event::Acquire(Acquire { id, policy, flow: Some(flow.into()) });
        self.events.as_ref().expect("somebody listens").send(Ok(Event { event: Some(acquire) })).expect("somebody listens");
    }

    fn carry_out(&mut self, operation: Operation) -> Outcome {
        if let Some(first) = self.outcomes.get(&operation.id) {
            self.repeated.push(operation.id);
            return first.clone();
        }
        let outcome = self
            .outcome(operation.operation.expect("an operation holds one"))
            .unwrap_or_else(|(reason, detail)| Result_::Failure(Failure { reason: reason.into(), detail }));
        let outcome = Outcome { id: operation.id, outcome: Some(outcome) };
        self.outcomes.insert(operation.id, outcome.clone());
        outcome
    }

    fn outcome(&mut self, operation: Kind) -> Result<Result_, (failure::Reason, String)> {
        let done = Ok(Result_::Done(Done {}));
        match operation {
            Kind::SetPolicies(set) => {
                let policies: Result<Vec<Policy>, _> = set.policies.into_iter().map(Policy::try_from).collect();
                self.draft.extend(policies.map_err(|error| (failure::Reason::Invalid, error.to_string()))?);
                if !set.more {
                    self.policies = Some(std::mem::take(&mut self.draft));
                }
            }
            Kind::LeaseSpis(lease) => {
                let spis: Vec<u32> = (self.next_spi..self.next_spi + lease.count).collect();
                self.next_spi += lease.count;
                self.leased.extend(&spis);
                return Ok(Result_::Spis(SpiLease { spis }));
            }
            Kind::Install(install) => {
                let sa = ChildSa::try_from(install).map_err(|error| (failure::Reason::Invalid, error.to_string()))?;
                if self.exhausted {
                    return Err((failure::Reason::Exhausted, "the SAD is full".into()));
                }
                if !self.leased.remove(&sa.inbound_spi.value()) {
                    return Err((failure::Reason::SpiNotLeased, sa.inbound_spi.to_string()));
                }
                self.installs.push(sa.id.0);
                self.sas.insert(sa.id.0, sa);
            }
            Kind::Retire(retire) => {
                self.sas.remove(&retire.child_sa).ok_or((failure::Reason::NotFound, String::new()))?;
                self.retired.push(retire.child_sa);
            }
            Kind::Claim(claim) => {
                self.sas.retain(|id, _| claim.child_sas.contains(id));
                self.claims.push(claim.child_sas);
            }
            Kind::RefuseAcquire(refuse) => self.refused_acquires.push(refuse.acquire),
            Kind::Activate(_) | Kind::Retarget(_) => {}
        }
        done
    }
}

/// The process: a thread with a runtime of its own, so that stopping it cuts every connection as a killed process would.
pub(crate) struct FakeDataPlane {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    socket: PathBuf,
}

impl FakeDataPlane {
    pub(crate) fn start(socket: &Path, state: &Arc<Mutex<State>>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let service = Service { state: state.clone() };
        let path = socket.to_path_buf();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let incoming = UnixListenerStream::new(UnixListener::bind(path).unwrap());
                let server = tonic::transport::Server::builder().add_service(DataPlaneServer::new(service)).serve_with_incoming(incoming);
                tokio::select! {
                    result = server => result.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { stop: Some(stop), thread: Some(thread), socket: socket.to_path_buf() }
    }
}

impl Drop for FakeDataPlane {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(thread::JoinHandle::join);
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// A policy with counters that tell which is which.
fn policy_status(policy: Policy) -> PolicyStatus {
    let Wire { id, name, priority, action, local, remote, dscp } = policy.into();
    PolicyStatus { id, name, action, packets: 9, octets: 10, priority, local, remote, child_sas: 1, dscp }
}

struct Service {
    state: Arc<Mutex<State>>,
}

impl Service {
    /// Never, where it is to be silent.
    async fn answers(&self) {
        let silent = self.state.lock().unwrap().silent;
        if silent {
            std::future::pending::<()>().await;
        }
    }

    fn state(&self, epoch: u64) -> Result<MutexGuard<'_, State>, Status> {
        let state = self.state.lock().unwrap();
        if state.epoch == epoch { Ok(state) } else { Err(Status::failed_precondition("of an older epoch")) }
    }
}

/// Calls `each` with every message of a stream, away from the call that brought it.
fn read<T: Send + 'static>(mut messages: Streaming<T>, mut each: impl FnMut(T) -> Option<()> + Send + 'static) {
    tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            if each(message).is_none() {
                return;
            }
        }
    });
}

fn answers<T: Send + 'static>(receiver: mpsc::UnboundedReceiver<Result<T, Status>>) -> Response<Answers<T>> {
    Response::new(Box::pin(UnboundedReceiverStream::new(receiver)))
}

#[tonic::async_trait]
impl DataPlane for Service {
    async fn attach(&self, _: Request<AttachRequest>) -> Result<Response<AttachResponse>, Status> {
        let mut state = self.state.lock().unwrap();
        state.epoch += 1;
        Ok(Response::new(AttachResponse {
            boot_id: state.boot.to_vec(),
            epoch: state.epoch,
            child_sas: state.sas.values().map(listed).collect(),
            local_addresses: vec![address_octets(state.address)],
            version: "fake".into(),
        }))
    }

    type ProgramStream = Answers<ProgramResponse>;

    async fn program(&self, request: Request<Streaming<ProgramRequest>>) -> Result<Response<Self::ProgramStream>, Status> {
        let (answer, receiver) = mpsc::unbounded_channel();
        let service = Self { state: self.state.clone() };
        read(request.into_inner(), move |request| {
            let response = service.state(request.epoch).map(|mut state| ProgramResponse {
                outcomes: request.operations.into_iter().map(|operation| state.carry_out(operation)).collect(),
            });
            answer.send(response).ok()
        });
        Ok(answers(receiver))
    }

    type PuntStream = Answers<PuntResponse>;

    async fn punt(&self, request: Request<Streaming<PuntRequest>>) -> Result<Response<Self::PuntStream>, Status> {
        let mut messages = request.into_inner();
        let first = messages.message().await?.ok_or_else(|| Status::invalid_argument("no epoch"))?;
        let (punt, receiver) = mpsc::unbounded_channel();
        self.state(first.epoch)?.punt = Some(punt);
        let state = self.state.clone();
        read(messages, move |request| {
            let state = state.lock().unwrap();
            request.datagrams.into_iter().try_for_each(|datagram| state.wire.send(datagram).ok())
        });
        Ok(answers(receiver))
    }

    type EventsStream = Answers<Event>;

    async fn events(&self, request: Request<EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let (events, receiver) = mpsc::unbounded_channel();
        self.state(request.into_inner().epoch)?.events = Some(events);
        Ok(answers(receiver))
    }

    /// Counters that tell which is which.
    async fn list_child_sas(&self, _: Request<ListChildSasRequest>) -> Result<Response<ListChildSasResponse>, Status> {
        self.answers().await;
        let state = self.state.lock().unwrap();
        let counted = |sa| ChildSaStatus { inbound_packets: 1, inbound_octets: 2, outbound_packets: 3, outbound_octets: 4, ..listed(sa) };
        Ok(Response::new(ListChildSasResponse { child_sas: state.sas.values().map(counted).collect() }))
    }

    async fn stats(&self, _: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        self.answers().await;
        let counters = vec![Counter { name: "esp_replayed".into(), value: 5, meaning: "RFC 4303 section 3.4.3".into() }];
        let ports = vec![PortStatus {
            name: "net0".into(),
            role: "protected".into(),
            mac: "02:00:00:00:00:01".into(),
            mtu: 1500,
            link_up: true,
            rx_packets: 6,
            addresses: vec!["10.1.0.1/24".into()],
            ..PortStatus::default()
        }];
        let workers =
            vec![WorkerStatus { core: 3, packets: 7, load_permille: 125, thread: 4242, punt_drops: 8, ..WorkerStatus::default() }];
        let policies = self.state.lock().unwrap().policies.clone().unwrap_or_default();
        let policies = policies.into_iter().map(policy_status);
        Ok(Response::new(StatsResponse { counters, ports, workers, policies: policies.collect(), ..StatsResponse::default() }))
    }

    /// Every packet matches the first policy, and crosses in the first SA or waits for one.
    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let length = request.into_inner().length;
        let state = self.state.lock().unwrap();
        let policy = state.policies.iter().flatten().next().cloned().map(policy_status);
        let Some(sa) = state.sas.values().next() else {
            let (no_sa, verdict) = (Some(NoSa { acquire: 0, refused_for_ms: 2500 }), "no_sa".into());
            return Ok(Response::new(ExplainResponse {
                fate: Fate::Waits.into(),
                policy,
                no_sa,
                verdict,
                length,
                ..ExplainResponse::default()
            }));
        };
        let next_hop = NextHop { port: "wan0".into(), address: address_octets(sa.remote), mac: String::new() };
        Ok(Response::new(ExplainResponse {
            port: "net0".into(),
            fate: Fate::Forwarded.into(),
            verdict: "protected".into(),
            meaning: "RFC 4303 section 3.3".into(),
            policy,
            child_sa: Some(listed(sa)),
            length,
            sent_length: length + 56,
            mtu: 1438,
            next_hop: Some(next_hop),
            no_sa: None,
        }))
    }
}

/// What is listed of an SA: no keys, counters at 0.
fn listed(sa: &ChildSa) -> ChildSaStatus {
    ChildSaStatus {
        child_sa: sa.id.0,
        policy: sa.policy.0,
        inbound_spi: sa.inbound_spi.value(),
        outbound_spi: sa.outbound_spi.value(),
        local_address: address_octets(sa.local),
        remote_address: address_octets(sa.remote),
        encapsulation: sa.encapsulation.map(Into::into),
        extended_sequence_numbers: sa.sequence_numbers == SequenceNumbers::Extended,
        replay_window: sa.replay_window,
        local_selectors: sa.local_selectors.iter().copied().map(Into::into).collect(),
        remote_selectors: sa.remote_selectors.iter().copied().map(Into::into).collect(),
        outbound_parked: sa.activation != Activation::Immediate,
        mode: v1::Mode::from(sa.mode).into(),
        ..sa.protection.into()
    }
}
