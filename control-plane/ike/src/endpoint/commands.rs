//! What operators ask for.

use alloc::string::String;
use core::time::Duration;

use ipsec_types::ChildSaId;

use super::*;
use crate::child::ChildPhase;
use crate::error::Failure;
use crate::io::{Answer, Command, Event, RequestId, Target};
use crate::v2::common::Task;
use crate::want::{Admission, Waiter};

impl Endpoint {
    pub(super) fn on_command(&mut self, now: Instant, random: &mut dyn Random, command: Command) {
        match command {
            Command::Configure(config) => self.configure(now, random, config),
            Command::Initiate { request, child } => self.initiate(now, request, &child),
            Command::Shutdown => self.shutdown(now, random),
            Command::Rekey { request, target } => self.rekey(now, random, request, &target),
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

    /// Replaces SAs. A Child SA that is being replaced or deleted already is left alone.
    fn rekey(&mut self, now: Instant, random: &mut dyn Random, request: RequestId, target: &Target) {
        let children: Vec<(IkeSaId, ChildSaId)> = match target {
            Target::Child(name) => self.installed(|_, own| own == name),
            Target::ChildSa(id) => self.installed(|child, _| child == *id),
            Target::Connection(_) | Target::IkeSa(_) => Vec::new(),
        };
        let ike_sas: Vec<IkeSaId> = match target {
            Target::Connection(name) => self.in_use().filter(|sa| sa.core.connection.name == *name).map(|sa| sa.core.id).collect(),
            Target::IkeSa(id) => self.in_use().filter(|sa| sa.core.id == *id).map(|sa| sa.core.id).collect(),
            Target::Child(_) | Target::ChildSa(_) => Vec::new(),
        };
        let count = u32::try_from(ike_sas.len() + children.len()).unwrap_or(u32::MAX);
        if count == 0 {
            let result = Err(Failure::Local("there is no such SA, or it is being replaced or deleted".into()));
            return self.shared.event(Event::Answer { request, result });
        }
        self.shared.rekeying(request, count);
        for id in ike_sas {
            self.with(now, random, id, |mut sa, cx| {
                sa.core.tasks.push_back(Task::RekeyIkeSa { request: Some(request) });
                sa.go_on(cx)
            });
        }
        for (id, child) in children {
            self.with(now, random, id, |mut sa, cx| {
                sa.core.tasks.push_back(Task::RekeyChild { child, request: Some(request) });
                sa.go_on(cx)
            });
        }
    }

    fn terminate(&mut self, now: Instant, random: &mut dyn Random, request: RequestId, target: &Target) {
        let ike_sas: Vec<IkeSaId> = match target {
            Target::Connection(name) => self.live().filter(|sa| sa.core.connection.name == *name).map(|sa| sa.core.id).collect(),
            Target::IkeSa(id) => self.live().filter(|sa| sa.core.id == *id).map(|sa| sa.core.id).collect(),
            Target::Child(_) | Target::ChildSa(_) => Vec::new(),
        };
        let children: Vec<(IkeSaId, ChildSaId)> = match target {
            Target::Child(name) => self.children(|_, own| own == name),
            Target::ChildSa(id) => self.children(|child, _| child == *id),
            Target::Connection(_) | Target::IkeSa(_) => Vec::new(),
        };
        let count = u32::try_from(ike_sas.len() + children.len()).unwrap_or(u32::MAX);
        if count == 0 {
            let named = matches!(target, Target::IkeSa(_) | Target::ChildSa(_));
            let result = if named { Err(Failure::Local("there is no such SA".into())) } else { Ok(Answer::Terminated(0)) };
            return self.shared.event(Event::Answer { request, result });
        }
        self.shared.terminating(request, count);
        for id in ike_sas {
            self.with(now, random, id, |sa, cx| sa.terminate(cx, Some(request)));
        }
        for (id, child) in children {
            self.with(now, random, id, |mut sa, cx| {
                sa.core.tasks.push_back(Task::DeleteChild { child, request: Some(request) });
                sa.go_on(cx)
            });
        }
    }

    fn live(&self) -> impl Iterator<Item = &IkeSa> {
        self.sas.values().filter(|sa| sa.status(Instant::ZERO).is_some())
    }

    fn in_use(&self) -> impl Iterator<Item = &IkeSa> {
        self.sas.values().filter(|sa| matches!(sa.state, crate::v2::State::Established(_)) && sa.state.takes_tasks())
    }

    fn installed(&self, is: impl Fn(ChildSaId, &String) -> bool) -> Vec<(IkeSaId, ChildSaId)> {
        let all = self.sas.values().flat_map(|sa| sa.state.children().iter().map(|child| (sa.core.id, child)));
        let installed = all.filter(|(_, child)| child.phase == ChildPhase::Installed && is(child.id, &child.name));
        installed.map(|(ike_sa, child)| (ike_sa, child.id)).collect()
    }

    fn children(&self, is: impl Fn(ChildSaId, &String) -> bool) -> Vec<(IkeSaId, ChildSaId)> {
        let all = self.sas.values().flat_map(|sa| sa.state.children().iter().map(|child| (sa.core.id, child)));
        all.filter(|(_, child)| is(child.id, &child.name)).map(|(ike_sa, child)| (ike_sa, child.id)).collect()
    }
}
