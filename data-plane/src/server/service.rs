//! The gRPC service: streams and errors; what anything means is the [`Core`]'s.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::data_plane_server::DataPlane;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::server::core::Core;

/// Messages that wait in a stream for the controller to fetch them.
const STREAM_BACKLOG: usize = 64;
/// Answers of a programming stream that wait for the controller to fetch them.
const PROGRAM_BACKLOG: usize = 1;
/// Requests of a programming stream that are under way. An answer waits for workers, which may sleep, and others need not wait for that.
const REQUESTS_UNDER_WAY: usize = 64;

/// How long a worker may take to answer an inquiry.
const EXPLAIN_PATIENCE: Duration = Duration::from_secs(1);

/// The core, shared by the services and the server's loop. All of them run on one thread: the lock is never waited for.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    core: Mutex<Core>,
    work: Notify,
}

impl Shared {
    /// Shares a core.
    pub fn new(core: Core) -> Self {
        Self(Arc::new(Inner { core: Mutex::new(core), work: Notify::new() }))
    }

    /// The core, for a moment: never across an `await`.
    pub fn lock(&self) -> MutexGuard<'_, Core> {
        self.0.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the server's loop poll the core without waiting for its time.
    pub(super) fn wake(&self) {
        self.0.work.notify_one();
    }

    /// Completes when there is work.
    pub(super) async fn woken(&self) {
        self.0.work.notified().await;
    }
}

/// Implements [`DataPlane`].
#[derive(Debug)]
pub struct Service {
    core: Shared,
}

impl Service {
    /// The service of a core.
    pub fn new(core: Shared) -> Self {
        Self { core }
    }
}

#[tonic::async_trait]
impl DataPlane for Service {
    type ProgramStream = ReceiverStream<Result<v1::ProgramResponse, Status>>;
    type PuntStream = ReceiverStream<Result<v1::PuntResponse, Status>>;
    type EventsStream = ReceiverStream<Result<v1::Event, Status>>;

    async fn attach(&self, request: Request<v1::AttachRequest>) -> Result<Response<v1::AttachResponse>, Status> {
        Ok(Response::new(self.core.lock().attach(request.get_ref())))
    }

    async fn program(&self, request: Request<Streaming<v1::ProgramRequest>>) -> Result<Response<Self::ProgramStream>, Status> {
        let (answers, stream) = mpsc::channel(PROGRAM_BACKLOG);
        tokio::spawn(program(self.core.clone(), request.into_inner(), answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn punt(&self, request: Request<Streaming<v1::PuntRequest>>) -> Result<Response<Self::PuntStream>, Status> {
        let (datagrams, stream) = mpsc::channel(STREAM_BACKLOG);
        tokio::spawn(punt(self.core.clone(), request.into_inner(), datagrams));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn events(&self, request: Request<v1::EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let (events, stream) = mpsc::channel(STREAM_BACKLOG);
        self.core.lock().subscribe(request.get_ref().epoch, events)?;
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn list_child_sas(&self, _: Request<v1::ListChildSasRequest>) -> Result<Response<v1::ListChildSasResponse>, Status> {
        Ok(Response::new(self.core.lock().list()))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let answer = self.core.lock().explain(&request.into_inner())?;
        self.core.wake();
        let silent = |_| Status::deadline_exceeded("the worker that was asked does not answer");
        let answer = time::timeout(EXPLAIN_PATIENCE, answer).await.map_err(silent)?;
        answer.map(Response::new).map_err(|_| Status::unavailable("the data plane is stopping"))
    }

    async fn stats(&self, _: Request<v1::StatsRequest>) -> Result<Response<v1::StatsResponse>, Status> {
        Ok(Response::new(self.core.lock().stats()))
    }
}

/// Runs batch after batch, and answers in their order, until the caller ends the stream or a batch is refused as a whole.
async fn program(core: Shared, mut requests: Streaming<v1::ProgramRequest>, answers: mpsc::Sender<Result<v1::ProgramResponse, Status>>) {
    let (mut under_way, mut goes_on) = (VecDeque::new(), true);
    while goes_on || !under_way.is_empty() {
        tokio::select! {
            request = next(&mut requests), if goes_on && under_way.len() < REQUESTS_UNDER_WAY => match request {
                Some(request) => {
                    under_way.push_back(core.lock().submit(request));
                    core.wake();
                }
                None => goes_on = false,
            },
            Some(answer) = first(&mut under_way) => {
                under_way.pop_front();
                let refused = answer.is_err();
                if answers.send(answer).await.is_err() || refused {
                    return;
                }
            }
        }
    }
}

/// The first answer, when it comes; `None` where none is awaited.
async fn first(
    under_way: &mut VecDeque<oneshot::Receiver<Result<v1::ProgramResponse, Status>>>,
) -> Option<Result<v1::ProgramResponse, Status>> {
    let answer = under_way.front_mut()?.await;
    Some(answer.unwrap_or_else(|_| Err(Status::unavailable("the data plane is stopping"))))
}

/// Opens the punt stream with the first message, then sends what the controller wants sent. Ends when another stream takes its place.
async fn punt(core: Shared, mut requests: Streaming<v1::PuntRequest>, datagrams: mpsc::Sender<Result<v1::PuntResponse, Status>>) {
    let Some(first) = next(&mut requests).await else { return };
    let epoch = first.epoch;
    let opened = core.lock().open_punt(epoch, datagrams.clone());
    if let Err(status) = opened {
        drop(datagrams.send(Err(status)).await);
        return;
    }
    // From here on the core alone holds the stream, so that its end is the core's to decide.
    drop(datagrams);
    let mut request = Some(first);
    while let Some(message) = request {
        {
            let mut core = core.lock();
            if core.check_epoch(epoch).is_err() {
                return;
            }
            core.send_datagrams(&message.datagrams);
            core.send_keep_alives(&message.keep_alives);
        }
        request = next(&mut requests).await;
    }
}

/// The next message; `None` at the end of the stream and when it breaks.
async fn next<T>(requests: &mut Streaming<T>) -> Option<T> {
    requests.message().await.unwrap_or_else(|status| {
        tracing::debug!(%status, "stream broke");
        None
    })
}
