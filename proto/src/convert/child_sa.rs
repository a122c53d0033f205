//! Child SAs and their keys.

use std::mem;
use std::time::Duration;

use ipsec_types::{
    Activation, ChildSa, ChildSaId, DontFragment, EncryptionAlgorithm, IntegrityAlgorithm, Lifetime, Mode, PolicyId, Protection, SaKeys,
    Secret, SequenceNumbers, Tfc, TfcPadding, UdpEncapsulation,
};

use super::{ConvertError, Problem, address_octets, child_sa_id, milliseconds, port, selectors, some, spi, tunnel};
use crate::dataplane::v1;

impl TryFrom<v1::Install> for ChildSa {
    type Error = ConvertError;

    fn try_from(mut message: v1::Install) -> Result<Self, ConvertError> {
        // Keys first: from here on they are zeroed on every path.
        let inbound_keys = message.inbound_keys.take().map(RawKeys::from);
        let outbound_keys = message.outbound_keys.take().map(RawKeys::from);
        let protection = protection(&message)?;
        let mode = mode(message.mode)?;
        let (local, remote) = tunnel(&message.local_address, &message.remote_address)?;
        Ok(Self {
            id: child_sa_id("child_sa", message.child_sa)?,
            policy: PolicyId(message.policy),
            inbound_spi: spi("inbound_spi", message.inbound_spi)?,
            outbound_spi: spi("outbound_spi", message.outbound_spi)?,
            local,
            remote,
            encapsulation: encapsulation(message.encapsulation, protection)?,
            protection,
            mode,
            dont_fragment: dont_fragment(message.dont_fragment)?,
            copy_dscp: message.copy_dscp,
            tfc: tfc(message.tfc, protection, mode)?,
            sequence_numbers: if message.extended_sequence_numbers { SequenceNumbers::Extended } else { SequenceNumbers::Standard },
            replay_window: message.replay_window,
            inbound_keys: keys("inbound_keys", inbound_keys, protection)?,
            outbound_keys: keys("outbound_keys", outbound_keys, protection)?,
            local_selectors: selectors("local_selectors", mem::take(&mut message.local_selectors))?,
            remote_selectors: selectors("remote_selectors", mem::take(&mut message.remote_selectors))?,
            activation: match message.parked {
                None => Activation::Immediate,
                Some(parked) => Activation::Parked { fallback: some(parked.fallback_ms).map(Duration::from_millis) },
            },
            predecessor: some(message.predecessor).map(ChildSaId),
            lifetime: Lifetime::new(message.soft.unwrap_or_default().into(), message.hard.unwrap_or_default().into())
                .map_err(|e| ConvertError::new("soft", e))?,
        })
    }
}

/// The keys move: the `ChildSa` is consumed, and what it held is zeroed.
impl From<ChildSa> for v1::Install {
    fn from(sa: ChildSa) -> Self {
        let numbers = Numbers::of(sa.protection);
        Self {
            child_sa: sa.id.0,
            policy: sa.policy.0,
            inbound_spi: sa.inbound_spi.value(),
            outbound_spi: sa.outbound_spi.value(),
            local_address: address_octets(sa.local),
            remote_address: address_octets(sa.remote),
            encapsulation: sa.encapsulation.map(Into::into),
            encryption: numbers.encryption,
            encryption_key_length: numbers.encryption_key_length,
            integrity: numbers.integrity,
            extended_sequence_numbers: sa.sequence_numbers == SequenceNumbers::Extended,
            replay_window: sa.replay_window,
            inbound_keys: Some(sa.inbound_keys.into()),
            outbound_keys: Some(sa.outbound_keys.into()),
            local_selectors: sa.local_selectors.into_iter().map(Into::into).collect(),
            remote_selectors: sa.remote_selectors.into_iter().map(Into::into).collect(),
            parked: match sa.activation {
                Activation::Immediate => None,
                Activation::Parked { fallback } => Some(v1::Parked { fallback_ms: fallback.map_or(0, |d| milliseconds(d).max(1)) }),
            },
            predecessor: sa.predecessor.map_or(0, |id| id.0),
            soft: Some((*sa.lifetime.soft()).into()),
            hard: Some((*sa.lifetime.hard()).into()),
            protocol: numbers.protocol.into(),
            mode: v1::Mode::from(sa.mode).into(),
            dont_fragment: v1::DontFragment::from(sa.dont_fragment).into(),
            copy_dscp: sa.copy_dscp,
            tfc: (sa.tfc != Tfc::default()).then(|| sa.tfc.into()),
        }
    }
}

/// What is listed of the algorithms of an SA; the rest of the message is empty.
impl From<Protection> for v1::ChildSaStatus {
    fn from(protection: Protection) -> Self {
        let numbers = Numbers::of(protection);
        Self {
            encryption: numbers.encryption,
            encryption_key_length: numbers.encryption_key_length,
            integrity: numbers.integrity,
            protocol: numbers.protocol.into(),
            ..Self::default()
        }
    }
}

impl From<Mode> for v1::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Tunnel => Self::Tunnel,
            Mode::Transport => Self::Transport,
        }
    }
}

impl From<DontFragment> for v1::DontFragment {
    fn from(dont_fragment: DontFragment) -> Self {
        match dont_fragment {
            DontFragment::Copy => Self::Copy,
            DontFragment::Set => Self::Set,
            DontFragment::Clear => Self::Clear,
        }
    }
}

impl From<Tfc> for v1::Tfc {
    fn from(tfc: Tfc) -> Self {
        let (pad_to, pad_to_mtu) = match tfc.padding {
            None => (0, false),
            Some(TfcPadding::To(octets)) => (octets.into(), false),
            Some(TfcPadding::Mtu) => (0, true),
        };
        Self { pad_to, pad_to_mtu, dummies_per_second: tfc.dummies_per_second }
    }
}

/// The protocol, and the numbers of the algorithms; 0 for none.
struct Numbers {
    protocol: v1::SecurityProtocol,
    encryption: u32,
    encryption_key_length: u32,
    integrity: u32,
}

impl Numbers {
    fn of(protection: Protection) -> Self {
        let protocol = match protection {
            Protection::Esp { .. } => v1::SecurityProtocol::Esp,
            Protection::Ah { .. } => v1::SecurityProtocol::Ah,
        };
        Self {
            protocol,
            encryption: protection.encryption().map_or(0, |a| a.id().into()),
            encryption_key_length: protection.encryption().and_then(EncryptionAlgorithm::key_length_bits).unwrap_or(0).into(),
            integrity: protection.integrity().map_or(0, |a| a.id().into()),
        }
    }
}

impl From<SaKeys> for v1::Keys {
    fn from(keys: SaKeys) -> Self {
        let octets = |secret: &Secret| secret.expose().to_vec();
        Self { encryption: octets(&keys.encryption), integrity: keys.integrity.as_ref().map(octets).unwrap_or_default() }
    }
}

/// Keys that were taken out of their message and not looked at yet.
struct RawKeys {
    encryption: Secret,
    integrity: Secret,
}

impl From<v1::Keys> for RawKeys {
    fn from(mut keys: v1::Keys) -> Self {
        Self { encryption: Secret::new(mem::take(&mut keys.encryption)), integrity: Secret::new(mem::take(&mut keys.integrity)) }
    }
}

fn keys(field: &str, raw: Option<RawKeys>, protection: Protection) -> Result<SaKeys, ConvertError> {
    let raw = raw.ok_or_else(|| ConvertError::new(field, Problem::Missing))?;
    let length = |name: &str, found: usize, expected: usize| {
        if found == expected { Ok(()) } else { Err(ConvertError::new(format!("{field}.{name}"), Problem::KeyLength { expected, found })) }
    };
    length("encryption", raw.encryption.len(), protection.encryption().map_or(0, EncryptionAlgorithm::keymat_len))?;
    length("integrity", raw.integrity.len(), protection.integrity().map_or(0, IntegrityAlgorithm::key_len))?;
    Ok(SaKeys { encryption: raw.encryption, integrity: protection.integrity().map(|_| raw.integrity) })
}

fn protection(message: &v1::Install) -> Result<Protection, ConvertError> {
    let protocol = v1::SecurityProtocol::try_from(message.protocol)
        .map_err(|_| ConvertError::new("protocol", Problem::UnknownValue(message.protocol)))?;
    let integrity = || {
        let number = u16::try_from(message.integrity).ok();
        number.and_then(|number| IntegrityAlgorithm::from_id(number, None)).ok_or_else(|| unknown("integrity", message.integrity, 0))
    };
    match protocol {
        v1::SecurityProtocol::Ah if (message.encryption, message.encryption_key_length) != (0, 0) => {
            Err(ConvertError::new("encryption", Problem::CipherWithAh))
        }
        v1::SecurityProtocol::Ah if message.integrity == 0 => Err(ConvertError::new("integrity", Problem::NoIntegrity)),
        v1::SecurityProtocol::Ah => Ok(Protection::Ah { integrity: integrity()? }),
        v1::SecurityProtocol::Esp => {
            let encryption = cipher(message.encryption, message.encryption_key_length)?;
            match (encryption.is_aead(), message.integrity) {
                (true, 0) => Ok(Protection::Esp { encryption, integrity: None }),
                (true, _) => Err(ConvertError::new("integrity", Problem::IntegrityWithAead)),
                (false, 0) => Err(ConvertError::new("integrity", Problem::NoIntegrity)),
                (false, _) => Ok(Protection::Esp { encryption, integrity: Some(integrity()?) }),
            }
        }
    }
}

fn cipher(number: u32, key_length: u32) -> Result<EncryptionAlgorithm, ConvertError> {
    let known = u16::try_from(number).ok().zip(u16::try_from(key_length).ok());
    known
        .and_then(|(number, bits)| EncryptionAlgorithm::from_id(number, (bits != 0).then_some(bits)))
        .ok_or_else(|| unknown("encryption", number, key_length))
}

fn unknown(field: &str, number: u32, key_length: u32) -> ConvertError {
    ConvertError::new(field, Problem::UnknownAlgorithm { number, key_length })
}

fn mode(value: i32) -> Result<Mode, ConvertError> {
    match v1::Mode::try_from(value) {
        Ok(v1::Mode::Tunnel) => Ok(Mode::Tunnel),
        Ok(v1::Mode::Transport) => Ok(Mode::Transport),
        Err(_) => Err(ConvertError::new("mode", Problem::UnknownValue(value))),
    }
}

fn dont_fragment(value: i32) -> Result<DontFragment, ConvertError> {
    match v1::DontFragment::try_from(value) {
        Ok(v1::DontFragment::Copy) => Ok(DontFragment::Copy),
        Ok(v1::DontFragment::Set) => Ok(DontFragment::Set),
        Ok(v1::DontFragment::Clear) => Ok(DontFragment::Clear),
        Err(_) => Err(ConvertError::new("dont_fragment", Problem::UnknownValue(value))),
    }
}

fn encapsulation(message: Option<v1::UdpEncapsulation>, protection: Protection) -> Result<Option<UdpEncapsulation>, ConvertError> {
    let encapsulation = super::encapsulation(message)?;
    match protection {
        Protection::Ah { .. } if encapsulation.is_some() => Err(ConvertError::new("encapsulation", Problem::EncapsulatedAh)),
        _ => Ok(encapsulation),
    }
}

fn tfc(message: Option<v1::Tfc>, protection: Protection, mode: Mode) -> Result<Tfc, ConvertError> {
    let v1::Tfc { pad_to, pad_to_mtu, dummies_per_second } = message.unwrap_or_default();
    let padding = match (pad_to_mtu, port("tfc.pad_to", pad_to)?) {
        (true, _) => Some(TfcPadding::Mtu),
        (false, 0) => None,
        (false, octets) => Some(TfcPadding::To(octets)),
    };
    let tfc = Tfc { padding, dummies_per_second };
    if tfc != Tfc::default() && (mode != Mode::Tunnel || matches!(protection, Protection::Ah { .. })) {
        return Err(ConvertError::new("tfc", Problem::TfcOutsideTunnel));
    }
    Ok(tfc)
}
