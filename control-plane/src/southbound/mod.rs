//! The data plane, as seen from here: finds it, attaches, and keeps the three streams of the contract going until one breaks.
//!
//! A [`Session`] is one attachment. It goes to the driver with the news that there is one, and dies with it, so nothing that was meant for
//! an earlier epoch can reach a later one.

mod decode;
mod session;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use culvert_proto::convert::ConvertError;
use culvert_proto::dataplane::v1::data_plane_client::DataPlaneClient;
use culvert_proto::dataplane::v1::{AttachRequest, AttachResponse, EventsRequest, Outcome, ProgramRequest, PuntRequest};
use ike::io::{Datagram, Dataplane, InstalledChildSa};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};

pub(crate) use session::{Session, Settled};

/// The data plane's client.
pub(crate) type Client = DataPlaneClient<Channel>;

/// News of the data plane.
#[derive(Debug)]
pub(crate) enum Report {
    /// It is there.
    Attached(Box<Attachment>),
    /// It is gone.
    Detached(String),
    /// Operations are carried out.
    Outcomes(Vec<Outcome>),
    /// IKE messages arrived.
    Datagrams(Vec<Datagram>),
    /// Something happened there.
    Event(Dataplane),
}

/// What an attachment brings.
#[derive(Debug)]
pub(crate) struct Attachment {
    /// The way to speak to it.
    pub(crate) session: Session,
    /// Its boot.
    pub(crate) boot: [u8; 16],
    /// The epoch of this attachment.
    pub(crate) epoch: u64,
    /// What it has installed.
    pub(crate) child_sas: Vec<InstalledChildSa>,
    /// Where IKE may speak from.
    pub(crate) local_addresses: Vec<IpAddr>,
    /// Its version, for operators.
    pub(crate) version: String,
}

/// Why there is no session, or no more.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("{} ({:?})", .0.message(), .0.code())]
    Status(Box<Status>),
    #[error("its answer cannot be read: {0}")]
    Unreadable(#[from] ConvertError),
    #[error("its boot id has {0} octets, not 16")]
    BootId(usize),
    #[error("its epoch {0} exceeds 32 bits")]
    Epoch(u64),
    #[error("it does not answer")]
    Silent,
    #[error("it closed the {0} stream")]
    Closed(&'static str),
    #[error("the driver has ended")]
    DriverEnded,
}

impl From<Status> for Broken {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// How long to wait for each answer while attaching.
const ANSWER: Duration = Duration::from_secs(5);
/// A data plane that has ended closes the socket at once: this is for one that hangs, not for one that has to wait for its core.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// Octets of an answer that lists all Child SAs or policies: about 200 of each.
const LONGEST_ANSWER: usize = 64 << 20;
/// First and longest wait between attempts.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Batches of datagrams on their way to the data plane; what exceeds them is dropped, as a full socket would.
const PUNT_QUEUE: usize = 64;

/// Attaches to the data plane at `socket`, again and again, until nobody listens to the reports.
pub(crate) async fn run(socket: PathBuf, reports: mpsc::Sender<Report>) {
    let mut wait = BACK_OFF.0;
    let mut told = false;
    loop {
        let mut attached = false;
        let broken = match attach_and_serve(&socket, &reports, &mut attached).await {
            Ok(never) => match never {},
            Err(Broken::DriverEnded) => return,
            Err(broken) => broken,
        };
        if reports.is_closed() {
            return;
        }
        if attached {
            told = false;
            if reports.send(Report::Detached(broken.to_string())).await.is_err() {
                return;
            }
        } else if !told {
            // Once: the next attempts fail for the same reason, and the log should not fill while the data plane starts.
            tracing::info!("waiting for the data plane at {}: {broken}", socket.display());
            told = true;
        }
        if attached {
            // It was there: it may well be there again in a moment.
            wait = BACK_OFF.0;
        }
        sleep(wait).await;
        wait = (wait * 2).min(BACK_OFF.1);
    }
}

/// One session from its beginning to its end, which is always an error.
async fn attach_and_serve(socket: &Path, reports: &mpsc::Sender<Report>, attached: &mut bool) -> Result<std::convert::Infallible, Broken> {
    let mut client = connect(socket).await?;
    let request = AttachRequest { controller: format!("culvert-control {}", env!("CARGO_PKG_VERSION")) };
    let attach = answer(client.attach(request)).await?;
    let epoch = attach.epoch;

    let (operations, program_queue) = mpsc::unbounded_channel();
    let (datagrams, punt_queue) = mpsc::channel(PUNT_QUEUE);
    // Both streams open with the epoch, as a server may wait for it before it answers.
    let _ = operations.send(ProgramRequest { epoch, operations: Vec::new() });
    let _ = datagrams.try_send(PuntRequest { epoch, ..PuntRequest::default() });
    let mut outcomes = answer(client.program(UnboundedReceiverStream::new(program_queue))).await?;
    let mut punted = answer(client.punt(ReceiverStream::new(punt_queue))).await?;
    let mut events = answer(client.events(EventsRequest { epoch })).await?;

    let session = Session::new(epoch, operations, datagrams, client);
    let tell = async |report| reports.send(report).await.map_err(|_| Broken::DriverEnded);
    let attachment = attachment(attach, session)?;
    *attached = true;
    tell(Report::Attached(Box::new(attachment))).await?;
    loop {
        tokio::select! {
            message = outcomes.message() => tell(Report::Outcomes(message?.ok_or(Broken::Closed("program"))?.outcomes)).await?,
            message = punted.message() => match decode::datagrams(message?.ok_or(Broken::Closed("punt"))?) {
                Ok(datagrams) => tell(Report::Datagrams(datagrams)).await?,
                Err(error) => tracing::error!("the data plane sent a batch of datagrams that cannot be read: {error}"),
            },
            message = events.message() => match decode::event(message?.ok_or(Broken::Closed("event"))?) {
                Ok(Some(event)) => tell(Report::Event(event)).await?,
                Ok(None) => {}
                Err(error) => tracing::error!("the data plane sent an event that cannot be read: {error}"),
            },
        }
    }
}

/// The answer of a call, if it comes in time.
async fn answer<T>(call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Broken> {
    Ok(timeout(ANSWER, call).await.map_err(|_| Broken::Silent)??.into_inner())
}

/// A channel over the Unix socket. HTTP/2 wants an authority that is a host: the socket's path is none.
async fn connect(socket: &Path) -> Result<Client, Broken> {
    let channel = Endpoint::from_shared(format!("unix:{}", socket.display()))?
        .origin(Uri::from_static("http://localhost"))
        .connect_timeout(ANSWER)
        .http2_keep_alive_interval(ANSWER)
        .keep_alive_timeout(SIGN_OF_LIFE)
        .keep_alive_while_idle(true)
        .connect()
        .await?;
    Ok(DataPlaneClient::new(channel).max_decoding_message_size(LONGEST_ANSWER))
}

fn attachment(answer: AttachResponse, session: Session) -> Result<Attachment, Broken> {
    let boot = <[u8; 16]>::try_from(answer.boot_id.as_slice()).map_err(|_| Broken::BootId(answer.boot_id.len()))?;
    // The epoch is the high half of identifiers that must never repeat.
    if u32::try_from(answer.epoch).is_err() {
        return Err(Broken::Epoch(answer.epoch));
    }
    Ok(Attachment {
        session,
        boot,
        epoch: answer.epoch,
        child_sas: decode::installed(answer.child_sas)?,
        local_addresses: decode::addresses("local_addresses", &answer.local_addresses)?,
        version: answer.version,
    })
}
