//! Proposals of both phases: a transform for each combination of algorithms (RFC 2409 section 5 and appendix A, RFC 2407 sections 4.4 and 4.5).

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ike_wire::v1::{Attribute, AttributeType, AttributeValue, OakleyAttribute, Proposal, Protocol, Sa, Spelling, Transform};
use ipsec_types::{
    ChildProposal, EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod, Limits, Mode, PrfAlgorithm, Protection, SequenceNumbers, Spi,
};

use crate::config;
use crate::error::Detail;
use crate::negotiate::ChildSuite;
use crate::provider::{Cipher, Hash, HashFunction, Prf, Provider};
use crate::v1::authentication::Authentication;
use crate::v1::lifetime::{self, Phase};
use crate::v2::keys::Role;

/// The algorithms of phase 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suite {
    pub(crate) encryption: EncryptionAlgorithm,
    /// As proposals name the hash.
    pub(crate) integrity: IntegrityAlgorithm,
    pub(crate) method: KeyExchangeMethod,
    /// How both sides show who they are.
    pub(crate) authentication: Authentication,
    pub(crate) prf: &'static dyn Prf,
    /// The PRF of HASH_I and HASH_R.
    pub(crate) proof_prf: &'static dyn Prf,
    pub(crate) hash: &'static dyn Hash,
    pub(crate) cipher: &'static dyn Cipher,
}

/// How packets of a Child SA are wrapped: an attribute of its transforms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encapsulation {
    pub(crate) mode: Mode,
    /// In UDP, by whose number; `None` for not.
    pub(crate) udp: Option<Spelling>,
}

/// A responder's choice for a Child SA.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) suite: ChildSuite,
    /// The offered proposal, cut to the chosen transform, still with the initiator's SPI.
    pub(crate) answer: Proposal,
    pub(crate) outbound: Spi,
}

/// Transforms of one proposal, as their number has one octet.
const MOST: usize = 255;

impl Suite {
    fn of(
        (encryption, integrity, method): (EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod),
        authentication: Authentication,
        provider: &Provider,
    ) -> Option<Self> {
        let (_, hash, prf) = hash_of(integrity)?;
        provider.key_exchange(method)?;
        let proof_prf = provider.prf(authentication.own_prf().unwrap_or(prf))?;
        let (prf, hash, cipher) = (provider.prf(prf)?, provider.hash(hash)?, provider.cipher(encryption)?);
        Some(Self { encryption, integrity, method, authentication, prf, proof_prf, hash, cipher })
    }

    /// Such as `AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048`, as with IKEv2.
    pub(crate) fn describe(&self) -> String {
        format!("{}/{}/{}/{}", self.encryption, self.integrity, self.prf.algorithm(), self.method)
    }

    fn same(&self, other: &Self) -> bool {
        let said = |suite: &Self| (suite.encryption, suite.integrity, suite.method, suite.authentication);
        said(self) == said(other)
    }

    /// Whether a connection that a responder has found later would have taken it, too.
    pub(crate) fn suits(&self, connection: &config::Connection, provider: &Provider) -> bool {
        suites(connection, Role::Responder, provider).iter().any(|suite| suite.same(self))
    }
}

/// Hash Algorithm, the function, and the PRF, which is its HMAC, for an integrity algorithm of a proposal.
const fn hash_of(integrity: IntegrityAlgorithm) -> Option<(u16, HashFunction, PrfAlgorithm)> {
    match integrity {
        IntegrityAlgorithm::HmacMd5 => Some((1, HashFunction::Md5, PrfAlgorithm::HmacMd5)),
        IntegrityAlgorithm::HmacSha1 => Some((2, HashFunction::Sha1, PrfAlgorithm::HmacSha1)),
        IntegrityAlgorithm::HmacSha256 => Some((4, HashFunction::Sha256, PrfAlgorithm::HmacSha256)),
        IntegrityAlgorithm::HmacSha384 => Some((5, HashFunction::Sha384, PrfAlgorithm::HmacSha384)),
        IntegrityAlgorithm::HmacSha512 => Some((6, HashFunction::Sha512, PrfAlgorithm::HmacSha512)),
        IntegrityAlgorithm::AesXcbc | IntegrityAlgorithm::AesCmac => None,
    }
}

/// Encryption Algorithm and Key Length.
const fn oakley_cipher(encryption: EncryptionAlgorithm) -> Option<(u16, Option<u16>)> {
    match encryption {
        EncryptionAlgorithm::TripleDes => Some((5, None)),
        EncryptionAlgorithm::AesCbc128 => Some((7, Some(128))),
        EncryptionAlgorithm::AesCbc192 => Some((7, Some(192))),
        EncryptionAlgorithm::AesCbc256 => Some((7, Some(256))),
        _ => None,
    }
}

/// What the proposals of a connection come to: those with an AEAD have no words in IKEv1.
fn suites(connection: &config::Connection, role: Role, provider: &Provider) -> Vec<Suite> {
    let mut suites: Vec<Suite> = Vec::new();
    let Some(authentication) = Authentication::of(connection, role) else { return suites };
    for proposal in &connection.proposals {
        for encryption in proposal.encryption() {
            for integrity in proposal.integrity() {
                let methods = proposal.key_exchange().iter().filter(|method| oakley_group(**method).is_some());
                for suite in methods.filter_map(|method| Suite::of((*encryption, *integrity, *method), authentication, provider)) {
                    if !suites.iter().any(|other| other.same(&suite)) {
                        suites.push(suite);
                    }
                }
            }
        }
    }
    suites
}

/// Group Description: the numbers are those of IKEv2, as far as IKEv1 has them.
const fn oakley_group(method: KeyExchangeMethod) -> Option<u16> {
    match method {
        KeyExchangeMethod::X25519 => None,
        other => Some(other.id()),
    }
}

fn short(kind: u16, value: u16) -> Attribute {
    Attribute { kind, value: AttributeValue::Short(value) }
}

/// The method of the key exchange of our first proposal, which aggressive mode begins with.
pub(crate) fn first_method(connection: &config::Connection, provider: &Provider) -> Option<KeyExchangeMethod> {
    suites(connection, Role::Initiator, provider).first().map(|suite| suite.method)
}

/// The offer of phase 1, or of those with one method of key exchange alone; `None` where nothing can be offered.
pub(crate) fn offer(connection: &config::Connection, provider: &Provider, only: Option<KeyExchangeMethod>) -> Option<Sa> {
    let life = lifetime::of_ike_sa(&connection.lifetime);
    let transforms: Vec<Transform> = (1..=u8::MAX)
        .zip(
            suites(connection, Role::Initiator, provider)
                .into_iter()
                .filter(|suite| only.is_none_or(|only| suite.method == only))
                .take(MOST),
        )
        .filter_map(|(number, suite)| Some(Transform { number, id: Transform::KEY_IKE, attributes: attributes(&suite, &life)? }))
        .collect();
    let proposal = Proposal { number: 1, protocol: Protocol::ISAKMP, spi: Vec::new(), transforms };
    (!proposal.transforms.is_empty()).then(|| Sa { proposals: alloc::vec![proposal] })
}

fn attributes(suite: &Suite, life: &Limits) -> Option<Vec<Attribute>> {
    let (cipher, key_length) = oakley_cipher(suite.encryption)?;
    let (hash, ..) = hash_of(suite.integrity)?;
    let mut attributes = alloc::vec![short(OakleyAttribute::ENCRYPTION.0, cipher)];
    attributes.extend(key_length.map(|bits| short(OakleyAttribute::KEY_LENGTH.0, bits)));
    attributes.extend([
        short(OakleyAttribute::HASH.0, hash),
        short(OakleyAttribute::GROUP.0, oakley_group(suite.method)?),
        short(OakleyAttribute::AUTHENTICATION_METHOD.0, suite.authentication.number()),
    ]);
    attributes.extend(lifetime::attributes(Phase::One, life));
    Some(attributes)
}

/// The responder's choice: the first of the initiator's transforms that is one of ours that can be meant, and the answer, which is that transform as it
/// was offered.
pub(crate) fn choose(
    connection: &config::Connection,
    theirs: &Sa,
    provider: &Provider,
    is_meant: impl Fn(&Suite) -> bool,
) -> Option<(Suite, Sa)> {
    let suites: Vec<Suite> = suites(connection, Role::Responder, provider).into_iter().filter(is_meant).collect();
    first_of(&suites, theirs)
}

fn first_of(suites: &[Suite], theirs: &Sa) -> Option<(Suite, Sa)> {
    theirs.proposals.iter().filter(|proposal| proposal.protocol == Protocol::ISAKMP).find_map(|proposal| {
        proposal.transforms.iter().find_map(|transform| {
            let suite = suites.iter().find(|suite| is(transform, suite))?;
            let answer = Proposal { transforms: alloc::vec![transform.clone()], ..proposal.clone() };
            Some((*suite, Sa { proposals: alloc::vec![answer] }))
        })
    })
}

/// The responder's choice, if it is one of ours: one transform of one proposal.
pub(crate) fn accept(connection: &config::Connection, answer: &Sa, provider: &Provider) -> Option<Suite> {
    let [Proposal { transforms, .. }] = answer.proposals.as_slice() else { return None };
    let [_] = transforms.as_slice() else { return None };
    first_of(&suites(connection, Role::Initiator, provider), answer).map(|(suite, _)| suite)
}

/// Whether a transform of phase 1 says this suite, and nothing that is not understood.
fn is(transform: &Transform, suite: &Suite) -> bool {
    const KNOWN: [OakleyAttribute; 7] = [
        OakleyAttribute::ENCRYPTION,
        OakleyAttribute::KEY_LENGTH,
        OakleyAttribute::HASH,
        OakleyAttribute::GROUP,
        OakleyAttribute::AUTHENTICATION_METHOD,
        OakleyAttribute::LIFE_TYPE,
        OakleyAttribute::LIFE_DURATION,
    ];
    let (Some((cipher, key_length)), Some((hash, ..)), Some(group)) =
        (oakley_cipher(suite.encryption), hash_of(suite.integrity), oakley_group(suite.method))
    else {
        return false;
    };
    let value = |kind: OakleyAttribute| transform.value(kind.0);
    transform.id == Transform::KEY_IKE
        && transform.attributes.iter().all(|attribute| KNOWN.contains(&OakleyAttribute(attribute.kind)))
        && value(OakleyAttribute::ENCRYPTION) == Some(cipher.into())
        && value(OakleyAttribute::KEY_LENGTH) == key_length.map(u64::from)
        && value(OakleyAttribute::HASH) == Some(hash.into())
        && value(OakleyAttribute::GROUP) == Some(group.into())
        && value(OakleyAttribute::AUTHENTICATION_METHOD) == Some(suite.authentication.number().into())
}

/// No transform of an offer of phase 1 is one of ours.
pub(crate) fn nothing_in_common(ours: Option<&config::Connection>, theirs: &Sa, provider: &Provider) -> Box<Detail> {
    let mine: Vec<String> =
        ours.map(|connection| suites(connection, Role::Responder, provider)).unwrap_or_default().iter().map(name).collect();
    let all: Vec<String> = theirs.proposals.iter().flat_map(|proposal| &proposal.transforms).take(32).map(shown).collect();
    Detail {
        summary: "no IKEv1 proposal in common".into(),
        ours: if mine.is_empty() { "no proposal here can be said in IKEv1, which has no AEAD for IKE".into() } else { mine.join(", ") },
        theirs: all.join(", "),
        would_match: "one transform alike in encryption, hash, method of authentication and group".into(),
        remedy: "let proposals here name the peer's cipher, hash and group, such as aes128-sha256-modp2048, and local.auth and remote.auth its method".into(),
    }
    .bounded()
}

fn name(suite: &Suite) -> String {
    format!("{}/{}/{}/{}", suite.encryption, suite.integrity, suite.method, suite.authentication)
}

fn shown(transform: &Transform) -> String {
    let values = transform
        .attributes
        .iter()
        .filter(|attribute| attribute.kind < OakleyAttribute::GROUP_TYPE.0 || attribute.kind == OakleyAttribute::KEY_LENGTH.0);
    let values: Vec<String> = values
        .map(|attribute| match &attribute.value {
            AttributeValue::Short(value) => {
                let method = Authentication::from_number((*value).into())
                    .filter(|_| OakleyAttribute(attribute.kind) == OakleyAttribute::AUTHENTICATION_METHOD);
                let name = method.map(|method| format!(" ({method})")).unwrap_or_default();
                format!("{} {value}{name}", OakleyAttribute(attribute.kind))
            }
            AttributeValue::Long(octets) => format!("{} of {} octets", OakleyAttribute(attribute.kind), octets.len()),
        })
        .collect();
    values.join(" ")
}

impl Encapsulation {
    /// Encapsulation Mode (RFC 2407 section 4.5, RFC 3947 section 5.1).
    pub(crate) const fn number(self) -> u16 {
        match (self.mode, self.udp) {
            (Mode::Tunnel, None) => 1,
            (Mode::Transport, None) => 2,
            (Mode::Tunnel, Some(Spelling::Standard)) => 3,
            (Mode::Transport, Some(Spelling::Standard)) => 4,
            (Mode::Tunnel, Some(Spelling::Draft)) => 61443,
            (Mode::Transport, Some(Spelling::Draft)) => 61444,
        }
    }
}

/// The transform of an algorithm with which a Child SA is protected: Transform-Id, Key Length, Authentication Algorithm.
fn transform_of(protection: Protection) -> Option<(u8, Option<u16>, Option<u16>)> {
    let authentication = |integrity| {
        Some(match integrity {
            IntegrityAlgorithm::HmacMd5 => 1,
            IntegrityAlgorithm::HmacSha1 => 2,
            IntegrityAlgorithm::HmacSha256 => 5,
            IntegrityAlgorithm::HmacSha384 => 6,
            IntegrityAlgorithm::HmacSha512 => 7,
            IntegrityAlgorithm::AesXcbc => 9,
            IntegrityAlgorithm::AesCmac => return None,
        })
    };
    match protection {
        Protection::Esp { encryption, integrity } => {
            // The numbers of IKEv2, but for AES-GMAC; ChaCha20 has none.
            let id = match encryption {
                EncryptionAlgorithm::ChaCha20Poly1305 => return None,
                EncryptionAlgorithm::AesGmac128 | EncryptionAlgorithm::AesGmac192 | EncryptionAlgorithm::AesGmac256 => 23,
                other => u8::try_from(other.id()).ok()?,
            };
            let authentication = match integrity {
                Some(integrity) => Some(authentication(integrity)?),
                None => None,
            };
            Some((id, encryption.key_length_bits(), authentication))
        }
        Protection::Ah { integrity } => {
            let authentication = authentication(integrity)?;
            // AH_MD5 is 2 and AH_SHA 3; those of SHA-2 and AES-XCBC are numbered alike.
            let id = if authentication <= 2 { authentication + 1 } else { authentication };
            let id = u8::try_from(id).ok()?;
            Some((id, None, Some(authentication)))
        }
    }
}

/// Every suite of a child's proposals that has words in IKEv1, in order. Sequence numbers have 32 bits.
fn child_suites(ours: &[ChildProposal], available: &[KeyExchangeMethod]) -> Vec<ChildSuite> {
    let mut suites = Vec::new();
    for proposal in ours.iter().filter(|proposal| proposal.sequence_numbers().contains(&SequenceNumbers::Standard)) {
        let protections: Vec<Protection> = match proposal {
            ChildProposal::Ah(ah) => ah.integrity().iter().map(|integrity| Protection::Ah { integrity: *integrity }).collect(),
            ChildProposal::Esp(esp) => {
                let pairs = esp.encryption().iter().flat_map(|encryption| {
                    let with = esp.integrity().iter().map(move |integrity| (*encryption, Some(*integrity)));
                    with.chain(encryption.is_aead().then_some((*encryption, None)))
                });
                pairs.map(|(encryption, integrity)| Protection::Esp { encryption, integrity }).collect()
            }
        };
        let usable = |method: &&KeyExchangeMethod| available.contains(method) && oakley_group(**method).is_some();
        let methods: Vec<Option<KeyExchangeMethod>> = match proposal.key_exchange() {
            [] => alloc::vec![None],
            methods => methods.iter().filter(usable).copied().map(Some).collect(),
        };
        for method in methods {
            let usable = protections.iter().filter(|protection| transform_of(**protection).is_some());
            suites.extend(usable.map(|protection| ChildSuite {
                protection: *protection,
                method,
                sequence_numbers: SequenceNumbers::Standard,
            }));
        }
    }
    suites
}

/// The offer of quick mode, received on `spi`, and the method of its key exchange. "all offers [...] MUST include the same group" (RFC 2409 section
/// 5.5): that of the first proposal. `None` where nothing can be offered.
pub(crate) fn offer_child(
    child: &config::Child,
    spi: Spi,
    encapsulation: Encapsulation,
    available: &[KeyExchangeMethod],
) -> Option<(Sa, Option<KeyExchangeMethod>)> {
    let suites = child_suites(&child.proposals, available);
    let method = suites.first()?.method;
    let offered = suites.iter().filter(|suite| suite.method == method).take(MOST);
    let transforms = (1..=u8::MAX).zip(offered).filter_map(|(number, suite)| {
        let (id, key_length, authentication) = transform_of(suite.protection)?;
        let mut attributes = lifetime::attributes(Phase::Two, &lifetime::of_child(&child.lifetime));
        attributes.extend(method.and_then(oakley_group).map(|group| short(AttributeType::GROUP.0, group)));
        attributes.push(short(AttributeType::ENCAPSULATION_MODE.0, encapsulation.number()));
        attributes.extend(authentication.map(|authentication| short(AttributeType::AUTHENTICATION.0, authentication)));
        attributes.extend(key_length.map(|bits| short(AttributeType::KEY_LENGTH.0, bits)));
        Some(Transform { number, id, attributes })
    });
    let proposal =
        Proposal { number: 1, protocol: protocol(child), spi: spi.value().to_be_bytes().to_vec(), transforms: transforms.collect() };
    Some((Sa { proposals: alloc::vec![proposal] }, method))
}

/// The protocol of a child.
pub(crate) fn protocol(child: &config::Child) -> Protocol {
    Protocol(child.protocol().0)
}

/// The responder's choice for a Child SA: the first of the initiator's transforms that is one of ours. `key_exchange`: the peer has sent a KE payload,
/// without which there can be no group.
pub(crate) fn choose_child(
    child: &config::Child,
    theirs: &Sa,
    encapsulation: Encapsulation,
    key_exchange: bool,
    available: &[KeyExchangeMethod],
) -> Option<Chosen> {
    let suites = child_suites(&child.proposals, available);
    theirs.proposals.iter().filter(|proposal| proposal.protocol == protocol(child)).find_map(|proposal| {
        // Those of one number belong together (RFC 2408 section 4.2), and of several protocols at once there is no SA here.
        if theirs.proposals.iter().filter(|other| other.number == proposal.number).count() > 1 {
            return None;
        }
        let outbound = proposal.child_spi()?;
        proposal.transforms.iter().find_map(|transform| {
            let suite = suites.iter().find(|suite| suite.method.is_some() == key_exchange && is_child(transform, suite, encapsulation))?;
            Some(Chosen { suite: *suite, answer: Proposal { transforms: alloc::vec![transform.clone()], ..proposal.clone() }, outbound })
        })
    })
}

/// The responder's choice for a Child SA, if it is one of ours.
pub(crate) fn accept_child(
    child: &config::Child,
    answer: &Sa,
    encapsulation: Encapsulation,
    method: Option<KeyExchangeMethod>,
    available: &[KeyExchangeMethod],
) -> Option<Chosen> {
    let [Proposal { transforms, .. }] = answer.proposals.as_slice() else { return None };
    let [_] = transforms.as_slice() else { return None };
    choose_child(child, answer, encapsulation, method.is_some(), available).filter(|chosen| chosen.suite.method == method)
}

fn is_child(transform: &Transform, suite: &ChildSuite, encapsulation: Encapsulation) -> bool {
    const KNOWN: [AttributeType; 6] = [
        AttributeType::LIFE_TYPE,
        AttributeType::LIFE_DURATION,
        AttributeType::GROUP,
        AttributeType::ENCAPSULATION_MODE,
        AttributeType::AUTHENTICATION,
        AttributeType::KEY_LENGTH,
    ];
    let Some((id, key_length, authentication)) = transform_of(suite.protection) else { return false };
    let value = |kind: AttributeType| transform.value(kind.0);
    let group = suite.method.and_then(oakley_group);
    transform.id == id
        && transform.attributes.iter().all(|attribute| KNOWN.contains(&AttributeType(attribute.kind)))
        && value(AttributeType::KEY_LENGTH) == key_length.map(u64::from)
        && value(AttributeType::AUTHENTICATION) == authentication.map(u64::from)
        && value(AttributeType::GROUP) == group.map(u64::from)
        && value(AttributeType::ENCAPSULATION_MODE) == Some(encapsulation.number().into())
}

/// No transform of an offer of phase 2 is one of a child's.
pub(crate) fn nothing_for_child(child: &config::Child, theirs: &Sa, encapsulation: Encapsulation, key_exchange: bool) -> Box<Detail> {
    let mine: Vec<String> = child.proposals.iter().map(ToString::to_string).collect();
    let all = theirs.proposals.iter().flat_map(|proposal| proposal.transforms.iter().map(move |transform| (proposal.protocol, transform)));
    let theirs: Vec<String> = all
        .take(32)
        .map(|(protocol, transform)| {
            let value = |kind: AttributeType| transform.value(kind.0).map(|value| format!(" {kind} {value}")).unwrap_or_default();
            let parts = [AttributeType::KEY_LENGTH, AttributeType::AUTHENTICATION, AttributeType::GROUP, AttributeType::ENCAPSULATION_MODE];
            format!("{protocol} {}{}", transform.id, parts.map(value).concat())
        })
        .collect();
    let pfs = if key_exchange { "with perfect forward secrecy" } else { "without perfect forward secrecy" };
    Detail {
        summary: format!("no proposal of quick mode in common for child {}", child.name),
        ours: format!("{}, Encapsulation Mode {}, with a group where the proposal names one", mine.join(", "), encapsulation.number()),
        theirs: format!("{}; {pfs}", theirs.join(", ")),
        would_match: "one transform alike in cipher, key length, integrity algorithm, group and mode".into(),
        remedy: "compare cipher, integrity algorithm, group (PFS) and mode of this child with the peer's".into(),
    }
    .bounded()
}

#[cfg(test)]
mod tests;
