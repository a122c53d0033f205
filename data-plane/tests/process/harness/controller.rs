//! The control plane, played by the test: gRPC over the daemon's Unix socket.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::data_plane_client::DataPlaneClient;
use culvert_proto::dataplane::v1::event::Event;
use culvert_proto::dataplane::v1::operation::Operation;
use culvert_proto::dataplane::v1::outcome::Outcome;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use super::{PATIENCE, within};

/// A controller that has attached. Calls block.
pub(crate) struct Controller {
    runtime: Runtime,
    client: DataPlaneClient<Channel>,
    epoch: u64,
    last_operation: u64,
    last_child_sa: u64,
}

impl Controller {
    /// Connects and attaches.
    pub(crate) fn attach(socket: &Path) -> (Self, v1::AttachResponse) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // The socket's file is there a moment before anybody listens on it.
        let channel = within(PATIENCE, "a connection to the daemon", || {
            let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap();
            runtime.block_on(endpoint.origin(Uri::from_static("http://localhost")).connect()).ok()
        });
        let mut controller = Self { runtime, client: DataPlaneClient::new(channel), epoch: 0, last_operation: 0, last_child_sa: 0 };
        let answer = controller.attach_again();
        (controller, answer)
    }

    /// Attaches once more: the epoch rises.
    pub(crate) fn attach_again(&mut self) -> v1::AttachResponse {
        let request = v1::AttachRequest { controller: "test".to_owned() };
        let answer = wait(&self.runtime, self.client.attach(request)).unwrap().into_inner();
        self.epoch = answer.epoch;
        // Operations and Child SAs are never named alike in a boot.
        self.last_operation = answer.epoch << 32;
        self.last_child_sa = answer.epoch << 32;
        answer
    }

    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// An identifier that no Child SA had before.
    pub(crate) const fn next_child_sa(&mut self) -> u64 {
        self.last_child_sa += 1;
        self.last_child_sa
    }

    /// Runs operations as one batch under these identifiers.
    pub(crate) fn program(&mut self, epoch: u64, operations: Vec<(u64, Operation)>) -> Result<Vec<Outcome>, Status> {
        let ids: Vec<u64> = operations.iter().map(|(id, _)| *id).collect();
        let operations = operations.into_iter().map(|(id, operation)| v1::Operation { id, operation: Some(operation) }).collect();
        let (sender, requests) = mpsc::channel(1);
        let client = &mut self.client;
        let answer = wait(&self.runtime, async {
            sender.send(v1::ProgramRequest { epoch, operations }).await.unwrap();
            let mut answers = client.program(ReceiverStream::new(requests)).await?.into_inner();
            let answer = answers.message().await?.expect("the stream of outcomes has ended");
            drop(sender);
            Ok::<_, Status>(answer)
        })?;
        assert_eq!(answer.outcomes.iter().map(|outcome| outcome.id).collect::<Vec<_>>(), ids);
        Ok(answer.outcomes.into_iter().map(|outcome| outcome.outcome.unwrap()).collect())
    }

    /// Runs one operation under an identifier of its own.
    pub(crate) fn run(&mut self, operation: Operation) -> Outcome {
        self.last_operation += 1;
        self.program(self.epoch, vec![(self.last_operation, operation)]).unwrap().remove(0)
    }

    /// Runs one operation, which succeeds.
    pub(crate) fn done(&mut self, operation: Operation) {
        let outcome = self.run(operation);
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }

    /// Replaces the SPD.
    pub(crate) fn set_policies(&mut self, policies: Vec<v1::Policy>) {
        self.done(Operation::SetPolicies(v1::SetPolicies { policies, more: false }));
    }

    /// Leases one SPI.
    pub(crate) fn lease(&mut self) -> u32 {
        match self.run(Operation::LeaseSpis(v1::LeaseSpis { count: 1 })) {
            Outcome::Spis(v1::SpiLease { spis }) if spis.len() == 1 => spis[0],
            outcome => panic!("no lease: {outcome:?}"),
        }
    }

    pub(crate) fn child_sas(&mut self) -> Vec<v1::ChildSaStatus> {
        wait(&self.runtime, self.client.list_child_sas(v1::ListChildSasRequest {})).unwrap().into_inner().child_sas
    }

    /// What is listed of an installed Child SA.
    pub(crate) fn child_sa(&mut self, id: u64) -> Option<v1::ChildSaStatus> {
        self.child_sas().into_iter().find(|status| status.child_sa == id)
    }

    pub(crate) fn stats(&mut self) -> v1::StatsResponse {
        wait(&self.runtime, self.client.stats(v1::StatsRequest {})).unwrap().into_inner()
    }

    /// What would become of a packet.
    pub(crate) fn explain(&mut self, request: v1::ExplainRequest) -> Result<v1::ExplainResponse, Status> {
        wait(&self.runtime, self.client.explain(request)).map(tonic::Response::into_inner)
    }

    pub(crate) fn counters(&mut self) -> Counters {
        Counters(self.stats().counters.into_iter().map(|counter| (counter.name, counter.value)).collect())
    }

    /// Waits until the counters have risen by so much since `before`. Fails where one of them rises further, or a drop is counted that is not named.
    pub(crate) fn expect_counters(&mut self, before: &Counters, rises: &[(&str, u64)]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.counters();
            let all_there = rises.iter().all(|(name, by)| now.of(name) >= before.of(name) + by);
            if all_there || Instant::now() >= deadline {
                let moved = now.moved_since(before, rises);
                let expected = rises.iter().map(|(name, by)| ((*name).to_owned(), *by)).filter(|(_, by)| *by > 0).collect();
                assert_eq!(moved, expected, "counters that have risen");
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until a counter has risen. A packet may arrive before it is counted: the driver takes it first.
    pub(crate) fn await_counter(&mut self, before: &Counters, name: &str) {
        within(PATIENCE, name, || (self.counters().of(name) > before.of(name)).then_some(()));
    }

    /// Subscribes to events.
    pub(crate) fn subscribe(&mut self) -> Events {
        Events(wait(&self.runtime, self.client.events(v1::EventsRequest { epoch: self.epoch })).unwrap().into_inner())
    }

    /// The next event that `pick` takes; others are passed over.
    pub(crate) fn expect_event<T>(&self, events: &mut Events, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        self.runtime.block_on(async {
            let search = async {
                loop {
                    let event = events.0.message().await.unwrap().expect("the stream of events has ended");
                    if let Some(answer) = event.event.and_then(&mut pick) {
                        return answer;
                    }
                }
            };
            timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("no {what}"))
        })
    }

    /// The subscription ends, whatever is still in it.
    pub(crate) fn expect_end(&self, events: &mut Events) {
        wait(&self.runtime, async { while let Ok(Some(_)) = events.0.message().await {} });
    }

    pub(crate) fn expect_acquire(&self, events: &mut Events) -> v1::Acquire {
        self.expect_event(events, "Acquire", |event| if let Event::Acquire(acquire) = event { Some(acquire) } else { None })
    }

    /// Opens the punt stream.
    pub(crate) fn open_punt(&mut self) -> Punt {
        let (sender, requests) = mpsc::channel(8);
        let (client, epoch) = (&mut self.client, self.epoch);
        let datagrams = wait(&self.runtime, async {
            sender.send(v1::PuntRequest { epoch, ..v1::PuntRequest::default() }).await.unwrap();
            client.punt(ReceiverStream::new(requests)).await
        });
        Punt { sender, datagrams: datagrams.unwrap().into_inner() }
    }

    /// The next datagram that was punted.
    pub(crate) fn expect_datagram(&self, punt: &mut Punt) -> v1::Datagram {
        let answer = wait(&self.runtime, punt.datagrams.message()).unwrap().expect("the punt stream has ended");
        assert_eq!(answer.datagrams.len(), 1);
        answer.datagrams.into_iter().next().unwrap()
    }

    /// Sends a datagram, and waits until the daemon has sent or refused it: the stream is written only while something waits.
    pub(crate) fn send_datagram(&mut self, punt: &Punt, datagram: v1::Datagram) {
        self.send_punt(punt, v1::PuntRequest { datagrams: vec![datagram], ..v1::PuntRequest::default() });
    }

    /// The same with a NAT-keepalive.
    pub(crate) fn send_keep_alive(&mut self, punt: &Punt, ends: v1::Datagram) {
        self.send_punt(punt, v1::PuntRequest { keep_alives: vec![ends], ..v1::PuntRequest::default() });
    }

    fn send_punt(&mut self, punt: &Punt, mut request: v1::PuntRequest) {
        let seen =
            |counters: &Counters| ["ike_sent", "nat_keepalives_sent", "ike_refused"].map(|name| counters.of(name)).iter().sum::<u64>();
        let before = seen(&self.counters());
        request.epoch = self.epoch;
        self.runtime.block_on(punt.sender.send(request)).unwrap();
        within(PATIENCE, "a fate of the datagram", || (seen(&self.counters()) > before).then_some(()));
    }

    /// Calls that carry an epoch of the caller's choice: Events and Punt.
    pub(crate) fn streams_of_epoch(&mut self, epoch: u64) -> (Option<Status>, Option<Status>) {
        let client = &mut self.client;
        wait(&self.runtime, async {
            let events = client.events(v1::EventsRequest { epoch }).await.err();
            let requests = tokio_stream::once(v1::PuntRequest { epoch, ..v1::PuntRequest::default() });
            let punt = match client.punt(requests).await {
                Ok(stream) => stream.into_inner().message().await.err(),
                Err(status) => Some(status),
            };
            (events, punt)
        })
    }
}

/// No answer may take longer than the tests are patient.
fn wait<T>(runtime: &Runtime, call: impl Future<Output = T>) -> T {
    runtime.block_on(async { timeout(PATIENCE, call).await.expect("the daemon does not answer") })
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// A subscription.
#[derive(Debug)]
pub(crate) struct Events(Streaming<v1::Event>);

/// The punt stream.
#[derive(Debug)]
pub(crate) struct Punt {
    sender: mpsc::Sender<v1::PuntRequest>,
    datagrams: Streaming<v1::PuntResponse>,
}

/// The counters of a moment, by name.
#[derive(Debug, Clone)]
pub(crate) struct Counters(BTreeMap<String, u64>);

impl Counters {
    pub(crate) fn of(&self, name: &str) -> u64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no counter is called {name}"))
    }

    /// The counters of drops.
    pub(crate) fn names_of_drops(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|name| name.starts_with("drop_"))
    }

    /// What has risen since: the counters named, and every drop.
    fn moved_since(&self, before: &Self, named: &[(&str, u64)]) -> BTreeMap<String, u64> {
        let counts = |name: &str| name.starts_with("drop_") || named.iter().any(|(n, _)| *n == name);
        let rise = |(name, value): (&String, &u64)| (name.clone(), value - before.of(name));
        self.0.iter().filter(|(name, _)| counts(name)).map(rise).filter(|(_, by)| *by > 0).collect()
    }
}
