//! Beginning negotiations: what is wanted, and which IKE SA can give it.

use ipsec_types::ChildSaId;

use super::*;
use crate::error::Failure;
use crate::v2::common::{Core, Task};
use crate::v2::init::{self, WantedChild};
use crate::v2::keys::Role;
use crate::v2::nat::IKE_PORT;

impl Endpoint {
    /// Begins what is wanted and not yet under way.
    pub(super) fn start_wanted(&mut self, now: Instant, random: &mut dyn Random) {
        if self.shared.attachment.is_none() || self.closing {
            return;
        }
        for policy in self.shared.wants.ready() {
            let there = self.shared.wants.is_only_internal(policy).then(|| self.child_of(policy)).flatten();
            if let Some((ike_sa, child)) = there {
                // It has come by itself.
                self.shared.child_installed(policy, ike_sa, child);
                continue;
            }
            self.begin(now, random, policy);
        }
    }

    fn begin(&mut self, now: Instant, random: &mut dyn Random, policy: PolicyId) {
        let Some((connection, index)) = ConnectionRef::of_policy(&self.shared.config, policy) else {
            return self.shared.child_failed(now, policy, &Failure::Local("no child serves this policy".into()));
        };
        // An IKE SA that is there, or on its way, takes the Child SA along.
        let usable = |sa: &IkeSa| {
            let initiating = sa.core.role == Role::Initiator || matches!(sa.state, crate::v2::State::Established(_));
            initiating && sa.state.takes_tasks() && sa.core.connection.is(&connection) && !sa.core.is_ending()
        };
        if let Some(id) = self.sas.values().find(|sa| usable(sa)).map(|sa| sa.core.id) {
            self.shared.wants.begun(policy);
            return self.with(now, random, id, |sa, cx| {
                sa.core.wanted.push(policy);
                sa.core.tasks.push_back(Task::CreateChild(index));
                sa.go_on(cx);
            });
        }
        if let Some(id) = self.usable_v1(&connection) {
            self.shared.wants.begun(policy);
            return self.with_v1(now, random, id, |mut sa, cx| {
                sa.core.wanted.push(policy);
                sa.queue(cx, crate::v1::Task::CreateChild(index))
            });
        }
        if self.shared.free_spis() == 0 {
            // It stays wanted until they have come.
            return self.shared.lease_spis();
        }
        let redirected = self.shared.redirects.take(&connection.name);
        let addresses = match redirected {
            Some((to, _)) => self.addresses(&connection, &[to]),
            None => self.addresses(&connection, &connection.remote_addrs),
        };
        match addresses {
            Ok(addresses) if !connection.version.has_v2() => self.begin_v1(now, random, connection, Some((index, policy)), addresses, None),
            Ok(addresses) => {
                let from = redirected.map(|(_, from)| from);
                self.begin_ike_sa(now, random, connection, (index, policy), addresses, from);
            }
            Err(failure) => self.shared.child_failed(now, policy, &failure),
        }
    }

    fn begin_ike_sa(
        &mut self,
        now: Instant,
        random: &mut dyn Random,
        connection: ConnectionRef,
        (index, policy): (usize, PolicyId),
        addresses: (SocketAddr, SocketAddr),
        redirected_from: Option<IpAddr>,
    ) {
        // Without SPIs it stays wanted until they have come.
        let Some(spi) = self.shared.take_spi() else { return };
        self.shared.wants.begun(policy);
        self.shared.calls(addresses.1.ip());
        let id = self.next_ike_sa();
        let mut cx = Context { now, random, shared: &mut self.shared };
        let initiator_spi = cx.ike_spi();
        let mut core = Core::new(id, Role::Initiator, connection, initiator_spi, addresses, now);
        core.wanted.push(policy);
        core.redirected_from = redirected_from;
        match init::start(&core, &mut cx, WantedChild { index, spi }) {
            Ok(state) => {
                self.shared.by_spi.insert(initiator_spi, id);
                self.put(IkeSa { core, state });
            }
            Err((failure, child)) => {
                cx.shared.return_spi(child.spi);
                cx.fail(Some(&core.connection.name), core.remote, failure.clone());
                core.release(&mut cx, &failure);
            }
        }
    }

    /// From where to where.
    fn addresses(&self, connection: &ConnectionRef, remotes: &[IpAddr]) -> Result<(SocketAddr, SocketAddr), Failure> {
        let attached = self.shared.attachment.as_ref().map(|attachment| attachment.local_addresses.as_slice()).unwrap_or_default();
        let ours = if connection.local_addrs.is_empty() { attached } else { &connection.local_addrs };
        let Some(first) = remotes.first() else {
            return Err(Failure::Local("the peer's address is not configured".into()));
        };
        // Both of one family.
        let local_for = |remote: &IpAddr| ours.iter().copied().find(|local| local.is_ipv4() == remote.is_ipv4());
        let pair = remotes.iter().find_map(|remote| Some((local_for(remote)?, *remote)));
        let (local, remote) = pair.ok_or_else(|| Failure::Local(alloc::format!("no local address to call {first} from")))?;
        Ok((SocketAddr::new(local, IKE_PORT), SocketAddr::new(remote, IKE_PORT)))
    }

    /// A Child SA of the policy, of an IKE SA that stays.
    fn child_of(&self, policy: PolicyId) -> Option<(IkeSaId, ChildSaId)> {
        let stay = self.sas.values().filter(|sa| !sa.state.makes_way());
        let mut children = stay.flat_map(|sa| sa.state.live_children().map(|child| (sa.core.id, child)));
        let found = children.find(|(_, child)| child.policy == policy);
        let found = found.or_else(|| self.v1_children().find(|(_, child)| child.policy == policy));
        found.map(|(ike_sa, child)| (ike_sa, child.id))
    }

    /// Whether there is one.
    pub(super) fn has_child(&self, policy: PolicyId) -> bool {
        self.child_of(policy).is_some()
    }
}
