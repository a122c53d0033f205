//! Processes that run for as long as they are measured and are stopped in between, so that several take turns on one core.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Context, Failure};
use crate::gateway::{Gateway, Laps, Setup};
use crate::measure::Sample;
use crate::report::Direction;

/// A process that can be stopped. It goes on when this is dropped, else it could not end.
#[derive(Debug)]
pub(crate) struct Paused(Pid);

impl Paused {
    pub(crate) fn of(process: u32) -> Result<Self, Failure> {
        i32::try_from(process).ok().and_then(Pid::from_raw).map(Self).context("no process")
    }

    pub(crate) fn stop(&self) -> Result<(), Failure> {
        kill_process(self.0, Signal::STOP).context("SIGSTOP")
    }

    pub(crate) fn go_on(&self) -> Result<(), Failure> {
        kill_process(self.0, Signal::CONT).context("SIGCONT")
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        let _ = self.go_on();
    }
}

/// A gateway that forwards, and stands still unless it is measured.
#[derive(Debug)]
pub(crate) struct PausedGateway {
    paused: Paused,
    gateway: Gateway,
}

impl PausedGateway {
    /// `spi` is what an inbound capture was sealed for.
    pub(crate) async fn start(setup: &Setup, direction: Direction, capture: &Path, spi: u32) -> Result<Self, Failure> {
        let mut gateway = setup.start(direction, capture).await?;
        let leased = gateway.lease().await?;
        if leased != spi {
            return Err(Failure(format!("the gateway leased SPI {leased:#x}, not {spi:#x} as before: the capture does not fit")));
        }
        gateway.protect(leased).await?;
        let paused = Paused::of(gateway.process())?;
        paused.stop()?;
        Ok(Self { paused, gateway })
    }

    /// Lets it run, and measures once it has settled.
    pub(crate) async fn pass(&mut self, settle: Duration, time: Duration) -> Result<(Sample, Laps), Failure> {
        self.paused.go_on()?;
        tokio::time::sleep(settle).await;
        let before = self.gateway.read().await?;
        tokio::time::sleep(time).await;
        let after = self.gateway.read().await?;
        let sample = self.gateway.sample(before, after).await?;
        self.paused.stop()?;
        Ok((sample, after.laps_since(&before)))
    }
}
