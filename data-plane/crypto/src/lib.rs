//! AES-GCM for ESP (RFC 4106), a burst of packets at a time.
