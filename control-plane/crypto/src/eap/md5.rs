//! MD5-Challenge (RFC 3748 section 5.4): Value-Size, Value, Name, as in CHAP (RFC 1994 section 4.1).

use std::sync::Arc;

use ipsec_types::Secret;
use md5::{Digest, Md5};

use super::{ClientMethod, Reply, ServerMethod, Verdict, Why, random, same};

pub(super) struct Client {
    password: Arc<Secret>,
    answered: bool,
}

pub(super) struct Server {
    name: String,
    password: Option<Arc<Secret>>,
    challenge: [u8; 16],
}

/// MD5(Identifier | password | challenge) (RFC 1994 section 2).
fn response(identifier: u8, password: &Secret, challenge: &[u8]) -> [u8; 16] {
    Md5::new().chain_update([identifier]).chain_update(password.expose()).chain_update(challenge).finalize().into()
}

/// The value in front of the name.
fn value(data: &[u8]) -> Option<&[u8]> {
    let (size, rest) = data.split_first()?;
    rest.get(..usize::from(*size)).filter(|value| !value.is_empty())
}

fn with_size(value: &[u8; 16], name: &str) -> Vec<u8> {
    [&[16], &value[..], name.as_bytes()].concat()
}

impl Client {
    pub(super) const fn new(password: Arc<Secret>) -> Self {
        Self { password, answered: false }
    }
}

impl ClientMethod for Client {
    fn answer(&mut self, identifier: u8, data: &[u8]) -> Result<Reply, Why> {
        let challenge = value(data).ok_or("an MD5 challenge of no length that there is")?;
        self.answered = true;
        Ok(Reply::Say(with_size(&response(identifier, &self.password, challenge), "").into()))
    }

    fn finish(&mut self) -> Option<Option<Secret>> {
        self.answered.then_some(None)
    }
}

impl Server {
    pub(super) fn new(name: String, password: Option<Arc<Secret>>) -> Self {
        Self { name, password, challenge: random() }
    }
}

impl ServerMethod for Server {
    fn begin(&mut self) -> Vec<u8> {
        with_size(&self.challenge, &self.name)
    }

    fn hear(&mut self, identifier: u8, data: &[u8]) -> Verdict {
        let Some(found) = value(data) else { return Verdict::Refuse("an MD5 response of no length that there is".into()) };
        match &self.password {
            Some(password) if same(found, &response(identifier, password, &self.challenge)) => Verdict::Accept(None),
            Some(_) => Verdict::Refuse("the EAP user does not know the password".into()),
            None => Verdict::Refuse("there is no such EAP user".into()),
        }
    }
}
