//! EAP-MSCHAPv2 (draft-kamath-pppext-eap-mschapv2): RFC 2759 in Type-Data of this form, with a length of its own.
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   OpCode      |  MS-CHAPv2-ID |         MS-Length             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! Challenge:         Value-Size (16), challenge, name
//! Response:          Value-Size (49), peer's challenge (16), zeros (8), NT-Response (24), flags (1), name
//! Success, Failure:  text; their answers are the OpCode alone
//! ```

mod keys;

use std::sync::Arc;

use ipsec_types::Secret;

use super::{ClientMethod, Reply, ServerMethod, Verdict, Why, random, same};

const CHALLENGE: u8 = 1;
const RESPONSE: u8 = 2;
const SUCCESS: u8 = 3;
const FAILURE: u8 = 4;

const CHALLENGE_LEN: usize = 16;
const RESPONSE_LEN: usize = 49;
/// Value-Size of each.
const CHALLENGE_SIZE: u8 = 16;
const RESPONSE_SIZE: u8 = 49;

/// What is behind the lengths: `None` where one of them is not what it has to be.
struct Content<'a> {
    op_code: u8,
    id: u8,
    rest: &'a [u8],
}

fn parse(data: &[u8]) -> Option<Content<'_>> {
    let ([op_code, id, high, low], rest) = data.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    (length == data.len()).then_some(Content { op_code: *op_code, id: *id, rest })
}

/// A value of `N` octets behind its size, and a name.
fn value<const N: usize>(rest: &[u8]) -> Option<(&[u8; N], &str)> {
    let (size, rest) = rest.split_first()?;
    let (value, name) = rest.split_first_chunk::<N>()?;
    Some((value, std::str::from_utf8(name).ok()?)).filter(|_| usize::from(*size) == N)
}

fn emit(op_code: u8, id: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut data = vec![op_code, id, 0, 0];
    parts.iter().for_each(|part| data.extend(*part));
    // Names are shorter than an EAP packet.
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes();
    data[2..4].copy_from_slice(&length);
    data
}

/// RFC 2759 section 4: without the domain in front.
fn without_domain(name: &str) -> &str {
    name.rsplit_once('\\').map_or(name, |(_, name)| name)
}

const fn part<const N: usize>(value: &[u8; RESPONSE_LEN], from: usize) -> [u8; N] {
    let mut part = [0; N];
    let mut i = 0;
    while i < N {
        part[i] = value[from + i];
        i += 1;
    }
    part
}

/// What both sides know after the response.
struct Exchanged {
    /// What the server shows in turn.
    authenticator: [u8; 20],
    msk: Secret,
}

/// NT-Response, and what follows from it.
fn respond(password: &Secret, user: &str, peer: &[u8; 16], authenticator: &[u8; 16]) -> Option<([u8; 24], Exchanged)> {
    let hash = keys::password_hash(password)?;
    let challenge = keys::challenge_hash(peer, authenticator, without_domain(user));
    let response = keys::challenge_response(challenge, &hash);
    let exchanged =
        Exchanged { authenticator: keys::authenticator_response(&hash, &response, challenge), msk: keys::msk(&hash, &response) };
    Some((response, exchanged))
}

pub(super) struct Client {
    user: String,
    password: Arc<Secret>,
    state: ClientState,
}

enum ClientState {
    Begun,
    Answered(Exchanged),
    /// The server knows the password, too.
    Shown(Secret),
    Refused,
}

impl Client {
    pub(super) const fn new(user: String, password: Arc<Secret>) -> Self {
        Self { user, password, state: ClientState::Begun }
    }
}

impl ClientMethod for Client {
    fn answer(&mut self, _identifier: u8, data: &[u8]) -> Result<Reply, Why> {
        let content = parse(data).ok_or("an MSCHAPv2 packet whose length is wrong")?;
        match (content.op_code, std::mem::replace(&mut self.state, ClientState::Refused)) {
            (CHALLENGE, ClientState::Begun) => {
                let (challenge, _) = value::<CHALLENGE_LEN>(content.rest).ok_or("an MSCHAPv2 challenge that is not of 16 octets")?;
                let peer = random();
                let exchanged = respond(&self.password, &self.user, &peer, challenge);
                let (response, exchanged) = exchanged.ok_or("the password is no text in UTF-8, as MSCHAPv2 wants it")?;
                self.state = ClientState::Answered(exchanged);
                let size = [RESPONSE_SIZE];
                Ok(Reply::Say(emit(RESPONSE, content.id, &[&size, &peer, &[0; 8], &response, &[0], self.user.as_bytes()]).into()))
            }
            (SUCCESS, ClientState::Answered(exchanged)) => {
                let shown = content.rest.strip_prefix(b"S=").and_then(|text| text.get(..40)).and_then(hexadecimal);
                if !shown.is_some_and(|shown| same(&shown, &exchanged.authenticator)) {
                    return Err("the server does not know the password".into());
                }
                self.state = ClientState::Shown(exchanged.msk);
                Ok(Reply::Say(vec![SUCCESS].into()))
            }
            (FAILURE, _) => Ok(Reply::Say(vec![FAILURE].into())),
            (other, _) => Err(format!("an MSCHAPv2 packet with OpCode {other} that does not belong here").into()),
        }
    }

    fn finish(&mut self) -> Option<Option<Secret>> {
        match std::mem::replace(&mut self.state, ClientState::Refused) {
            ClientState::Shown(msk) => Some(Some(msk)),
            _ => None,
        }
    }
}

fn hexadecimal(text: &[u8]) -> Option<[u8; 20]> {
    let mut octets = [0; 20];
    for (pair, octet) in text.chunks_exact(2).zip(&mut octets) {
        *octet = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(octets)
}

pub(super) struct Server {
    name: String,
    user: String,
    password: Option<Arc<Secret>>,
    challenge: [u8; CHALLENGE_LEN],
    id: u8,
    state: ServerState,
}

enum ServerState {
    Asked,
    /// The peer knows the password, and is shown that we do.
    Showing(Secret),
    /// The peer is told that it does not.
    Refusing(&'static str),
}

impl Server {
    pub(super) fn new(name: String, user: String, password: Option<Arc<Secret>>) -> Self {
        let [id] = random();
        Self { name, user, password, challenge: random(), id, state: ServerState::Asked }
    }

    fn check(&self, content: &Content<'_>) -> Result<Exchanged, &'static str> {
        let (shown, name) = value::<RESPONSE_LEN>(content.rest).ok_or("an MSCHAPv2 response that is not of 49 octets")?;
        if content.id != self.id {
            return Err("an MSCHAPv2 response to another challenge");
        }
        if without_domain(name) != without_domain(&self.user) {
            return Err("the MSCHAPv2 response is in another user's name");
        }
        let password = self.password.as_ref().ok_or("there is no such EAP user")?;
        let (response, exchanged) = respond(password, name, &part(shown, 0), &self.challenge).ok_or("the password is no text in UTF-8")?;
        if !same(&part::<24>(shown, 24), &response) {
            return Err("the EAP user does not know the password");
        }
        Ok(exchanged)
    }
}

impl ServerMethod for Server {
    fn begin(&mut self) -> Vec<u8> {
        emit(CHALLENGE, self.id, &[&[CHALLENGE_SIZE], &self.challenge, self.name.as_bytes()])
    }

    fn hear(&mut self, _identifier: u8, data: &[u8]) -> Verdict {
        match std::mem::replace(&mut self.state, ServerState::Refusing("the MSCHAPv2 conversation is over")) {
            ServerState::Asked => {
                let Some(content) = parse(data).filter(|content| content.op_code == RESPONSE) else {
                    return Verdict::Refuse("an MSCHAPv2 packet that is no response, or whose length is wrong".into());
                };
                match self.check(&content) {
                    Ok(exchanged) => {
                        let shown: String = exchanged.authenticator.iter().map(|octet| format!("{octet:02X}")).collect();
                        self.state = ServerState::Showing(exchanged.msk);
                        Verdict::Ask(emit(SUCCESS, self.id, &[b"S=", shown.as_bytes(), b" M=Welcome"]))
                    }
                    Err(why) => {
                        self.state = ServerState::Refusing(why);
                        // RFC 2759 section 6: 691 is ERROR_AUTHENTICATION_FAILURE, without another try.
                        let challenge: String = random::<16>().iter().map(|octet| format!("{octet:02X}")).collect();
                        Verdict::Ask(emit(FAILURE, self.id, &[b"E=691 R=0 C=", challenge.as_bytes(), b" V=3 M=Access denied"]))
                    }
                }
            }
            ServerState::Showing(msk) if data.first() == Some(&SUCCESS) => Verdict::Accept(Some(msk)),
            ServerState::Showing(_) => Verdict::Refuse("the peer does not believe that this gateway knows the password".into()),
            ServerState::Refusing(why) => Verdict::Refuse(why.into()),
        }
    }
}
