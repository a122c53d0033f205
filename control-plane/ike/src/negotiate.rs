//! Weighing offers: proposals (RFC 7296 sections 2.7 and 3.3) and traffic selectors (section 2.9).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ike_wire::{Proposal, Protocol, Sa, TrafficSelectors, Transform, TransformType};
use ipsec_types::{
    EncryptionAlgorithm, EspProposal, IkeProposal, IntegrityAlgorithm, KeyExchangeMethod, SequenceNumbers, Spi, TrafficSelector,
};

use crate::provider::{Prf, Provider, SkSuite};

/// The algorithms of an IKE SA.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IkeSuite {
    pub(crate) encryption: EncryptionAlgorithm,
    pub(crate) integrity: Option<IntegrityAlgorithm>,
    pub(crate) method: KeyExchangeMethod,
    pub(crate) prf: &'static dyn Prf,
    pub(crate) sk: &'static dyn SkSuite,
}

/// The algorithms of a Child SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EspSuite {
    pub(crate) encryption: EncryptionAlgorithm,
    pub(crate) integrity: Option<IntegrityAlgorithm>,
    pub(crate) sequence_numbers: SequenceNumbers,
}

/// A choice, and the answer that announces it.
#[derive(Debug, Clone)]
pub(crate) struct Chosen<S> {
    pub(crate) suite: S,
    /// The offered proposal, cut to the chosen transforms.
    pub(crate) answer: Proposal,
}

/// Selectors both sides agreed on. Only [`narrow`] and [`narrowed_by_peer`] make them, so that no Child SA carries more than was agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SelectorsNarrowed {
    local: Vec<TrafficSelector>,
    remote: Vec<TrafficSelector>,
}

impl SelectorsNarrowed {
    pub(crate) fn local(&self) -> &[TrafficSelector] {
        &self.local
    }

    pub(crate) fn remote(&self) -> &[TrafficSelector] {
        &self.remote
    }
}

impl IkeSuite {
    /// Such as `AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519`.
    pub(crate) fn describe(&self) -> String {
        let integrity = self.integrity.map(|a| format!("/{a}")).unwrap_or_default();
        format!("{}{integrity}/{}/{}", self.encryption, self.prf.algorithm(), self.method)
    }
}

impl EspSuite {
    /// Such as `AES_GCM_16_128/NO_EXT_SEQ`.
    pub(crate) fn describe(&self) -> String {
        let integrity = self.integrity.map(|a| format!("/{a}")).unwrap_or_default();
        format!("{}{integrity}/{}", self.encryption, self.sequence_numbers)
    }
}

/// The offer of an initiator in IKE_SA_INIT. What the provider lacks is left out.
pub(crate) fn offer_ike(ours: &[IkeProposal], provider: &Provider) -> Sa {
    let usable = ours.iter().map(|proposal| {
        let mut offered = Proposal::ike(proposal, None);
        offered.transforms.retain(|transform| provided(transform, provider));
        offered
    });
    Sa::offer(usable.filter(|offered| [TransformType::ENCR, TransformType::PRF, TransformType::KE].iter().all(|kind| has(offered, *kind))))
}

/// The offer for a Child SA, received on `spi`. Without perfect forward secrecy.
pub(crate) fn offer_esp(ours: &[EspProposal], spi: Spi) -> Sa {
    Sa::offer(ours.iter().map(|proposal| Proposal::esp(proposal, spi).without_key_exchange()))
}

/// Our choice among an initiator's proposals: ours in our order, theirs in theirs. The method of the KE payload is taken where it is
/// acceptable at all, which saves the round trip of INVALID_KE_PAYLOAD (section 1.3).
pub(crate) fn choose_ike(
    ours: &[IkeProposal],
    theirs: &Sa,
    sent: Option<KeyExchangeMethod>,
    provider: &Provider,
) -> Option<Chosen<IkeSuite>> {
    ours.iter().find_map(|own| theirs.proposals.iter().find_map(|offered| match_ike(own, offered, sent, provider)))
}

/// The responder's choice, if it is one of ours: exactly one proposal with one transform of each type, from what we offered.
pub(crate) fn accept_ike(ours: &[IkeProposal], answer: &Sa, provider: &Provider) -> Option<IkeSuite> {
    let [proposal] = answer.proposals.as_slice() else { return None };
    let number = usize::from(proposal.number).checked_sub(1)?;
    let offered = offer_ike(ours, provider);
    if !offered.proposals.get(number).is_some_and(|offered| is_choice_of(proposal, offered)) {
        return None;
    }
    ours.iter().find_map(|own| match_ike(own, proposal, None, provider)).map(|chosen| chosen.suite)
}

/// Our choice among an initiator's proposals for a Child SA.
pub(crate) fn choose_esp(ours: &[EspProposal], theirs: &Sa, key_exchange: KeyExchange) -> Option<Chosen<EspSuite>> {
    ours.iter().find_map(|own| theirs.proposals.iter().find_map(|offered| match_esp(own, offered, key_exchange)))
}

/// The responder's choice for a Child SA, if it is one of ours.
pub(crate) fn accept_esp(ours: &[EspProposal], answer: &Sa, spi: Spi) -> Option<EspSuite> {
    let [proposal] = answer.proposals.as_slice() else { return None };
    let number = usize::from(proposal.number).checked_sub(1)?;
    let offered = offer_esp(ours, spi);
    if !offered.proposals.get(number).is_some_and(|offered| is_choice_of(proposal, offered)) {
        return None;
    }
    ours.iter().find_map(|own| match_esp(own, proposal, KeyExchange::Refused)).map(|chosen| chosen.suite)
}

/// What an offer of transforms of type 4 for a Child SA means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyExchange {
    /// In IKE_AUTH they have no place, and are passed over (section 1.2).
    Ignored,
    /// A proposal that insists on one is not acceptable.
    Refused,
}

fn match_ike(own: &IkeProposal, offered: &Proposal, sent: Option<KeyExchangeMethod>, provider: &Provider) -> Option<Chosen<IkeSuite>> {
    const KNOWN: &[TransformType] = &[TransformType::ENCR, TransformType::PRF, TransformType::INTEG, TransformType::KE];
    if offered.protocol != Protocol::IKE || !offered.transforms.iter().all(|transform| KNOWN.contains(&transform.kind)) {
        return None;
    }
    let has_method =
        |method| offered.transforms.iter().any(|t| t.key_exchange() == Some(method)) && provider.key_exchange(method).is_some();
    let preferred = sent.filter(|sent| own.key_exchange().contains(sent) && has_method(*sent));
    let method = preferred.or_else(|| own.key_exchange().iter().copied().find(|method| has_method(*method)))?;
    let prf = *own.prf().iter().find(|prf| offered.transforms.iter().any(|t| t.prf() == Some(**prf)) && provider.prf(**prf).is_some())?;
    let (encryption, integrity) = match_protection(own.encryption(), own.integrity(), offered)
        .into_iter()
        .find(|(encryption, integrity)| provider.suite(*encryption, *integrity).is_some())?;
    let suite = IkeSuite { encryption, integrity, method, prf: provider.prf(prf)?, sk: provider.suite(encryption, integrity)? };
    let transforms = [Transform::from(encryption)].into_iter().chain(integrity.map(Transform::from));
    let transforms = transforms.chain([Transform::from(prf), Transform::from(method)]).collect();
    Some(Chosen { suite, answer: Proposal { number: offered.number, protocol: Protocol::IKE, spi: Vec::new(), transforms } })
}

fn match_esp(own: &EspProposal, offered: &Proposal, key_exchange: KeyExchange) -> Option<Chosen<EspSuite>> {
    const KNOWN: &[TransformType] = &[TransformType::ENCR, TransformType::INTEG, TransformType::KE, TransformType::ESN];
    if offered.protocol != Protocol::ESP || !offered.transforms.iter().all(|transform| KNOWN.contains(&transform.kind)) {
        return None;
    }
    let insists = has(offered, TransformType::KE) && !offered.of_type(TransformType::KE).any(|transform| transform.id == Transform::NONE);
    if key_exchange == KeyExchange::Refused && insists {
        return None;
    }
    let (encryption, integrity) = match_protection(own.encryption(), own.integrity(), offered).into_iter().next()?;
    // The type is mandatory (section 3.3.3), yet a peer that leaves it out can only mean the numbers every implementation has.
    let offered_esn = |wanted: SequenceNumbers| {
        offered.of_type(TransformType::ESN).any(|transform| transform.sequence_numbers() == Some(wanted))
            || (wanted == SequenceNumbers::Standard && !has(offered, TransformType::ESN))
    };
    let sequence_numbers = own.sequence_numbers().iter().copied().find(|wanted| offered_esn(*wanted))?;
    let suite = EspSuite { encryption, integrity, sequence_numbers };
    let transforms = [Transform::from(encryption)].into_iter().chain(integrity.map(Transform::from));
    let transforms = transforms.chain(has(offered, TransformType::ESN).then(|| Transform::from(sequence_numbers))).collect();
    Some(Chosen { suite, answer: Proposal { number: offered.number, protocol: Protocol::ESP, spi: Vec::new(), transforms } })
}

/// Pairs of cipher and integrity algorithm that both sides name, ours in our order.
fn match_protection(
    encryption: &[EncryptionAlgorithm],
    integrity: &[IntegrityAlgorithm],
    offered: &Proposal,
) -> Vec<(EncryptionAlgorithm, Option<IntegrityAlgorithm>)> {
    let offers_integrity = |wanted: IntegrityAlgorithm| offered.transforms.iter().any(|t| t.integrity() == Some(wanted));
    // NONE may be named or left out (section 3.3.3); with an AEAD a proposal that insists on more is not acceptable.
    let mut of_integrity = offered.of_type(TransformType::INTEG).peekable();
    let offers_none = of_integrity.peek().is_none() || of_integrity.any(|transform| transform.id == Transform::NONE);
    let ciphers = encryption.iter().copied().filter(|wanted| offered.transforms.iter().any(|t| t.encryption() == Some(*wanted)));
    ciphers
        .filter_map(|cipher| match cipher.is_aead() {
            true => offers_none.then_some((cipher, None)),
            false => integrity.iter().copied().find(|wanted| offers_integrity(*wanted)).map(|integrity| (cipher, Some(integrity))),
        })
        .collect()
}

/// Whether `choice` takes exactly one transform of each type `offered` has, all from it. NONE may be left out of the answer.
fn is_choice_of(choice: &Proposal, offered: &Proposal) -> bool {
    let once = |transform: &Transform| choice.of_type(transform.kind).count() == 1;
    let none =
        |transform: &Transform| transform.id == Transform::NONE && matches!(transform.kind, TransformType::INTEG | TransformType::KE);
    choice.protocol == offered.protocol
        && choice.transforms.iter().all(|transform| once(transform) && (offered.transforms.contains(transform) || none(transform)))
        && offered.transforms.iter().all(|transform| has(choice, transform.kind))
}

fn provided(transform: &Transform, provider: &Provider) -> bool {
    match transform.kind {
        TransformType::ENCR => transform.encryption().is_some_and(|a| provider.suites.iter().any(|suite| suite.encryption() == a)),
        TransformType::INTEG => transform.integrity().is_some_and(|a| provider.suites.iter().any(|suite| suite.integrity() == Some(a))),
        TransformType::PRF => transform.prf().is_some_and(|a| provider.prf(a).is_some()),
        TransformType::KE => transform.key_exchange().is_some_and(|a| provider.key_exchange(a).is_some()),
        _ => true,
    }
}

fn has(proposal: &Proposal, kind: TransformType) -> bool {
    proposal.of_type(kind).next().is_some()
}

/// The responder's narrowing (section 2.9): what both the offer and our configuration select. `None` where that is nothing.
pub(crate) fn narrow(
    ours: (&[TrafficSelector], &[TrafficSelector]),
    theirs: (&TrafficSelectors, &TrafficSelectors),
) -> Option<SelectorsNarrowed> {
    let (local, remote) = (intersect(ours.0, theirs.0), intersect(ours.1, theirs.1));
    (!local.is_empty() && !remote.is_empty()).then_some(SelectorsNarrowed { local, remote })
}

/// The initiator's check: the answer selects nothing that was not offered (section 2.9).
pub(crate) fn narrowed_by_peer(
    offered: (&[TrafficSelector], &[TrafficSelector]),
    answer: (&TrafficSelectors, &TrafficSelectors),
) -> Option<SelectorsNarrowed> {
    let within = |offered: &[TrafficSelector], answer: &TrafficSelectors| -> Option<Vec<TrafficSelector>> {
        let answered: Vec<_> = answer.supported().collect();
        let all_read = answered.len() == answer.selectors.len() && !answered.is_empty();
        let covered = answered.iter().all(|selector| offered.iter().any(|offer| offer.intersect(selector) == Some(*selector)));
        (all_read && covered).then_some(answered)
    };
    Some(SelectorsNarrowed { local: within(offered.0, answer.0)?, remote: within(offered.1, answer.1)? })
}

/// Every part of `theirs` that `ours` selects too, in their order, each once.
fn intersect(ours: &[TrafficSelector], theirs: &TrafficSelectors) -> Vec<TrafficSelector> {
    // Few of ours times at most 128 of theirs; the answer's count field holds no more than 255.
    const MOST: usize = 64;
    let mut common: Vec<TrafficSelector> = Vec::new();
    for both in theirs.supported().flat_map(|offered| ours.iter().filter_map(move |own| own.intersect(&offered))) {
        if common.len() < MOST && !common.iter().any(|earlier| earlier.intersect(&both) == Some(both)) {
            common.push(both);
        }
    }
    common
}

/// Both sides of a failed choice, for people.
pub(crate) fn proposal_difference<T: ToString>(ours: &[T], theirs: &Sa) -> String {
    let theirs: Vec<String> = theirs.proposals.iter().map(describe_proposal).collect();
    let ours: Vec<String> = ours.iter().map(ToString::to_string).collect();
    format!("no proposal in common: ours {}; theirs {}", ours.join(", "), theirs.join(", "))
}

/// Both sides of a failed narrowing, for people.
pub(crate) fn selector_difference(
    ours: (&[TrafficSelector], &[TrafficSelector]),
    theirs: (&TrafficSelectors, &TrafficSelectors),
) -> String {
    let join = |texts: Vec<String>| texts.join(" ");
    let own = |selectors: &[TrafficSelector]| join(selectors.iter().map(ToString::to_string).collect());
    let their = |selectors: &TrafficSelectors| join(selectors.selectors.iter().map(ToString::to_string).collect());
    format!(
        "no traffic selectors in common: ours local {} remote {}; theirs for our side {}, for their side {}",
        own(ours.0),
        own(ours.1),
        their(theirs.0),
        their(theirs.1)
    )
}

/// In the syntax of the configuration where the algorithms are known, by number where not.
fn describe_proposal(proposal: &Proposal) -> String {
    let names: Vec<String> = proposal.transforms.iter().map(describe_transform).collect();
    names.join("-")
}

fn describe_transform(transform: &Transform) -> String {
    let keyword = match transform.kind {
        TransformType::ENCR => transform.encryption().map(EncryptionAlgorithm::keyword),
        TransformType::PRF => transform.prf().map(ipsec_types::PrfAlgorithm::keyword),
        TransformType::INTEG => transform.integrity().map(IntegrityAlgorithm::keyword),
        TransformType::KE => transform.key_exchange().map(KeyExchangeMethod::keyword),
        TransformType::ESN => transform.sequence_numbers().map(SequenceNumbers::keyword),
        _ => None,
    };
    keyword.or_else(|| transform.name()).map_or_else(|| format!("{}:{}", transform.kind, transform.id), ToString::to_string)
}
