//! MODP groups 1 and 2 (RFC 7296 appendix B), 5, 14, 15 and 16 (RFC 3526): exponentiation modulo a safe prime, in constant time.

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, OddUint, U512, U768, U1024, U1536, U2048, U3072, U4096, Uint};
use ike::provider::{CryptoError, KeyExchange, PrivateKey};
use ipsec_types::{KeyExchangeMethod, Secret};
use zeroize::Zeroizing;

/// What the primes of all groups begin with: each is 2^n - 2^(n - 64) - 1 + 2^64 * (floor(2^(n - 130) * pi) + c), so that pi stands behind
/// 64 ones and is cut off where c and 64 more ones follow.
macro_rules! first_680_bits {
    () => {
        concat!(
            "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD",
            "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A6",
        )
    };
}

/// What the primes of all but the smallest group begin with.
macro_rules! first_940_bits {
    () => {
        concat!(first_680_bits!(), "37ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE")
    };
}

/// What the primes of the four larger groups begin with.
macro_rules! first_1452_bits {
    () => {
        concat!(
            first_940_bits!(),
            "45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F",
            "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA",
        )
    };
}

/// What the primes of the three larger groups begin with.
macro_rules! first_1964_bits {
    () => {
        concat!(
            first_1452_bits!(),
            "18217C32905E462E36CE3B",
            "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510",
            "15728E5A8AA",
        )
    };
}

/// What the primes of the two larger groups begin with.
macro_rules! first_2984_bits {
    () => {
        concat!(
            first_1964_bits!(),
            "AC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7",
            "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C",
            "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A9",
        )
    };
}

/// The 768-bit group (RFC 7296 appendix B.1).
pub(crate) static MODP_768: Group<{ U768::LIMBS }> =
    Group::new(KeyExchangeMethod::Modp768, Odd::<U768>::from_be_hex(concat!(first_680_bits!(), "3A3620FFFFFFFFFFFFFFFF")));

/// The 1024-bit group (RFC 7296 appendix B.2).
pub(crate) static MODP_1024: Group<{ U1024::LIMBS }> =
    Group::new(KeyExchangeMethod::Modp1024, Odd::<U1024>::from_be_hex(concat!(first_940_bits!(), "65381FFFFFFFFFFFFFFFF")));

/// The 1536-bit group (RFC 3526 section 2).
pub(crate) static MODP_1536: Group<{ U1536::LIMBS }> =
    Group::new(KeyExchangeMethod::Modp1536, Odd::<U1536>::from_be_hex(concat!(first_1452_bits!(), "237327FFFFFFFFFFFFFFFF")));

/// The 2048-bit group (RFC 3526 section 3).
pub(crate) static MODP_2048: Group<{ U2048::LIMBS }> =
    Group::new(KeyExchangeMethod::Modp2048, Odd::<U2048>::from_be_hex(concat!(first_1964_bits!(), "CAA68FFFFFFFFFFFFFFFF")));

/// The 3072-bit group (RFC 3526 section 4).
pub(crate) static MODP_3072: Group<{ U3072::LIMBS }> =
    Group::new(KeyExchangeMethod::Modp3072, Odd::<U3072>::from_be_hex(concat!(first_2984_bits!(), "3AD2CAFFFFFFFFFFFFFFFF")));

/// The 4096-bit group (RFC 3526 section 5).
pub(crate) static MODP_4096: Group<{ U4096::LIMBS }> = Group::new(
    KeyExchangeMethod::Modp4096,
    Odd::<U4096>::from_be_hex(concat!(
        first_2984_bits!(),
        "2108011A723C12A787E6D7",
        "88719A10BDBA5B2699C327186AF4E23C1A946834B6150BDA2583E9CA2AD44CE8DBBBC2DB04DE8EF92E8EFC141FBECAA6",
        "287C59474E6BC05D99B2964FA090C3A2233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA9",
        "93B4EA988D8FDDC186FFB7DC90A6C08F4DF435C934063199FFFFFFFFFFFFFFFF",
    )),
);

/// Octets of a private exponent, all of them random. RFC 3526 section 8 wants 480 bits for the largest of these groups by its highest
/// estimate of strength.
const EXPONENT_LEN: usize = 64;

const GENERATOR: u8 = 2;

/// A prime p where (p - 1) / 2 is prime too: the generator makes a subgroup of prime order.
#[derive(Debug)]
pub(crate) struct Group<const LIMBS: usize> {
    method: KeyExchangeMethod,
    params: FixedMontyParams<LIMBS>,
}

impl<const LIMBS: usize> Group<LIMBS> {
    const fn new(method: KeyExchangeMethod, prime: OddUint<LIMBS>) -> Self {
        Self { method, params: FixedMontyParams::new_vartime(prime) }
    }

    /// base ^ exponent mod p, big-endian and as long as p, with zeros in front where it is a smaller number (RFC 7296 sections 2.14 and
    /// 3.4). How long it takes depends on neither.
    fn power(&self, base: &Uint<LIMBS>, exponent: &U512) -> Vec<u8> {
        let power = Zeroizing::new(FixedMontyForm::new(base, &self.params).pow(exponent));
        let power = Zeroizing::new(power.retrieve());
        // Room for all of it: a vector that grew would leave a copy behind.
        let mut octets = Vec::with_capacity(Uint::<LIMBS>::BYTES);
        octets.extend(power.as_limbs().iter().rev().flat_map(|limb| limb.0.to_be_bytes()));
        octets
    }

    /// A public value r, if it is one: 1 < r < p - 1. In groups of this kind nothing else need be checked (RFC 6989 section 2.1).
    fn public_value(&self, octets: &[u8]) -> Option<Uint<LIMBS>> {
        if octets.len() != Uint::<LIMBS>::BYTES {
            return None;
        }
        let value = Uint::from_be_slice(octets);
        let last = self.params.modulus().as_ref().wrapping_sub(&Uint::ONE);
        (value > Uint::ONE && value < last).then_some(value)
    }
}

/// For the reference, as a private key outlives the call that makes it.
impl<const LIMBS: usize> KeyExchange for &'static Group<LIMBS> {
    fn method(&self) -> KeyExchangeMethod {
        self.method
    }

    fn public_len(&self) -> usize {
        Uint::<LIMBS>::BYTES
    }

    fn generate(&self) -> Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError> {
        let mut octets = Zeroizing::new([0; EXPONENT_LEN]);
        aws_lc_rs::rand::fill(&mut *octets).map_err(|_| CryptoError::Unavailable)?;
        let exponent = Zeroizing::new(U512::from_be_slice(&*octets));
        let public = self.power(&Uint::from_u8(GENERATOR), &exponent);
        Ok((Box::new(Exponent { group: self, exponent }), public))
    }
}

/// A private key.
struct Exponent<const LIMBS: usize> {
    group: &'static Group<LIMBS>,
    exponent: Zeroizing<U512>,
}

impl<const LIMBS: usize> PrivateKey for Exponent<LIMBS> {
    fn agree(self: Box<Self>, peer_public: &[u8]) -> Result<Secret, CryptoError> {
        let base = self.group.public_value(peer_public).ok_or(CryptoError::PublicValue)?;
        Ok(Secret::new(self.group.power(&base, &self.exponent)))
    }
}

#[cfg(test)]
mod tests;
