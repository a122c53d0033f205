//! Slow work away from the protocol loop.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;

use ike::error::Detail;
use ike::io::{Input, Job, JobId, JobResult};
use ike::provider::{EapConversation, Judgement, PeerProof, PeerVerifier, Provider};
use ike_wire::EapMessage;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet, spawn_blocking};

use crate::fetch::Fetcher;

/// Runs jobs on the runtime's blocking threads, but for those that are quick: they are run where their results are asked for.
#[derive(Debug)]
pub(crate) struct Offload {
    provider: Provider,
    /// For what others have to be asked; without one nobody is.
    fetcher: Option<Fetcher>,
    /// For tokens, of which one that says nothing must not hold every thread.
    tokens: Arc<Semaphore>,
    running: JoinSet<(JobId, JobResult)>,
    quick: VecDeque<(JobId, Job)>,
}

/// Threads that may wait for tokens.
pub const TOKEN_THREADS: usize = 2;

impl Offload {
    pub(crate) fn new(provider: Provider) -> Self {
        let fetcher = Fetcher::start().inspect_err(|error| tracing::error!("nobody can be asked about certificates: {error}")).ok();
        Self { provider, fetcher, tokens: Arc::new(Semaphore::new(TOKEN_THREADS)), running: JoinSet::new(), quick: VecDeque::new() }
    }

    /// Begins a job. How many there are at once is bounded by the core's half-open IKE SAs, and by the runtime's threads.
    pub(crate) fn start(&mut self, id: JobId, job: Job) {
        let provider = self.provider;
        match (job, &self.fetcher) {
            (Job::Verify { verifier, proof }, Some(fetcher)) => {
                let fetcher = fetcher.clone();
                self.running.spawn(async move { (id, JobResult::Verified(verify(fetcher, verifier, proof).await)) });
            }
            (Job::Eap { conversation, packet }, _) => {
                self.running.spawn(async move { (id, converse(conversation, packet, provider).await) });
            }
            (job, _) if matches!(&job, Job::Sign { key, .. } if key.waits()) => {
                let tokens = self.tokens.clone();
                self.running.spawn(async move {
                    // It is closed never.
                    let _turn = tokens.acquire_owned().await;
                    (id, blocking(move || job.run(&provider)).await)
                });
            }
            (job, _) if job.is_quick() => self.quick.push_back((id, job)),
            (job, _) => drop(self.running.spawn_blocking(move || (id, job.run(&provider)))),
        }
    }

    /// The next job that ends; waits for ever while there is none.
    pub(crate) async fn finished(&mut self) -> Input {
        if let Some(done) = self.run_quick() {
            return done;
        }
        loop {
            match self.running.join_next().await.map(done) {
                Some(Some(done)) => return done,
                Some(None) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// The next job that has ended already, or is quick.
    pub(crate) fn finished_by_now(&mut self) -> Option<Input> {
        std::iter::from_fn(|| self.running.try_join_next()).find_map(done).or_else(|| self.run_quick())
    }

    fn run_quick(&mut self) -> Option<Input> {
        let (id, job) = self.quick.pop_front()?;
        Some(Input::JobDone { id, result: job.run(&self.provider) })
    }
}

/// `None` for a job that has panicked: its exchange runs into its time-out.
fn done(job: Result<(JobId, JobResult), JoinError>) -> Option<Input> {
    match job {
        Ok((id, result)) => Some(Input::JobDone { id, result }),
        Err(error) => {
            tracing::error!("a job has panicked: {error}");
            None
        }
    }
}

/// Each place that is to be asked about one certificate takes a round at most.
const MOST_ROUNDS: usize = 4;

/// Asks whom the verifier wants to have asked, then lets it say. Nobody waits for it on a thread: a silent server delays this peer alone.
async fn verify(fetcher: Fetcher, verifier: Arc<dyn PeerVerifier>, proof: PeerProof) -> Result<(), Box<Detail>> {
    let proof = Arc::new(proof);
    for _ in 0..MOST_ROUNDS {
        let (by, of) = (verifier.clone(), proof.clone());
        let open = match blocking(move || by.judge(&of)).await {
            Judgement::Said(verdict) => return verdict,
            Judgement::Open(open) => open,
        };
        let mut asked = JoinSet::new();
        for inquiry in open {
            let fetcher = fetcher.clone();
            asked.spawn(async move { (fetcher.fetch(inquiry.clone()).await, inquiry) });
        }
        let answers = asked.join_all().await;
        let by = verifier.clone();
        blocking(move || answers.iter().for_each(|(answer, inquiry)| by.learn(inquiry, answer.as_deref()))).await;
    }
    blocking(move || verifier.verify(&proof)).await
}

/// A step of EAP: computed on a thread, or awaited where others have to answer. Nobody waits for those on a thread, either.
async fn converse(mut conversation: Box<dyn EapConversation>, packet: Option<EapMessage>, provider: Provider) -> JobResult {
    let step = match conversation.wait(packet.as_deref()) {
        Some(step) => Some(step.await),
        None => None,
    };
    match step {
        Some(step) => JobResult::Eap(conversation, step),
        None => blocking(move || Job::Eap { conversation, packet }.run(&provider)).await,
    }
}

/// Computes for some milliseconds. A panic is this job's own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.unwrap_or_else(|error: JoinError| resume_unwind(error.into_panic()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use ike::provider::{CryptoError, Inquiry, SigningKey};
    use ike_crypto::provider;
    use ipsec_types::{KeyExchangeMethod, KeyKind, SignatureEncoding, SignatureScheme};

    use super::*;

    #[tokio::test]
    async fn a_job_comes_back_under_its_name() {
        let mut offload = Offload::new(provider());
        offload.start(JobId(7), Job::Generate { method: KeyExchangeMethod::X25519 });
        let Input::JobDone { id, result: JobResult::Generated(Ok((_, public))) } = offload.finished().await else { panic!() };
        assert_eq!((id, public.len()), (JobId(7), 32));
    }

    /// A thread that would compute a quick job is not there: the only one is busy.
    #[test]
    fn a_quick_job_needs_no_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (end, ended) = channel();
            let busy = spawn_blocking(move || ended.recv());
            let mut offload = Offload::new(provider());
            offload.start(JobId(1), Job::Generate { method: KeyExchangeMethod::Ecp384 });
            let method = KeyExchangeMethod::X25519;
            offload.start(JobId(2), Job::GenerateAndAgree { method, peer_public: vec![9; 32] });
            let Input::JobDone { id: JobId(2), result: JobResult::GeneratedAndAgreed(Ok(_)) } = offload.finished().await else { panic!() };
            assert!(offload.finished_by_now().is_none());
            end.send(()).unwrap();
            busy.await.unwrap().unwrap();
            let Input::JobDone { id: JobId(1), .. } = offload.finished().await else { panic!() };
        });
    }

    /// Believes everybody of whom a server has said something, whatever it was.
    #[derive(Debug)]
    struct Asking {
        server: String,
        answer: Mutex<Option<Option<Vec<u8>>>>,
    }

    impl PeerVerifier for Asking {
        fn authorities(&self) -> &[[u8; 20]] {
            &[]
        }

        fn judge(&self, proof: &PeerProof) -> Judgement {
            let asked = self.answer.lock().unwrap().is_some();
            let open = || vec![Inquiry { url: self.server.clone(), question: Some(vec![1]) }];
            if asked { Judgement::Said(self.verify(proof)) } else { Judgement::Open(open()) }
        }

        fn learn(&self, _: &Inquiry, answer: Option<&[u8]>) {
            *self.answer.lock().unwrap() = Some(answer.map(<[u8]>::to_vec));
        }

        fn verify(&self, _: &PeerProof) -> Result<(), Box<Detail>> {
            match &*self.answer.lock().unwrap() {
                Some(Some(_)) => Ok(()),
                _ => Err(Box::default()),
            }
        }
    }

    fn verification(server: &TcpListener) -> Job {
        let proof = PeerProof {
            identity: "gw.example".parse().unwrap(),
            certificates: Vec::new(),
            scheme: SignatureScheme::Ed25519,
            encoding: SignatureEncoding::Der,
            message: Vec::new(),
            signature: Vec::new(),
        };
        let verifier = Asking { server: format!("http://{}/", server.local_addr().unwrap()), answer: Mutex::default() };
        Job::Verify { verifier: Arc::new(verifier), proof }
    }

    /// A server that takes connections and says nothing is asked about many peers; the daemon has a single thread for jobs.
    #[test]
    fn a_silent_server_delays_nobody_but_those_it_is_asked_about() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let silent = TcpListener::bind("127.0.0.1:0").unwrap();
            let mut offload = Offload::new(provider());
            (0..100).for_each(|id| offload.start(JobId(id), verification(&silent)));
            // One of them has got so far that it asks.
            let (asked, is_asked) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || asked.send((silent.accept(), silent)));
            let _silent = is_asked.await.unwrap();
            for id in 100..103 {
                offload.start(JobId(id), Job::Generate { method: KeyExchangeMethod::Ecp384 });
                let Input::JobDone { id: done, result: JobResult::Generated(Ok(_)) } = offload.finished().await else { panic!() };
                assert_eq!(done, JobId(id));
            }
            // In the end it counts as no answer.
            for _ in 0..100 {
                let Input::JobDone { result: JobResult::Verified(verdict), .. } = offload.finished().await else { panic!() };
                assert!(verdict.is_err());
            }
        });
    }

    /// A key in a token that says nothing until it is told to.
    #[derive(Debug)]
    struct Silent(Mutex<Receiver<()>>);

    impl SigningKey for Silent {
        fn kind(&self) -> KeyKind {
            KeyKind::Ed25519
        }

        fn sign(&self, _: SignatureScheme, _: SignatureEncoding, _: &[u8]) -> Result<Vec<u8>, CryptoError> {
            let _ = self.0.lock().unwrap().recv();
            Ok(Vec::new())
        }

        fn waits(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_silent_token_delays_nobody_but_those_who_need_its_signature() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1 + TOKEN_THREADS).build().unwrap();
        runtime.block_on(async {
            let (speak, told) = channel();
            let key = Arc::new(Silent(Mutex::new(told)));
            let mut offload = Offload::new(provider());
            for id in 0..100 {
                let (scheme, encoding) = (SignatureScheme::Ed25519, SignatureEncoding::Der);
                offload.start(JobId(id), Job::Sign { key: key.clone(), scheme, encoding, message: Vec::new() });
            }
            for id in 100..103 {
                offload.start(JobId(id), Job::Generate { method: KeyExchangeMethod::Ecp384 });
                let Input::JobDone { id: done, result: JobResult::Generated(Ok(_)) } = offload.finished().await else { panic!() };
                assert_eq!(done, JobId(id));
            }
            drop(speak);
            for _ in 0..100 {
                let Input::JobDone { result: JobResult::Signed(Ok(_)), .. } = offload.finished().await else { panic!() };
            }
        });
    }

    #[tokio::test]
    async fn what_a_server_says_comes_before_the_verdict() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut offload = Offload::new(provider());
        offload.start(JobId(1), verification(&server));
        std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        });
        let Input::JobDone { id: JobId(1), result: JobResult::Verified(Ok(())) } = offload.finished().await else { panic!() };
    }
}
