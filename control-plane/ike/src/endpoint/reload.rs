//! A new configuration in the place of the old: what is the same stays, with its SAs; what is not is closed, and set up anew where it is
//! wanted.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::time::Duration;

use ipsec_types::Identity;

use super::*;
use crate::config::{Child, Config, Connection};
use crate::error::Failure;

impl Endpoint {
    /// Replaces the configuration.
    pub(super) fn configure(&mut self, now: Instant, random: &mut dyn Random, mut config: Box<Config>) {
        self.name_policies(&mut config);
        config.share_entries(&self.shared.config);
        let old = core::mem::replace(&mut self.shared.config, Arc::from(config));
        let failure = Failure::Local("the configuration was replaced".into());
        let connections = &self.shared.config.connections;
        self.shared.redirects.retain(|name| connections.iter().any(|connection| connection.name == name));
        for waiter in self.shared.wants.retain(&self.shared.config) {
            self.shared.disappoint(waiter, Duration::ZERO, &failure);
        }
        let config = Arc::clone(&self.shared.config);
        self.shared.trapped.retain(|policy| ConnectionRef::of_policy(&config, *policy).is_some());
        let all: Vec<(IkeSaId, ConnectionRef)> = self.sas.values().map(|sa| (sa.core.id, sa.core.connection.clone())).collect();
        for (id, connection) in all.into_iter().filter(|(_, connection)| connection.is_of(&old)) {
            let same = ConnectionRef::all(&config).find(|new| new.name == connection.name && speaks_alike(new, &connection));
            match same {
                Some(new) => self.with(now, random, id, |sa, cx| sa.reconfigure(cx, new)),
                None => self.with(now, random, id, |sa, cx| sa.terminate(cx, None)),
            }
        }
        let all: Vec<(IkeSaId, ConnectionRef)> = self.v1.values().map(|sa| (sa.core.id, sa.core.connection.clone())).collect();
        for (id, connection) in all.into_iter().filter(|(_, connection)| connection.is_of(&old)) {
            let same = ConnectionRef::all(&config).find(|new| new.name == connection.name && speaks_alike(new, &connection));
            match same {
                Some(new) => self.with_v1(now, random, id, |sa, cx| sa.reconfigure(cx, new)),
                None => self.with_v1(now, random, id, |sa, cx| sa.terminate(cx, None)),
            }
        }
        if self.shared.attachment.is_some() {
            // After the deletions: the data plane removes what serves a policy that is gone.
            self.shared.output(Output::SetPolicies(self.shared.config.spd()));
            self.want_starts(now);
        }
    }

    /// Children and policies that are what they were keep their identifiers, which the SAs in the data plane bear; the others get new ones.
    fn name_policies(&mut self, config: &mut Config) {
        let old = Arc::clone(&self.shared.config);
        let children = old.connections.iter().flat_map(|connection| &connection.children).map(|child| child.policy.0);
        let highest = children.chain(old.policies.iter().map(|policy| policy.id.0)).max().unwrap_or(0);
        self.last_policy = self.last_policy.max(highest);
        if old.connections.is_empty() && old.policies.is_empty() {
            // The first configuration keeps its own: a process before this one gave the same to the same file.
            return;
        }
        let mut known = BTreeMap::new();
        for connection in &old.connections {
            known.extend(connection.children.iter().map(|child| ((connection.name.as_str(), child.name.as_str()), (connection, child))));
        }
        for connection in &mut config.connections {
            let mut children = core::mem::take(&mut connection.children);
            for child in &mut children {
                let before = known.get(&(connection.name.as_str(), child.name.as_str()));
                let same = before.filter(|(old, before)| speaks_alike(old, connection) && protects_alike(before, child));
                child.policy = same.map_or_else(|| next(&mut self.last_policy), |(_, before)| before.policy);
            }
            connection.children = children;
        }
        for policy in &mut config.policies {
            let same = old.policies.iter().find(|before| {
                let what = |policy: &ipsec_types::Policy| (policy.name.clone(), policy.action, policy.local.clone(), policy.remote.clone());
                what(before) == what(policy)
            });
            policy.id = same.map_or_else(|| next(&mut self.last_policy), |before| before.id);
        }
    }
}

fn next(last: &mut u32) -> PolicyId {
    *last = last.saturating_add(1);
    PolicyId(*last)
}

/// Whether an IKE SA of one would be an IKE SA of the other. Times and actions do not count: they are looked up when they are needed.
fn speaks_alike(a: &Connection, b: &Connection) -> bool {
    (&a.local_addrs, &a.remote_addrs, &a.proposals) == (&b.local_addrs, &b.remote_addrs, &b.proposals)
        && (a.force_encapsulation, a.version) == (b.force_encapsulation, b.version)
        && a.virtual_addresses == b.virtual_addresses
        && shows(a).eq(shows(b))
        && demands(a).eq(demands(b))
}

fn shows(connection: &Connection) -> impl Iterator<Item = (&Identity, &'static str)> {
    connection.local_rounds().map(|(identity, auth)| (identity, auth.keyword()))
}

fn demands(connection: &Connection) -> impl Iterator<Item = (Option<&Identity>, &'static str)> {
    connection.remote_rounds().map(|(identity, auth)| (identity, auth.keyword()))
}

/// Whether a Child SA of one would be a Child SA of the other. Which packets are sent in it, of those that may be, is the SPD's matter.
fn protects_alike(a: &Child, b: &Child) -> bool {
    a.selects_like(b)
        && (a.local_dynamic, a.remote_dynamic) == (b.local_dynamic, b.remote_dynamic)
        && (&a.proposals, a.mode) == (&b.proposals, b.mode)
        && (a.dont_fragment, a.copy_dscp, a.tfc) == (b.dont_fragment, b.copy_dscp, b.tfc)
}
