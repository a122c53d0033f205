//! What operators ask for.

use core::time::Duration;

use ipsec_types::ChildSaId;

use super::*;
use crate::child::{Child, ChildPhase};
use crate::error::Failure;
use crate::io::{Answer, Command, Event, RequestId, Target};
use crate::v1::Task as TaskV1;
use crate::v2::State;
use crate::v2::common::Task;
use crate::want::{Admission, Waiter};

impl Endpoint {
    pub(super) fn on_command(&mut self, now: Instant, random: &mut dyn Random, command: Command) {
        match command {
            Command::Configure(config) => self.configure(now, random, config),
            Command::Initiate { request, child } => self.initiate(now, request, &child),
            Command::Shutdown => self.shutdown(now, random),
            Command::Rekey { request, target } => self.rekey(now, random, request, &target),
            Command::Reauthenticate { request, target } => self.reauthenticate(now, random, request, &target),
            Command::Terminate { request, target } => self.terminate(now, random, request, &target),
        }
    }

    fn shutdown(&mut self, now: Instant, random: &mut dyn Random) {
        self.closing = true;
        let failure = Failure::Local("the control plane shuts down".into());
        for waiter in self.shared.wants.clear() {
            self.shared.disappoint(waiter, Duration::ZERO, &failure);
        }
        let all: Vec<IkeSaId> = self.sas.keys().copied().collect();
        for id in all {
            self.with(now, random, id, |sa, cx| sa.terminate(cx, None));
        }
        for id in self.v1.keys().copied().collect::<Vec<_>>() {
            self.with_v1(now, random, id, |sa, cx| sa.terminate(cx, None));
        }
    }

    fn initiate(&mut self, now: Instant, request: RequestId, name: &str) {
        let answer = |failure| Event::Answer { request, result: Err(Failure::Local(failure)) };
        let Some((connection, index)) = ConnectionRef::of_name(&self.shared.config, name) else {
            return self.shared.event(answer(alloc::format!("no child is called {name}")));
        };
        if self.shared.attachment.is_none() {
            return self.shared.event(answer("no data plane is attached".into()));
        }
        let Some(policy) = connection.child(index).map(|child| child.policy) else { return };
        if let Admission::Refused(_) = self.shared.wants.add(now, policy, Waiter::Request(request)) {
            self.shared.event(answer("too many requests wait already".into()));
        }
    }

    /// Replaces SAs. Those that are being replaced or deleted already are left alone.
    fn rekey(&mut self, now: Instant, random: &mut dyn Random, request: RequestId, target: &Target) {
        let in_use = |sa: &IkeSa| matches!(sa.state, State::Established(_)) && sa.state.takes_tasks();
        let (ike_sas, children) = self.named(target, in_use, |child| child.phase == ChildPhase::Installed);
        let (mut v1_ike_sas, mut v1_children) = self.named_v1(target);
        v1_ike_sas.retain(|id| self.v1.get(id).is_some_and(|sa| sa.is_established() && sa.takes_tasks()));
        v1_children.retain(|(_, id)| self.v1_children().any(|(_, child)| child.id == *id && child.phase == ChildPhase::Installed));
        let count = count(&ike_sas, &children) + count(&v1_ike_sas, &v1_children);
        if count == 0 {
            let result = Err(Failure::Local("there is no such SA, or it is being replaced or deleted".into()));
            return self.shared.event(Event::Answer { request, result });
        }
        self.shared.rekeying(request, count);
        for id in ike_sas {
            self.queue(now, random, id, Task::RekeyIkeSa { request: Some(request) });
        }
        for (id, child) in children {
            self.queue(now, random, id, Task::RekeyChild { child, request: Some(request) });
        }
        for id in v1_ike_sas {
            self.queue_v1(now, random, id, TaskV1::Replace { request: Some(request) });
        }
        for (id, child) in v1_children {
            self.queue_v1(now, random, id, TaskV1::RekeyChild { child, request: Some(request) });
        }
    }

    /// Replaces IKE SAs by others that begin from scratch. Those whose peer has to begin stay.
    fn reauthenticate(&mut self, now: Instant, random: &mut dyn Random, request: RequestId, target: &Target) {
        let in_use = |sa: &IkeSa| matches!(sa.state, State::Established(_)) && sa.state.takes_tasks();
        let (ike_sas, _) = self.named(target, in_use, |_| false);
        let (mut v1_ike_sas, _) = self.named_v1(target);
        v1_ike_sas.retain(|id| self.v1.get(id).is_some_and(|sa| sa.is_established() && sa.takes_tasks()));
        let of_v2 = |id: &IkeSaId| self.sas.get(id).map(|sa| &sa.core.connection);
        let of_v1 = |id: &IkeSaId| self.v1.get(id).map(|sa| &sa.core.connection);
        let calls = |id: &IkeSaId| of_v2(id).or_else(|| of_v1(id)).is_some_and(|connection| !connection.remote_addrs.is_empty());
        let count = count(&ike_sas, &[]) + count(&v1_ike_sas, &[]);
        let refused = match target {
            Target::Child { .. } | Target::ChildSa(_) => Some("a peer is authenticated for an IKE SA: name that, or a connection"),
            _ if count == 0 => Some("there is no such IKE SA, or it is being replaced or deleted"),
            _ if !ike_sas.iter().chain(&v1_ike_sas).all(calls) => Some("the peer has to begin: its connection has no remote_addrs to call"),
            _ => None,
        };
        if let Some(why) = refused {
            return self.shared.event(Event::Answer { request, result: Err(Failure::Local(why.into())) });
        }
        self.shared.rekeying(request, count);
        for id in ike_sas {
            self.queue(now, random, id, Task::Reauthenticate { request: Some(request) });
        }
        for id in v1_ike_sas {
            self.queue_v1(now, random, id, TaskV1::Replace { request: Some(request) });
        }
    }

    /// Deletes SAs.
    fn terminate(&mut self, now: Instant, random: &mut dyn Random, request: RequestId, target: &Target) {
        let (ike_sas, children) = self.named(target, |sa| sa.status(Instant::ZERO).is_some(), |_| true);
        let (v1_ike_sas, v1_children) = self.named_v1(target);
        let count = count(&ike_sas, &children) + count(&v1_ike_sas, &v1_children);
        if count == 0 {
            let by_id = matches!(target, Target::IkeSa(_) | Target::ChildSa(_));
            let result = if by_id { Err(Failure::Local("there is no such SA".into())) } else { Ok(Answer::Terminated(0)) };
            return self.shared.event(Event::Answer { request, result });
        }
        self.shared.terminating(request, count);
        for id in ike_sas {
            self.with(now, random, id, |sa, cx| sa.terminate(cx, Some(request)));
        }
        for (id, child) in children {
            self.queue(now, random, id, Task::DeleteChild { child, request: Some(request) });
        }
        for id in v1_ike_sas {
            self.with_v1(now, random, id, |sa, cx| sa.terminate(cx, Some(request)));
        }
        for (id, child) in v1_children {
            self.queue_v1(now, random, id, TaskV1::DeleteChild { child, request: Some(request) });
        }
    }

    /// The IKE SAs a target names, as far as `ike_sa` admits them, and the Child SAs, as far as `child_sa` does.
    fn named(
        &self,
        target: &Target,
        ike_sa: impl Fn(&IkeSa) -> bool,
        child_sa: impl Fn(&Child) -> bool,
    ) -> (Vec<IkeSaId>, Vec<(IkeSaId, ChildSaId)>) {
        let ike_sas = self.sas.values().filter(|sa| match target {
            Target::Connection(name) => sa.core.connection.name == *name,
            Target::IkeSa(id) => sa.core.id == *id,
            Target::Child { .. } | Target::ChildSa(_) => false,
        });
        let children = self.sas.values().flat_map(|sa| sa.state.children().iter().map(move |child| (sa, child)));
        let children = children.filter(|(sa, child)| match target {
            Target::Child { connection, name } => {
                child.name == *name && connection.as_ref().is_none_or(|of| sa.core.connection.name == *of)
            }
            Target::ChildSa(id) => child.id == *id,
            Target::Connection(_) | Target::IkeSa(_) => false,
        });
        (
            ike_sas.filter(|sa| ike_sa(sa)).map(|sa| sa.core.id).collect(),
            children.filter(|(_, child)| child_sa(child)).map(|(sa, child)| (sa.core.id, child.id)).collect(),
        )
    }

    /// Lets an IKE SA do something when its turn has come.
    fn queue(&mut self, now: Instant, random: &mut dyn Random, id: IkeSaId, task: Task) {
        self.with(now, random, id, |sa, cx| {
            sa.core.tasks.push_back(task);
            sa.go_on(cx);
        });
    }
}

fn count(ike_sas: &[IkeSaId], children: &[(IkeSaId, ChildSaId)]) -> u32 {
    u32::try_from(ike_sas.len() + children.len()).unwrap_or(u32::MAX)
}
