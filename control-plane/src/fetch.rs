//! Fetches what is known about certificates from where they say it is: lists of revocations, and answers of OCSP (RFC 5280 section 4.2.1.13, RFC 6960
//! appendix A). Every wait, every size and every number is bounded; what is fetched is signed, and judged by who asked for it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, LOCATION};
use hyper::http::uri::{Authority, Scheme};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use ike::provider::Inquiry;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long one fetch may take, its wait for others included.
const PATIENCE: Duration = Duration::from_secs(5);
/// Fetches at once; those beyond wait.
const AT_ONCE: usize = 64;
/// Fetches that may wait.
const QUEUE: usize = 256;
/// Names that are looked up at once: each takes a thread, which a silent resolver holds for a while.
const LOOKUPS: usize = 16;
/// Redirects that are followed.
const REDIRECTS: usize = 3;
/// Octets of a list of revocations.
const LONGEST_LIST: usize = 4 << 20;
/// Octets of an answer of OCSP.
const LONGEST_ANSWER: usize = 64 << 10;

/// Where fetches are asked for. They run on a thread of their own: looking names up blocks, and must not take the threads of key exchanges.
#[derive(Debug, Clone)]
pub(crate) struct Fetcher(mpsc::Sender<Asked>);

#[derive(Debug)]
struct Asked {
    inquiry: Inquiry,
    reply: oneshot::Sender<Vec<u8>>,
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("this is no address of http://")]
    Address,
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the server says {0}")]
    Status(StatusCode),
    #[error("more than {REDIRECTS} redirects")]
    Redirects,
    #[error("the answer is cut off, or longer than {0} octets")]
    Body(usize),
    #[error("no answer in {} s", PATIENCE.as_secs())]
    Silence,
}

impl Fetcher {
    /// Starts the thread; it ends when the last fetcher is dropped.
    ///
    /// # Errors
    /// Where the system has no thread for it.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(LOOKUPS).build()?;
        let (ask, asked) = mpsc::channel(QUEUE);
        thread::Builder::new().name("fetch".to_owned()).spawn(move || {
            runtime.block_on(serve(asked));
            runtime.shutdown_background();
        })?;
        Ok(Self(ask))
    }

    /// What an inquiry brings; `None` where nothing came in time.
    pub(crate) async fn fetch(&self, inquiry: Inquiry) -> Option<Vec<u8>> {
        let (reply, answer) = oneshot::channel();
        let waiting = async {
            self.0.send(Asked { inquiry, reply }).await.ok()?;
            answer.await.ok()
        };
        timeout(PATIENCE, waiting).await.ok().flatten()
    }
}

async fn serve(mut asked: mpsc::Receiver<Asked>) {
    let free = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    while let Some(Asked { inquiry, mut reply }) = asked.recv().await {
        while running.try_join_next().is_some() {}
        let Ok(permit) = free.clone().acquire_owned().await else { return };
        running.spawn(async move {
            let fetched = async { timeout(PATIENCE, fetch(&inquiry)).await.unwrap_or(Err(FetchError::Silence)) };
            // Whoever has given up needs nothing any more.
            let fetched = tokio::select! {
                fetched = fetched => fetched,
                () = reply.closed() => Err(FetchError::Silence),
            };
            match fetched {
                Ok(answer) => drop(reply.send(answer)),
                Err(error) => tracing::warn!("{}: {error}", inquiry.url),
            }
            drop(permit);
        });
    }
}

/// An answer, or where it is.
enum Fetched {
    Answer(Vec<u8>),
    Moved(Uri),
}

async fn fetch(inquiry: &Inquiry) -> Result<Vec<u8>, FetchError> {
    let mut place: Uri = inquiry.url.parse().map_err(|_| FetchError::Address)?;
    for _ in 0..=REDIRECTS {
        match request(&place, inquiry.question.as_deref()).await? {
            Fetched::Answer(answer) => return Ok(answer),
            Fetched::Moved(to) => place = to,
        }
    }
    Err(FetchError::Redirects)
}

/// One request on a connection of its own.
async fn request(place: &Uri, question: Option<&[u8]>) -> Result<Fetched, FetchError> {
    let authority = place.authority().filter(|_| place.scheme() == Some(&Scheme::HTTP)).ok_or(FetchError::Address)?;
    let stream = connect(authority).await.map_err(FetchError::Connect)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // With the set, whatever happens, the connection ends.
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    let path = place.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder().uri(path).header(HOST, authority.as_str());
    let request = match question {
        Some(question) => {
            request.method(Method::POST).header(CONTENT_TYPE, ike_crypto::OCSP_REQUEST).body(Full::new(Bytes::copy_from_slice(question)))
        }
        None => request.body(Full::default()),
    };
    let response = sender.send_request(request.map_err(|_| FetchError::Address)?).await?;
    match response.status() {
        StatusCode::OK => body(response, if question.is_some() { LONGEST_ANSWER } else { LONGEST_LIST }).await.map(Fetched::Answer),
        status if status.is_redirection() => moved(place, &response).map(Fetched::Moved).ok_or(FetchError::Status(status)),
        status => Err(FetchError::Status(status)),
    }
}

/// IPv6 addresses stand in brackets.
async fn connect(authority: &Authority) -> io::Result<TcpStream> {
    let (host, port) = (authority.host().trim_start_matches('[').trim_end_matches(']'), authority.port_u16().unwrap_or(80));
    match host.parse::<IpAddr>() {
        Ok(address) => TcpStream::connect((address, port)).await,
        Err(_) => TcpStream::connect((host, port)).await,
    }
}

async fn body(response: Response<Incoming>, most: usize) -> Result<Vec<u8>, FetchError> {
    match Limited::new(response.into_body(), most).collect().await {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(error) if error.is::<LengthLimitError>() => Err(FetchError::Body(most)),
        Err(_) => Err(FetchError::Body(most)),
    }
}

/// Where to go on: an address of its own, or another path at the same place.
fn moved(from: &Uri, response: &Response<Incoming>) -> Option<Uri> {
    let to: Uri = response.headers().get(LOCATION)?.to_str().ok()?.parse().ok()?;
    if to.authority().is_some() {
        return Some(to);
    }
    Uri::builder()
        .scheme(from.scheme()?.clone())
        .authority(from.authority()?.clone())
        .path_and_query(to.path_and_query()?.clone())
        .build()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server that reads one request a connection and answers in order; then it is silent.
    fn server(answers: Vec<Vec<u8>>) -> (String, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("http://{}", listener.local_addr().unwrap());
        let heard = thread::spawn(move || {
            answers
                .into_iter()
                .map(|answer| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut request = vec![0; 4096];
                    let len = stream.read(&mut request).unwrap();
                    // Who has read enough closes.
                    let _ = stream.write_all(&answer);
                    String::from_utf8_lossy(&request[..len]).into_owned()
                })
                .collect()
        });
        (place, heard)
    }

    fn with_body(octets: &[u8]) -> Vec<u8> {
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", octets.len()).as_bytes(), octets].concat()
    }

    fn to(place: &str) -> Vec<u8> {
        format!("HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    }

    fn inquiry(url: String, question: Option<&[u8]>) -> Inquiry {
        Inquiry { url, question: question.map(<[u8]>::to_vec) }
    }

    #[tokio::test]
    async fn a_list_is_got_and_a_question_posted() {
        let (place, heard) = server(vec![with_body(b"list"), with_body(b"answer")]);
        assert_eq!(fetch(&inquiry(format!("{place}/ca.crl?x=1"), None)).await.unwrap(), b"list");
        assert_eq!(fetch(&inquiry(place.clone(), Some(b"question"))).await.unwrap(), b"answer");
        let heard = heard.join().unwrap();
        assert!(heard[0].starts_with("GET /ca.crl?x=1 HTTP/1.1\r\n"), "{}", heard[0]);
        assert!(heard[1].starts_with("POST / HTTP/1.1\r\n") && heard[1].contains("application/ocsp-request"), "{}", heard[1]);
    }

    #[tokio::test]
    async fn redirects_are_followed_to_a_bound_and_only_to_http() {
        let (place, _heard) = server(vec![to("/1"), to("/2"), to("/3"), with_body(b"list")]);
        assert_eq!(fetch(&inquiry(place, None)).await.unwrap(), b"list");
        let (place, _heard) = server(vec![to("/1"), to("/2"), to("/3"), to("/4")]);
        assert!(matches!(fetch(&inquiry(place, None)).await, Err(FetchError::Redirects)));
        for other in ["https://127.0.0.1/", "ftp://127.0.0.1/", "ldap://127.0.0.1/"] {
            let (place, _heard) = server(vec![to(other)]);
            assert!(matches!(fetch(&inquiry(place, None)).await, Err(FetchError::Address)), "{other}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_of_bounded_length_whatever_is_announced() {
        let exact = vec![7; LONGEST_ANSWER];
        let (place, _heard) = server(vec![
            with_body(&exact),
            with_body(&[&exact[..], &[7]].concat()),
            [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n"[..], &[7; 0x20000]].concat(),
        ]);
        assert_eq!(fetch(&inquiry(place.clone(), Some(b""))).await.unwrap(), exact);
        for _ in 0..2 {
            assert!(matches!(fetch(&inquiry(place.clone(), Some(b""))).await, Err(FetchError::Body(LONGEST_ANSWER))));
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_none() {
        let (place, _heard) = server(vec![b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(), b"SSH-2.0-x\r\n".to_vec()]);
        assert!(matches!(fetch(&inquiry(place.clone(), None)).await, Err(FetchError::Status(StatusCode::NOT_FOUND))));
        assert!(matches!(fetch(&inquiry(place, None)).await, Err(FetchError::Http(_))));
        let fetcher = Fetcher::start().unwrap();
        assert_eq!(fetcher.fetch(inquiry("no address".to_owned(), None)).await, None);
    }
}
