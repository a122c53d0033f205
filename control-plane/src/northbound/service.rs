//! The calls of `culvert.control.v1`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use culvert_proto::control::v1 as control;
use culvert_proto::control::v1::control_server::Control;
use culvert_proto::control::v1::target::Sas;
use culvert_proto::control::v1::{
    ExplainRequest, ExplainResponse, InitiateRequest, InitiateResponse, ListSasRequest, ListSasResponse, PoliciesRequest, PoliciesResponse,
    PoolsRequest, PoolsResponse, PortsRequest, PortsResponse, RekeyRequest, RekeyResponse, ReloadRequest, ReloadResponse, StatsRequest,
    StatsResponse, TerminateRequest, TerminateResponse, TraceRecord, TraceRequest, VersionRequest, VersionResponse, WatchEvent,
    WatchRequest, WorkersRequest, WorkersResponse,
};
use culvert_proto::convert::address_octets;
use culvert_proto::dataplane::v1 as dataplane;
use ike::error::Failure;
use ike::io::{Answer, IkeSaId, Target};
use ipsec_types::{ChildSaId, PolicyId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::names::Names;
use super::view;
use crate::driver::{Missing, Reloaded, Request};
use crate::telemetry::{explain, happening, step};

/// Turns calls into requests to the driver.
#[derive(Debug)]
pub(super) struct Service {
    requests: mpsc::Sender<Request>,
    names: watch::Receiver<Names>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

const DEFAULT_INITIATE: Duration = Duration::from_secs(30);
const DEFAULT_TERMINATE: Duration = Duration::from_secs(10);
/// How long the data plane may take to list its SAs or counters.
const DATA_PLANE_ANSWER: Duration = Duration::from_secs(5);

impl Service {
    pub(super) fn new(requests: mpsc::Sender<Request>, names: watch::Receiver<Names>) -> Self {
        Self { requests, names }
    }

    /// Asks the driver and waits for its answer.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| ending())?;
        answer.await.map_err(|_| ending())
    }

    /// What the data plane says of itself.
    async fn data_plane(&self) -> Result<dataplane::StatsResponse, Status> {
        let (_, client) = self.ask(Request::Counters).await?;
        let mut client = client.ok_or_else(|| Status::failed_precondition("no data plane is attached"))?;
        in_time(client.stats(dataplane::StatsRequest {})).await
    }

    /// What is to be deleted or rekeyed. A name must be one of the configuration: a typing error is no success.
    fn target(&self, target: Option<control::Target>) -> Result<Target, Status> {
        let no_target = || Status::invalid_argument("target: name a connection, a child, an IKE SA or a Child SA");
        match target.and_then(|target| target.sas).ok_or_else(no_target)? {
            Sas::Connection(name) => self.names.borrow().connection(&name).map_err(Status::not_found),
            Sas::Child(name) => self.names.borrow().child(&name).map_err(Status::not_found),
            Sas::IkeSaId(id) => Ok(Target::IkeSa(IkeSaId(id))),
            Sas::ChildSaId(id) => Ok(Target::ChildSa(ChildSaId(id))),
        }
    }
}

#[tonic::async_trait]
impl Control for Service {
    async fn version(&self, _: tonic::Request<VersionRequest>) -> Result<Response<VersionResponse>, Status> {
        let data_plane = self.ask(Request::DataPlaneVersion).await?.unwrap_or_default();
        Ok(Response::new(VersionResponse { control_plane: env!("CARGO_PKG_VERSION").to_owned(), data_plane }))
    }

    async fn list_sas(&self, _: tonic::Request<ListSasRequest>) -> Result<Response<ListSasResponse>, Status> {
        let (sas, client) = self.ask(Request::Sas).await?;
        let counted = match client {
            Some(mut client) => in_time(client.list_child_sas(dataplane::ListChildSasRequest {})).await?.child_sas,
            None => Vec::new(),
        };
        let wants = self.ask(Request::Wants).await?;
        Ok(Response::new(view::list(&sas, &counted, &wants)))
    }

    async fn stats(&self, _: tonic::Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        let (control_plane, client) = self.ask(Request::Counters).await?;
        let data_plane = match client {
            Some(mut client) => Some(in_time(client.stats(dataplane::StatsRequest {})).await?),
            None => None,
        };
        Ok(Response::new(view::stats(control_plane, data_plane)))
    }

    async fn policies(&self, _: tonic::Request<PoliciesRequest>) -> Result<Response<PoliciesResponse>, Status> {
        let policies = view::policies(self.data_plane().await?.policies);
        Ok(Response::new(PoliciesResponse { policies }))
    }

    async fn pools(&self, _: tonic::Request<PoolsRequest>) -> Result<Response<PoolsResponse>, Status> {
        let pools = self.ask(Request::Pools).await?;
        Ok(Response::new(PoolsResponse { pools: pools.iter().map(view::pool).collect() }))
    }

    async fn ports(&self, _: tonic::Request<PortsRequest>) -> Result<Response<PortsResponse>, Status> {
        let ports = self.data_plane().await?.ports.into_iter().map(view::port).collect();
        Ok(Response::new(PortsResponse { ports }))
    }

    async fn workers(&self, _: tonic::Request<WorkersRequest>) -> Result<Response<WorkersResponse>, Status> {
        let workers = self.data_plane().await?.workers.iter().map(view::worker).collect();
        Ok(Response::new(WorkersResponse { workers }))
    }

    async fn initiate(&self, request: tonic::Request<InitiateRequest>) -> Result<Response<InitiateResponse>, Status> {
        let InitiateRequest { child, timeout_ms } = request.into_inner();
        let answer = in_wait(wait(timeout_ms, DEFAULT_INITIATE), self.ask(|reply| Request::Initiate(child, reply))).await?;
        let Answer::Initiated { ike_sa, child } = answer.map_err(status)? else { return Err(another_command()) };
        Ok(Response::new(InitiateResponse { ike_sa: ike_sa.0, child_sa: child.0 }))
    }

    async fn terminate(&self, request: tonic::Request<TerminateRequest>) -> Result<Response<TerminateResponse>, Status> {
        let TerminateRequest { target, timeout_ms } = request.into_inner();
        let target = self.target(target)?;
        let answer = in_wait(wait(timeout_ms, DEFAULT_TERMINATE), self.ask(|reply| Request::Terminate(target, reply))).await?;
        let Answer::Terminated(terminated) = answer.map_err(status)? else { return Err(another_command()) };
        Ok(Response::new(TerminateResponse { terminated }))
    }

    async fn rekey(&self, request: tonic::Request<RekeyRequest>) -> Result<Response<RekeyResponse>, Status> {
        let RekeyRequest { target, timeout_ms, reauthenticate } = request.into_inner();
        let target = self.target(target)?;
        let ask = |reply| if reauthenticate { Request::Reauthenticate(target, reply) } else { Request::Rekey(target, reply) };
        let answer = in_wait(wait(timeout_ms, DEFAULT_INITIATE), self.ask(ask)).await?;
        let Answer::Rekeyed { ike_sas, child_sas } = answer.map_err(status)? else { return Err(another_command()) };
        Ok(Response::new(RekeyResponse {
            ike_sas: ike_sas.iter().map(|id| id.0).collect(),
            child_sas: child_sas.iter().map(|id| id.0).collect(),
        }))
    }

    async fn reload(&self, _: tonic::Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        match self.ask(Request::Reload).await? {
            Ok(Reloaded { connections, children, policies }) => {
                Ok(Response::new(ReloadResponse { connections: count(connections), children: count(children), policies: count(policies) }))
            }
            Err(faults) => {
                let text = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
                let details = ErrorDetails::with_error_info("CONFIGURATION", DOMAIN, HashMap::<String, String>::new());
                Err(Status::with_error_details(Code::InvalidArgument, text, details))
            }
        }
    }

    async fn explain(&self, request: tonic::Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let request = question(request.into_inner())?;
        let (sas, client) = self.ask(Request::Sas).await?;
        let mut client = client.ok_or_else(|| Status::failed_precondition("no data plane is attached"))?;
        let answer = in_time(client.explain(request)).await?;
        let missing = answer.policy.as_ref().filter(|_| answer.child_sa.is_none()).map(|policy| PolicyId(policy.id));
        let behind = match missing {
            Some(policy) => self.ask(|reply| Request::Missing(policy, reply)).await?,
            None => Missing::default(),
        };
        Ok(Response::new(view::explained(answer, &sas, &behind)))
    }

    type WatchStream = Answers<WatchEvent>;

    async fn watch(&self, _: tonic::Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let events = BroadcastStream::new(self.ask(Request::Watch).await?);
        let events = events.map(|event| Ok(event.unwrap_or_else(|lagged| happening("lost", "", "", lost(&lagged)))));
        Ok(Response::new(Box::pin(events)))
    }

    type TraceStream = Answers<TraceRecord>;

    async fn trace(&self, request: tonic::Request<TraceRequest>) -> Result<Response<Self::TraceStream>, Status> {
        let TraceRequest { follow, connection, spi } = request.into_inner();
        if !connection.is_empty() {
            self.names.borrow().connection(&connection).map_err(Status::not_found)?;
        }
        let (mut recent, later) = self.ask(Request::Trace).await?;
        recent.retain(|line| line.is_of(&connection, spi));
        let recent = tokio_stream::iter(recent).map(|line| Ok(line.record()));
        if !follow {
            return Ok(Response::new(Box::pin(recent)));
        }
        let later = BroadcastStream::new(later).filter_map(move |line| match line {
            Ok(line) => line.is_of(&connection, spi).then(|| Ok(line.record())),
            Err(lagged) => Some(Ok(step("lost", vec![lost(&lagged)]))),
        });
        Ok(Response::new(Box::pin(recent.chain(later))))
    }
}

/// The question in the words of the data plane, which checks the rest.
fn question(request: ExplainRequest) -> Result<dataplane::ExplainRequest, Status> {
    let address = |field: &str, text: &str| {
        let parsed: Result<IpAddr, _> = text.parse();
        parsed.map(address_octets).map_err(|_| Status::invalid_argument(format!("{field}: '{text}' is no IP address")))
    };
    let flow = dataplane::Flow {
        source: address("source", &request.source)?,
        destination: address("destination", &request.destination)?,
        protocol: request.protocol,
        source_port: request.source_port,
        destination_port: request.destination_port,
    };
    let ExplainRequest { length, dont_fragment, from_unprotected, port, dscp, .. } = request;
    Ok(dataplane::ExplainRequest { flow: Some(flow), length, dont_fragment, from_unprotected, port, dscp })
}

fn another_command() -> Status {
    Status::internal("the core answered another command")
}

fn lost(BroadcastStreamRecvError::Lagged(count): &BroadcastStreamRecvError) -> String {
    format!("{count} lost, as they were read too slowly")
}

fn wait(asked_ms: u32, default: Duration) -> Duration {
    if asked_ms == 0 { default } else { Duration::from_millis(asked_ms.into()) }
}

/// What an exchange with the peer brings, if it comes in time.
async fn in_wait<T>(wait: Duration, result: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = |_| Status::deadline_exceeded(format!("no result within {} s; it goes on", wait.as_secs_f32()));
    timeout(wait, result).await.map_err(late)?
}

/// What the data plane answers. Never `UNAVAILABLE`, which says that the control plane itself cannot be reached.
async fn in_time<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    let silent = |_| Status::deadline_exceeded("the data plane does not answer");
    timeout(DATA_PLANE_ANSWER, call)
        .await
        .map_err(silent)?
        .map(Response::into_inner)
        .map_err(|status| Status::new(Code::Aborted, format!("the data plane: {}", status.message())))
}

fn ending() -> Status {
    Status::unavailable("the control plane is ending")
}

/// A failed negotiation as an answer. Not `UNAUTHENTICATED`: that would speak of the operator.
fn status(failure: Failure) -> Status {
    let code = match &failure {
        Failure::TimedOut(_) => Code::DeadlineExceeded,
        Failure::Malformed(_) | Failure::PeerMisbehaved(_) => Code::Aborted,
        Failure::Incompatible(..) | Failure::Unauthenticated(_) | Failure::Refused(..) | Failure::Local(_) => Code::FailedPrecondition,
    };
    let explained = explain(&failure);
    let all =
        [("ours", explained.ours), ("theirs", explained.theirs), ("would_match", explained.would_match), ("remedy", explained.remedy)];
    let said = all.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name.to_owned(), text));
    Status::with_error_details(
        code,
        explained.summary,
        ErrorDetails::with_error_info(explained.reason, DOMAIN, said.collect::<HashMap<_, _>>()),
    )
}

/// The domain of the reasons in error details.
const DOMAIN: &str = "culvert.control";
