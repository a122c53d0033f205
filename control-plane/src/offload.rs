//! Slow work away from the protocol loop.

use ike::io::{Input, Job, JobId, JobResult};
use ike::provider::Provider;
use tokio::task::JoinSet;

/// Runs jobs on the runtime's blocking threads.
#[derive(Debug)]
pub(crate) struct Offload {
    provider: Provider,
    running: JoinSet<(JobId, JobResult)>,
}

impl Offload {
    pub(crate) fn new(provider: Provider) -> Self {
        Self { provider, running: JoinSet::new() }
    }

    /// Begins a job. How many there are at once is bounded by the core's half-open IKE SAs, and by the runtime's threads.
    pub(crate) fn start(&mut self, id: JobId, job: Job) {
        let provider = self.provider;
        self.running.spawn_blocking(move || (id, job.run(&provider)));
    }

    /// The next job that ends; waits for ever while there is none.
    pub(crate) async fn finished(&mut self) -> Input {
        loop {
            match self.running.join_next().await {
                Some(Ok((id, result))) => return Input::JobDone { id, result },
                // Its exchange runs into its time-out.
                Some(Err(error)) => tracing::error!("a job has panicked: {error}"),
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ike_crypto::provider;
    use ipsec_types::KeyExchangeMethod;

    use super::*;

    #[tokio::test]
    async fn a_job_comes_back_under_its_name() {
        let mut offload = Offload::new(provider());
        offload.start(JobId(7), Job::Generate { method: KeyExchangeMethod::X25519 });
        let Input::JobDone { id, result: JobResult::Generated(Ok((_, public))) } = offload.finished().await else { panic!() };
        assert_eq!((id, public.len()), (JobId(7), 32));
    }
}
