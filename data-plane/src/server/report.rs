//! What the data plane says of itself: counters, ports, policies, workers.

use culvert_proto::dataplane::v1;

use crate::server::core::{Core, ServedPort};
use crate::stats::{Tally, WorkerStats};
use crate::table::PortRole;
use crate::verdict::Verdict;

impl Core {
    /// The answer to a `Stats` request.
    pub fn stats(&self) -> v1::StatsResponse {
        v1::StatsResponse {
            boot_id: self.boot_id.to_vec(),
            epoch: self.epoch,
            uptime_ms: self.now_ms,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            counters: self.all_counters(),
            ports: self.ports.iter().map(port_status).collect(),
            policies: self
                .policies
                .iter()
                .map(|entry| v1::PolicyStatus {
                    id: entry.id.0,
                    name: entry.name.clone(),
                    action: v1::policy::Action::from(entry.action).into(),
                    packets: self.policy_packets(entry.slot).saturating_sub(entry.base),
                })
                .collect(),
            workers: (0..)
                .zip(self.workers.stats())
                .zip(&self.cores)
                .map(|((index, stats), core)| worker_status(index, *core, stats))
                .collect(),
        }
    }

    fn all_counters(&self) -> Vec<v1::Counter> {
        let counter = |name: &str, value, meaning: &str| v1::Counter { name: name.to_owned(), value, meaning: meaning.to_owned() };
        let verdict = |v: &Verdict| counter(v.name(), self.workers.stats().map(|stats| stats.verdict(*v)).sum(), v.meaning());
        let tally = |t: &Tally| counter(t.name(), self.workers.stats().map(|stats| stats.tally(*t)).sum(), t.meaning());
        let server = self.counters.each().map(|(name, value, meaning)| counter(name, value, meaning));
        Verdict::ALL.iter().map(verdict).chain(Tally::ALL.iter().map(tally)).chain(server).collect()
    }
}

fn port_status(port: &ServedPort) -> v1::PortStatus {
    let reading = (port.read)();
    v1::PortStatus {
        name: port.name.clone(),
        role: match port.info.role {
            PortRole::Protected => "protected",
            PortRole::Unprotected => "unprotected",
        }
        .to_owned(),
        mac: port.info.mac.to_string(),
        mtu: u32::try_from(port.info.mtu).unwrap_or(u32::MAX),
        link_up: reading.link_up,
        rx_packets: reading.rx_packets,
        tx_packets: reading.tx_packets,
        rx_missed: reading.rx_missed,
        tx_dropped: reading.tx_dropped,
    }
}

fn worker_status(index: u32, core: usize, stats: &WorkerStats) -> v1::WorkerStatus {
    v1::WorkerStatus {
        index,
        core: u32::try_from(core).unwrap_or(u32::MAX),
        iterations: stats.tally(Tally::Iterations),
        busy_iterations: stats.tally(Tally::BusyIterations),
        packets: stats.tally(Tally::Packets),
        thread: stats.thread(),
    }
}
