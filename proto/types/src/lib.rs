//! Domain types of IPsec (RFC 4301, 7296): checked when built, silent when printed.
