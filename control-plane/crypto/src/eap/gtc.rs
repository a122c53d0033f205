//! Generic Token Card (RFC 3748 section 5.6): a text to be shown, and what the user reads from the card; here a password. It travels as it is,
//! inside IKE's Encrypted payload.

use std::sync::Arc;

use ipsec_types::Secret;

use super::{ClientMethod, Reply, ServerMethod, Verdict, Why, same};

pub(super) struct Client {
    password: Arc<Secret>,
    answered: bool,
}

pub(super) struct Server {
    password: Option<Arc<Secret>>,
}

impl Client {
    pub(super) const fn new(password: Arc<Secret>) -> Self {
        Self { password, answered: false }
    }
}

impl ClientMethod for Client {
    fn answer(&mut self, _identifier: u8, _data: &[u8]) -> Result<Reply, Why> {
        self.answered = true;
        Ok(Reply::Say(self.password.expose().to_vec().into()))
    }

    fn finish(&mut self) -> Option<Option<Secret>> {
        self.answered.then_some(None)
    }
}

impl Server {
    pub(super) const fn new(password: Option<Arc<Secret>>) -> Self {
        Self { password }
    }
}

impl ServerMethod for Server {
    fn begin(&mut self) -> Vec<u8> {
        b"Password".to_vec()
    }

    fn hear(&mut self, _identifier: u8, data: &[u8]) -> Verdict {
        match &self.password {
            Some(password) if same(data, password.expose()) => Verdict::Accept(None),
            Some(_) => Verdict::Refuse("the EAP user does not know the password".into()),
            None => Verdict::Refuse("there is no such EAP user".into()),
        }
    }
}
