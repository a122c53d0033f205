//! Algorithms with their IANA numbers ("IKEv2 Transform Types", RFC 7296 section 3.3.2) and their names in configuration files.

use core::fmt;

/// Transform type 1, with the key length where the number alone does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EncryptionAlgorithm {
    /// NULL (RFC 2410), which encrypts nothing; needs a separate integrity algorithm. For ESP alone.
    Null,
    /// 3DES-CBC (RFC 2451); needs a separate integrity algorithm. For old peers alone (RFC 8221 section 5: SHOULD NOT).
    TripleDes,
    /// AES-CBC (RFC 3602) with a key of 128 bits; needs a separate integrity algorithm.
    AesCbc128,
    /// AES-CBC with a key of 192 bits.
    AesCbc192,
    /// AES-CBC with a key of 256 bits.
    AesCbc256,
    /// AES-CTR (RFC 3686) with a key of 128 bits; needs a separate integrity algorithm.
    AesCtr128,
    /// AES-CTR with a key of 192 bits.
    AesCtr192,
    /// AES-CTR with a key of 256 bits.
    AesCtr256,
    /// AES-CCM with an 8-octet ICV (RFC 4309), for ESP alone here, and a key of 128 bits.
    AesCcm8Icv128,
    /// AES-CCM with an 8-octet ICV (RFC 4309), for ESP alone here, and a key of 192 bits.
    AesCcm8Icv192,
    /// AES-CCM with an 8-octet ICV (RFC 4309), for ESP alone here, and a key of 256 bits.
    AesCcm8Icv256,
    /// AES-CCM with a 12-octet ICV and a key of 128 bits.
    AesCcm12Icv128,
    /// AES-CCM with a 12-octet ICV and a key of 192 bits.
    AesCcm12Icv192,
    /// AES-CCM with a 12-octet ICV and a key of 256 bits.
    AesCcm12Icv256,
    /// AES-CCM with a 16-octet ICV (RFC 4309, RFC 5282) and a key of 128 bits.
    AesCcm16Icv128,
    /// AES-CCM with a 16-octet ICV and a key of 192 bits.
    AesCcm16Icv192,
    /// AES-CCM with a 16-octet ICV and a key of 256 bits.
    AesCcm16Icv256,
    /// AES-GCM with an 8-octet ICV (RFC 4106), for ESP alone here, and a key of 128 bits.
    AesGcm8Icv128,
    /// AES-GCM with an 8-octet ICV (RFC 4106), for ESP alone here, and a key of 192 bits.
    AesGcm8Icv192,
    /// AES-GCM with an 8-octet ICV (RFC 4106), for ESP alone here, and a key of 256 bits.
    AesGcm8Icv256,
    /// AES-GCM with a 12-octet ICV and a key of 128 bits.
    AesGcm12Icv128,
    /// AES-GCM with a 12-octet ICV and a key of 192 bits.
    AesGcm12Icv192,
    /// AES-GCM with a 12-octet ICV and a key of 256 bits.
    AesGcm12Icv256,
    /// AES-GCM with a 16-octet ICV (RFC 4106, RFC 5282) and a key of 128 bits.
    AesGcm128,
    /// AES-GCM with a 16-octet ICV and a key of 192 bits.
    AesGcm192,
    /// AES-GCM with a 16-octet ICV and a key of 256 bits.
    AesGcm256,
    /// AES-GMAC, which encrypts nothing (RFC 4543), for ESP alone, and a key of 128 bits.
    AesGmac128,
    /// AES-GMAC, which encrypts nothing (RFC 4543), for ESP alone, and a key of 192 bits.
    AesGmac192,
    /// AES-GMAC, which encrypts nothing (RFC 4543), for ESP alone, and a key of 256 bits.
    AesGmac256,
    /// ChaCha20-Poly1305 (RFC 7634), whose key always has 256 bits.
    ChaCha20Poly1305,
}

/// How an encryption algorithm works, whatever the lengths of its key and ICV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CipherMode {
    /// Nothing is encrypted.
    Null,
    /// Cipher block chaining of AES.
    Cbc,
    /// Cipher block chaining of 3DES.
    TripleDesCbc,
    /// A counter.
    Ctr,
    /// A counter with CBC-MAC.
    Ccm,
    /// Galois/counter mode.
    Gcm,
    /// Galois/counter mode that encrypts nothing.
    Gmac,
    /// ChaCha20 with Poly1305.
    ChaCha20Poly1305,
}

/// Transform type 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrfAlgorithm {
    /// PRF_HMAC_MD5 (RFC 2104). For old peers that speak IKEv1 (RFC 8247 section 2.2: MUST NOT).
    HmacMd5,
    /// PRF_HMAC_SHA1 (RFC 2104).
    HmacSha1,
    /// PRF_AES128_XCBC (RFC 4434).
    AesXcbc,
    /// PRF_AES128_CMAC (RFC 4615).
    AesCmac,
    /// PRF_HMAC_SHA2_256 (RFC 4868).
    HmacSha256,
    /// PRF_HMAC_SHA2_384.
    HmacSha384,
    /// PRF_HMAC_SHA2_512.
    HmacSha512,
}

/// Transform type 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntegrityAlgorithm {
    /// AUTH_HMAC_MD5_96 (RFC 2403). For old peers that speak IKEv1 (RFC 8247 section 2.3, RFC 8221 section 6: MUST NOT).
    HmacMd5,
    /// AUTH_HMAC_SHA1_96 (RFC 2404).
    HmacSha1,
    /// AUTH_AES_XCBC_96 (RFC 3566).
    AesXcbc,
    /// AUTH_AES_CMAC_96 (RFC 4494).
    AesCmac,
    /// AUTH_HMAC_SHA2_256_128 (RFC 4868).
    HmacSha256,
    /// AUTH_HMAC_SHA2_384_192.
    HmacSha384,
    /// AUTH_HMAC_SHA2_512_256.
    HmacSha512,
}

/// Transform type 4, key exchange methods (groups, in the words of RFC 7296).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyExchangeMethod {
    /// 768-bit MODP group (RFC 7296 appendix B.1). For old peers that speak IKEv1 (RFC 8247 section 2.4: MUST NOT).
    Modp768,
    /// 1024-bit MODP group (RFC 7296 appendix B.2). For old peers alone (RFC 8247 section 2.4: SHOULD NOT).
    Modp1024,
    /// 1536-bit MODP group (RFC 3526 section 2). For old peers alone (RFC 8247 section 2.4: SHOULD NOT).
    Modp1536,
    /// 2048-bit MODP group (RFC 3526 section 3).
    Modp2048,
    /// 3072-bit MODP group (RFC 3526 section 4).
    Modp3072,
    /// 4096-bit MODP group (RFC 3526 section 5).
    Modp4096,
    /// 256-bit random ECP group, NIST P-256 (RFC 5903).
    Ecp256,
    /// 384-bit random ECP group, NIST P-384 (RFC 5903).
    Ecp384,
    /// 521-bit random ECP group, NIST P-521 (RFC 5903).
    Ecp521,
    /// Curve25519 (RFC 8031).
    X25519,
}

/// Transform type 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SequenceNumbers {
    /// 32-bit sequence numbers.
    Standard,
    /// 64-bit extended sequence numbers (RFC 4303 section 2.2.1).
    Extended,
}

/// One row of an algorithm table: variant, IANA number, key length in bits for transforms that carry one, name in files and what else
/// strongSwan calls it, name of the RFCs.
macro_rules! algorithms {
    ($type:ident { $($variant:ident = $id:literal $(/ $bits:literal)?, $keyword:literal $(or $alias:literal)*, $name:literal;)* }) => {
        impl $type {
            /// Every algorithm of this type that Culvert knows.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The IANA number.
            pub const fn id(self) -> u16 {
                match self { $(Self::$variant => $id),* }
            }

            /// The value of the Key Length attribute, where the transform carries one.
            pub const fn key_length_bits(self) -> Option<u16> {
                match self { $(Self::$variant => algorithms!(@bits $($bits)?)),* }
            }

            /// The keyword of proposals in configuration files (strongSwan's).
            pub const fn keyword(self) -> &'static str {
                match self { $(Self::$variant => $keyword),* }
            }

            /// Finds an algorithm by IANA number and Key Length attribute.
            pub fn from_id(id: u16, key_length_bits: Option<u16>) -> Option<Self> {
                Self::ALL.iter().copied().find(|a| a.id() == id && a.key_length_bits() == key_length_bits)
            }

            /// Finds an algorithm by its keyword, or by another name that strongSwan has for it.
            pub fn from_keyword(keyword: &str) -> Option<Self> {
                match keyword { $($keyword $(| $alias)* => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $name),* })
            }
        }
    };
    (@bits) => { None };
    (@bits $bits:literal) => { Some($bits) };
}

algorithms!(EncryptionAlgorithm {
    Null = 11, "null", "NULL";
    TripleDes = 3, "3des", "3DES";
    AesCbc128 = 12 / 128, "aes128" or "aes", "AES_CBC_128";
    AesCbc192 = 12 / 192, "aes192", "AES_CBC_192";
    AesCbc256 = 12 / 256, "aes256", "AES_CBC_256";
    AesCtr128 = 13 / 128, "aes128ctr" or "aesctr", "AES_CTR_128";
    AesCtr192 = 13 / 192, "aes192ctr", "AES_CTR_192";
    AesCtr256 = 13 / 256, "aes256ctr", "AES_CTR_256";
    AesCcm8Icv128 = 14 / 128, "aes128ccm8" or "aes128ccm64", "AES_CCM_8_128";
    AesCcm8Icv192 = 14 / 192, "aes192ccm8" or "aes192ccm64", "AES_CCM_8_192";
    AesCcm8Icv256 = 14 / 256, "aes256ccm8" or "aes256ccm64", "AES_CCM_8_256";
    AesCcm12Icv128 = 15 / 128, "aes128ccm12" or "aes128ccm96", "AES_CCM_12_128";
    AesCcm12Icv192 = 15 / 192, "aes192ccm12" or "aes192ccm96", "AES_CCM_12_192";
    AesCcm12Icv256 = 15 / 256, "aes256ccm12" or "aes256ccm96", "AES_CCM_12_256";
    AesCcm16Icv128 = 16 / 128, "aes128ccm16" or "aes128ccm128", "AES_CCM_16_128";
    AesCcm16Icv192 = 16 / 192, "aes192ccm16" or "aes192ccm128", "AES_CCM_16_192";
    AesCcm16Icv256 = 16 / 256, "aes256ccm16" or "aes256ccm128", "AES_CCM_16_256";
    AesGcm8Icv128 = 18 / 128, "aes128gcm8" or "aes128gcm64", "AES_GCM_8_128";
    AesGcm8Icv192 = 18 / 192, "aes192gcm8" or "aes192gcm64", "AES_GCM_8_192";
    AesGcm8Icv256 = 18 / 256, "aes256gcm8" or "aes256gcm64", "AES_GCM_8_256";
    AesGcm12Icv128 = 19 / 128, "aes128gcm12" or "aes128gcm96", "AES_GCM_12_128";
    AesGcm12Icv192 = 19 / 192, "aes192gcm12" or "aes192gcm96", "AES_GCM_12_192";
    AesGcm12Icv256 = 19 / 256, "aes256gcm12" or "aes256gcm96", "AES_GCM_12_256";
    AesGcm128 = 20 / 128, "aes128gcm16" or "aes128gcm128", "AES_GCM_16_128";
    AesGcm192 = 20 / 192, "aes192gcm16" or "aes192gcm128", "AES_GCM_16_192";
    AesGcm256 = 20 / 256, "aes256gcm16" or "aes256gcm128", "AES_GCM_16_256";
    AesGmac128 = 21 / 128, "aes128gmac", "NULL_AUTH_AES_GMAC_128";
    AesGmac192 = 21 / 192, "aes192gmac", "NULL_AUTH_AES_GMAC_192";
    AesGmac256 = 21 / 256, "aes256gmac", "NULL_AUTH_AES_GMAC_256";
    ChaCha20Poly1305 = 28, "chacha20poly1305", "CHACHA20_POLY1305";
});

algorithms!(PrfAlgorithm {
    HmacMd5 = 1, "prfmd5", "PRF_HMAC_MD5";
    HmacSha1 = 2, "prfsha1", "PRF_HMAC_SHA1";
    AesXcbc = 4, "prfaesxcbc", "PRF_AES128_XCBC";
    AesCmac = 8, "prfaescmac", "PRF_AES128_CMAC";
    HmacSha256 = 5, "prfsha256" or "prfsha2_256", "PRF_HMAC_SHA2_256";
    HmacSha384 = 6, "prfsha384" or "prfsha2_384", "PRF_HMAC_SHA2_384";
    HmacSha512 = 7, "prfsha512" or "prfsha2_512", "PRF_HMAC_SHA2_512";
});

algorithms!(IntegrityAlgorithm {
    HmacMd5 = 1, "md5", "HMAC_MD5_96";
    HmacSha1 = 2, "sha1" or "sha", "HMAC_SHA1_96";
    AesXcbc = 5, "aesxcbc", "AES_XCBC_96";
    AesCmac = 8, "aescmac", "AES_CMAC_96";
    HmacSha256 = 12, "sha256" or "sha2_256", "HMAC_SHA2_256_128";
    HmacSha384 = 13, "sha384" or "sha2_384", "HMAC_SHA2_384_192";
    HmacSha512 = 14, "sha512" or "sha2_512", "HMAC_SHA2_512_256";
});

algorithms!(KeyExchangeMethod {
    Modp768 = 1, "modp768", "MODP_768";
    Modp1024 = 2, "modp1024", "MODP_1024";
    Modp1536 = 5, "modp1536", "MODP_1536";
    Modp2048 = 14, "modp2048", "MODP_2048";
    Modp3072 = 15, "modp3072", "MODP_3072";
    Modp4096 = 16, "modp4096", "MODP_4096";
    Ecp256 = 19, "ecp256", "ECP_256";
    Ecp384 = 20, "ecp384", "ECP_384";
    Ecp521 = 21, "ecp521", "ECP_521";
    X25519 = 31, "x25519" or "curve25519", "CURVE_25519";
});

algorithms!(SequenceNumbers {
    Standard = 0, "noesn", "NO_EXT_SEQ";
    Extended = 1, "esn", "EXT_SEQ";
});

impl EncryptionAlgorithm {
    /// The mode.
    pub const fn mode(self) -> CipherMode {
        match self {
            Self::Null => CipherMode::Null,
            Self::TripleDes => CipherMode::TripleDesCbc,
            Self::AesCbc128 | Self::AesCbc192 | Self::AesCbc256 => CipherMode::Cbc,
            Self::AesCtr128 | Self::AesCtr192 | Self::AesCtr256 => CipherMode::Ctr,
            Self::AesCcm8Icv128 | Self::AesCcm8Icv192 | Self::AesCcm8Icv256 => CipherMode::Ccm,
            Self::AesCcm12Icv128 | Self::AesCcm12Icv192 | Self::AesCcm12Icv256 => CipherMode::Ccm,
            Self::AesCcm16Icv128 | Self::AesCcm16Icv192 | Self::AesCcm16Icv256 => CipherMode::Ccm,
            Self::AesGcm8Icv128 | Self::AesGcm8Icv192 | Self::AesGcm8Icv256 => CipherMode::Gcm,
            Self::AesGcm12Icv128 | Self::AesGcm12Icv192 | Self::AesGcm12Icv256 => CipherMode::Gcm,
            Self::AesGcm128 | Self::AesGcm192 | Self::AesGcm256 => CipherMode::Gcm,
            Self::AesGmac128 | Self::AesGmac192 | Self::AesGmac256 => CipherMode::Gmac,
            Self::ChaCha20Poly1305 => CipherMode::ChaCha20Poly1305,
        }
    }

    /// Octets of the ICV of an algorithm that authenticates by itself; `None` for one that needs an integrity algorithm.
    pub const fn aead_icv_len(self) -> Option<usize> {
        match self {
            Self::Null | Self::TripleDes | Self::AesCbc128 | Self::AesCbc192 | Self::AesCbc256 => None,
            Self::AesCtr128 | Self::AesCtr192 | Self::AesCtr256 => None,
            Self::AesCcm8Icv128 | Self::AesCcm8Icv192 | Self::AesCcm8Icv256 => Some(8),
            Self::AesGcm8Icv128 | Self::AesGcm8Icv192 | Self::AesGcm8Icv256 => Some(8),
            Self::AesCcm12Icv128 | Self::AesCcm12Icv192 | Self::AesCcm12Icv256 => Some(12),
            Self::AesGcm12Icv128 | Self::AesGcm12Icv192 | Self::AesGcm12Icv256 => Some(12),
            Self::AesCcm16Icv128 | Self::AesCcm16Icv192 | Self::AesCcm16Icv256 => Some(16),
            Self::AesGcm128 | Self::AesGcm192 | Self::AesGcm256 => Some(16),
            Self::AesGmac128 | Self::AesGmac192 | Self::AesGmac256 | Self::ChaCha20Poly1305 => Some(16),
        }
    }

    /// Whether the algorithm authenticates by itself (RFC 5282 section 8: then no integrity transform goes with it).
    pub const fn is_aead(self) -> bool {
        self.aead_icv_len().is_some()
    }

    /// Whether an IKE SA can be protected with it here; all of them protect ESP.
    pub const fn is_for_ike(self) -> bool {
        match self.mode() {
            CipherMode::Cbc | CipherMode::TripleDesCbc | CipherMode::Ctr | CipherMode::ChaCha20Poly1305 => true,
            CipherMode::Ccm | CipherMode::Gcm => matches!(self.aead_icv_len(), Some(16)),
            CipherMode::Null | CipherMode::Gmac => false,
        }
    }

    /// Octets of the cipher key without salt (3DES: RFC 2451 section 2.2, parity bits included).
    pub const fn key_len(self) -> usize {
        match (self.key_length_bits(), self.mode()) {
            (Some(bits), _) => bits as usize / 8,
            (None, CipherMode::ChaCha20Poly1305) => 32,
            (None, CipherMode::TripleDesCbc) => 24,
            (None, _) => 0,
        }
    }

    /// Octets of salt that follow the key in the keying material (RFC 4106 section 8.1, RFC 4309 section 7.1, RFC 4543 section 5.4, RFC 5282 section 7.1,
    /// RFC 7634 section 2), which RFC 3686 section 5.1 calls nonce.
    pub const fn salt_len(self) -> usize {
        match self.mode() {
            CipherMode::Null | CipherMode::Cbc | CipherMode::TripleDesCbc => 0,
            CipherMode::Ccm => 3,
            CipherMode::Ctr | CipherMode::Gcm | CipherMode::Gmac | CipherMode::ChaCha20Poly1305 => 4,
        }
    }

    /// Octets of IV in each ESP packet (RFC 2451 section 3, RFC 3602 section 3, RFC 3686 section 3.1, RFC 4106 section 3.1, RFC 4309 section 3.1, RFC 4543 section 3.1,
    /// RFC 7634 section 2).
    pub const fn esp_iv_len(self) -> usize {
        match self.mode() {
            CipherMode::Null => 0,
            CipherMode::Cbc => 16,
            CipherMode::TripleDesCbc | CipherMode::Ctr | CipherMode::Ccm | CipherMode::Gcm | CipherMode::Gmac => 8,
            CipherMode::ChaCha20Poly1305 => 8,
        }
    }

    /// Octets that the encrypted part of an ESP packet is a multiple of: the cipher's block, and at least four (RFC 4303 section 2.4).
    pub const fn esp_alignment(self) -> usize {
        match self.mode() {
            CipherMode::Cbc => 16,
            CipherMode::TripleDesCbc => 8,
            _ => 4,
        }
    }

    /// Octets taken from the keying material: key and salt.
    pub const fn keymat_len(self) -> usize {
        self.key_len() + self.salt_len()
    }
}

impl IntegrityAlgorithm {
    /// Octets of key (RFC 2403 section 3, RFC 2404 section 3, RFC 3566 section 4, RFC 4494 section 2, RFC 4868 section 2.1.1: the length of the full output).
    pub const fn key_len(self) -> usize {
        match self {
            Self::HmacMd5 | Self::AesXcbc | Self::AesCmac => 16,
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    /// Octets of the truncated ICV (RFC 2403 section 2, RFC 2404 section 2, RFC 3566 section 4.3, RFC 4494 section 2, RFC 4868 section 2.6).
    pub const fn icv_len(self) -> usize {
        match self {
            Self::HmacMd5 | Self::HmacSha1 | Self::AesXcbc | Self::AesCmac => 12,
            Self::HmacSha256 => 16,
            Self::HmacSha384 => 24,
            Self::HmacSha512 => 32,
        }
    }

    /// The PRF built on the same primitive, which a proposal without a PRF means.
    pub const fn prf(self) -> PrfAlgorithm {
        match self {
            Self::HmacMd5 => PrfAlgorithm::HmacMd5,
            Self::HmacSha1 => PrfAlgorithm::HmacSha1,
            Self::AesXcbc => PrfAlgorithm::AesXcbc,
            Self::AesCmac => PrfAlgorithm::AesCmac,
            Self::HmacSha256 => PrfAlgorithm::HmacSha256,
            Self::HmacSha384 => PrfAlgorithm::HmacSha384,
            Self::HmacSha512 => PrfAlgorithm::HmacSha512,
        }
    }
}

impl PrfAlgorithm {
    /// Octets of output, which is also the preferred key length (RFC 7296 section 2.13).
    pub const fn output_len(self) -> usize {
        match self {
            Self::HmacMd5 | Self::AesXcbc | Self::AesCmac => 16,
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    /// Octets of each nonce that make the key of SKEYSEED; `None` for all of them (RFC 7296 section 2.14).
    pub const fn nonce_len(self) -> Option<usize> {
        match self {
            Self::AesXcbc | Self::AesCmac => Some(8),
            Self::HmacMd5 | Self::HmacSha1 | Self::HmacSha256 | Self::HmacSha384 | Self::HmacSha512 => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_keywords_find_their_algorithm_again() {
        for &a in EncryptionAlgorithm::ALL {
            assert_eq!(EncryptionAlgorithm::from_id(a.id(), a.key_length_bits()), Some(a));
            assert_eq!(EncryptionAlgorithm::from_keyword(a.keyword()), Some(a));
        }
        for &a in IntegrityAlgorithm::ALL {
            assert_eq!(IntegrityAlgorithm::from_id(a.id(), None), Some(a));
            assert_eq!(IntegrityAlgorithm::from_keyword(a.keyword()), Some(a));
        }
        for &a in KeyExchangeMethod::ALL {
            assert_eq!(KeyExchangeMethod::from_id(a.id(), None), Some(a));
            assert_eq!(KeyExchangeMethod::from_keyword(a.keyword()), Some(a));
        }
    }

    #[test]
    fn other_names_of_strongswan_mean_the_same() {
        assert_eq!(EncryptionAlgorithm::from_keyword("aes256gcm128"), Some(EncryptionAlgorithm::AesGcm256));
        assert_eq!(IntegrityAlgorithm::from_keyword("sha2_384"), Some(IntegrityAlgorithm::HmacSha384));
        assert_eq!(KeyExchangeMethod::from_keyword("curve25519"), Some(KeyExchangeMethod::X25519));
        assert_eq!(KeyExchangeMethod::X25519.keyword(), "x25519");
    }

    #[test]
    fn a_key_length_that_is_missing_or_unknown_finds_nothing() {
        assert_eq!(EncryptionAlgorithm::from_id(20, None), None);
        assert_eq!(EncryptionAlgorithm::from_id(20, Some(64)), None);
        assert_eq!(PrfAlgorithm::from_id(5, Some(256)), None);
    }
}
