//! What the data plane says of itself: counters, ports, policies, workers.

use culvert_proto::convert;
use culvert_proto::dataplane::v1;
use ipsec_types::TrafficSelector;

use crate::server::core::{Core, ServedPort};
use crate::server::policies::PolicyEntry;
use crate::stage::{Lap, Stage};
use crate::stats::{PolicyCount, Tally, WorkerStats};
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
            policies: self.policies.iter().map(|entry| self.policy_status(entry)).collect(),
            workers: self.worker_statuses(),
        }
    }

    pub(super) fn policy_status(&self, entry: &PolicyEntry) -> v1::PolicyStatus {
        let PolicyEntry { policy, slot, base } = entry;
        let PolicyCount { packets, octets } = self.policy_count(*slot).since(base.unwrap_or_default());
        let selectors = |list: &[TrafficSelector]| list.iter().copied().map(Into::into).collect();
        let serving = self.sad.of_policy(policy.id).filter(|entry| entry.remove_ms.is_none()).count();
        v1::PolicyStatus {
            id: policy.id.0,
            name: policy.name.clone(),
            action: v1::policy::Action::from(policy.action).into(),
            packets,
            octets,
            priority: policy.priority,
            local: selectors(&policy.local),
            remote: selectors(&policy.remote),
            dscp: convert::dscp_values(policy.dscp),
            child_sas: u32::try_from(serving).unwrap_or(u32::MAX),
        }
    }

    fn worker_statuses(&self) -> Vec<v1::WorkerStatus> {
        let workers = self.workers.stats().zip(self.workers.queued()).zip(&self.cores);
        let status = |(index, ((stats, queued), core)): (usize, ((&WorkerStats, usize), &usize))| v1::WorkerStatus {
            index: number(index),
            core: number(*core),
            load_permille: self.loads.permille(index),
            commands_queued: number(queued),
            ..worker_status(stats)
        };
        workers.enumerate().map(status).collect()
    }

    fn all_counters(&self) -> Vec<v1::Counter> {
        let counter = |name: &str, value, meaning: &str| v1::Counter { name: name.to_owned(), value, meaning: meaning.to_owned() };
        let verdict = |v: &Verdict| counter(v.name(), self.workers.stats().map(|stats| stats.verdict(*v)).sum(), v.meaning());
        let tally = |t: &Tally| counter(t.name(), self.workers.stats().map(|stats| stats.tally(*t)).sum(), t.meaning());
        let sas = counter("child_sas", self.sad.len() as u64, "Child SAs installed now, with those whose inbound half lingers.");
        let server = self.counters.each().map(|(name, value, meaning)| counter(name, value, meaning));
        let stages = Stage::TAKEN.iter().flat_map(|stage| {
            let sum = |of: fn(&Lap) -> u64| self.workers.stats().filter_map(|stats| stats.stage(*stage)).map(|lap| of(&lap)).sum();
            let [ticks, laps] = stage.counters();
            [counter(ticks, sum(|lap| lap.ticks), stage.meaning()), counter(laps, sum(|lap| lap.laps), "How often that stage ended.")]
        });
        Verdict::ALL.iter().map(verdict).chain(Tally::ALL.iter().map(tally)).chain([sas]).chain(server).chain(stages).collect()
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
        mtu: number(port.info.mtu),
        link_up: reading.link_up,
        rx_packets: reading.rx_packets,
        tx_packets: reading.tx_packets,
        rx_missed: reading.rx_missed,
        tx_dropped: reading.tx_dropped,
        addresses: port.subnets.iter().map(ToString::to_string).collect(),
        rx_octets: reading.rx_octets,
        tx_octets: reading.tx_octets,
    }
}

/// What its counters say of a worker.
fn worker_status(stats: &WorkerStats) -> v1::WorkerStatus {
    v1::WorkerStatus {
        iterations: stats.tally(Tally::Iterations),
        busy_iterations: stats.tally(Tally::BusyIterations),
        packets: stats.tally(Tally::Packets),
        thread: stats.thread(),
        handed_off: stats.tally(Tally::HandedOff),
        hand_off_drops: stats.verdict(Verdict::HandOffOverflow),
        punt_drops: stats.verdict(Verdict::PuntOverflow),
        transmit_drops: stats.verdict(Verdict::TransmitOverflow),
        notices_lost: stats.tally(Tally::NoticesLost),
        ..v1::WorkerStatus::default()
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
