//! What becomes of a packet. Each packet that enters the pipeline ends in exactly one verdict, and each verdict has one counter.

/// Makes the enum, its names and its meanings from one table, so that none can be forgotten.
macro_rules! verdicts {
    ($($variant:ident $name:literal $meaning:literal)*) => {
        /// How a packet left the pipeline.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Verdict {
            $(#[doc = $meaning] $variant,)*
        }

        impl Verdict {
            /// Every verdict, in the order of their counters.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The counter's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What the counter means, with the section of the RFC.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }
        }
    };
}

verdicts! {
    Sealed "sealed" "Sent through an SA (RFC 4301 section 5.1, PROTECT)."
    Opened "opened" "Received through an SA and forwarded (RFC 4301 section 5.2)."
    BypassedOutbound "bypassed_outbound" "Sent in the clear by policy (RFC 4301 section 5.1, BYPASS)."
    BypassedInbound "bypassed_inbound" "Received in the clear by policy (RFC 4301 section 5.2, BYPASS)."
    FragmentSent "fragment_sent" "A further fragment of a packet that was sent: the packet itself is counted with its first one (RFC 791 section 3.2, RFC 2473 section 7)."
    OwnSent "own_sent" "Sent by the gateway itself: IKE, ARP, ICMP, ICMPv6."
    PuntedIke "punted_ike" "An IKE message for the gateway, given to the control plane."
    PuntedSlowPath "punted_slow_path" "ARP, ICMP or ICMPv6 for the gateway, given to the slow path."
    PuntedFragment "punted_fragment" "A fragment of an IKE message, ESP or ICMP for the gateway, given to reassembly (RFC 791 section 3.2, RFC 4303 section 3.4.1)."
    NatKeepalive "nat_keepalive" "A NAT keepalive, to be ignored (RFC 3948 section 2.3)."
    DummySent "dummy_sent" "A dummy packet sent through an SA, to hide how many others there are (RFC 4303 section 2.6)."
    Dummy "dummy" "A dummy packet out of an SA, to be discarded (RFC 4303 section 2.6)."

    NotForUs "drop_not_for_us" "A frame for another MAC address."
    Multicast "drop_multicast" "From or to a multicast, broadcast, loopback or no address: only unicast is forwarded (RFC 1812 section 5.3.7)."
    UnknownEthertype "drop_unknown_ethertype" "A frame that is neither IPv4, IPv6 nor ARP."
    MalformedFrame "drop_malformed_frame" "Too short for an Ethernet header, or longer than any mbuf."
    MalformedIp "drop_malformed_ip" "A malformed IPv4 or IPv6 header (RFC 791, RFC 8200 section 3)."
    ExtensionTruncated "drop_extension_truncated" "An IPv6 extension header reaches beyond the packet, or beyond the first fragment (RFC 8200 section 4.5)."
    ExtensionOrder "drop_extension_order" "IPv6 hop-by-hop options that are not first, or a second fragment header (RFC 8200 section 4.1)."
    ExtensionTooLong "drop_extension_too_long" "More than 8 IPv6 extension headers, or more than 512 octets of them."
    LinkLocal "drop_link_local" "To or from a link-local IPv6 address, or from none: not forwarded (RFC 4291 sections 2.5.2 and 2.5.6)."
    UnwantedByGateway "drop_unwanted_by_gateway" "For the gateway itself, which has no use for it."
    MalformedIke "drop_malformed_ike" "To an IKE port, but too short for an IKE header, or a wrong UDP header."
    PuntOverflow "drop_punt_overflow" "For the gateway itself, but the queue of its class was full, or it is longer than the MTU."
    NoPolicySet "drop_no_policy_set" "Before the first complete policy set nothing is forwarded."
    NoPolicy "drop_no_policy" "No SPD entry selects it: discarded (RFC 4301 section 5.1 step 3)."
    PolicyDiscard "drop_policy_discard" "An SPD entry says DISCARD (RFC 4301 section 5.1)."
    CleartextProtected "drop_cleartext_protected" "Arrived in the clear though an SPD entry says PROTECT (RFC 4301 section 5.2 step 3b)."
    NotThroughTunnel "drop_not_through_tunnel" "From the unprotected side, and routed to the unprotected side."
    TtlExceeded "drop_ttl_exceeded" "Time to live or hop limit used up: a sender behind a protected port or an SA is told (RFC 1812 section 5.3.1, RFC 8200 section 3)."
    NoRoute "drop_no_route" "No route to the destination."
    NeighborTimeout "drop_neighbor_timeout" "The next hop did not answer in time."
    NeighborOverflow "drop_neighbor_overflow" "Too many packets wait for their next hop."
    FragmentationNeeded "drop_fragmentation_needed" "Longer than what fits, and may not be fragmented: a sender behind a protected port or an SA is told the MTU (RFC 4301 section 8.2)."
    TooBig "drop_too_big" "Longer than an IP packet can be once it is sealed, or would be cut into more than 32 fragments."
    TransmitOverflow "drop_transmit_overflow" "The transmit queue of the port was full."
    NoMemory "drop_no_memory" "No free mbuf: for a packet of the gateway itself, a fragment, one that was put together or came in several segments."

    AcquireOverflow "drop_acquire_overflow" "Matched PROTECT without an SA, and too many packets wait for one already."
    AcquireRefused "drop_acquire_refused" "Matched PROTECT, and the negotiation of an SA was refused."
    AcquireTimeout "drop_acquire_timeout" "Matched PROTECT, and no SA came up in time."
    SequenceExhausted "drop_sequence_exhausted" "The SA has used its last sequence number (RFC 4303 section 3.3.3)."
    HardLimit "drop_hard_limit" "The SA has carried as many packets or octets as it may (RFC 4301 section 4.4.2.1)."
    NoRoom "drop_no_room" "No headroom or tailroom for ESP or AH."
    TransportFragment "drop_transport_fragment" "A fragment for an SA in transport mode, which protects whole packets (RFC 4303 section 3.3.4)."
    NotEndToEnd "drop_not_end_to_end" "An SA in transport mode, and not from one of its ends to the other: such SAs carry the gateway's own packets (RFC 4301 section 4.1)."

    EspRunt "drop_esp_runt" "Too short for an ESP packet (RFC 4303 section 2), or with an AH of another length than the SA's."
    SpiUnknown "drop_spi_unknown" "No SA has this SPI, or one of the other protocol, ESP or AH (RFC 4303 section 3.4.2)."
    Replay "drop_replay" "The sequence number was accepted before (RFC 4303 section 3.4.3)."
    OutOfWindow "drop_out_of_window" "The sequence number lies before the replay window (RFC 4303 section 3.4.3)."
    Integrity "drop_integrity" "The ICV is wrong (RFC 4303 section 3.4.4)."
    BadPadding "drop_bad_padding" "Authentic, but the padding is malformed (RFC 4303 section 2.4)."
    BadNextHeader "drop_bad_next_header" "Authentic, but the payload is neither IPv4 nor IPv6, which tunnel mode carries (RFC 4303 section 2.6)."
    MalformedInner "drop_malformed_inner" "Authentic, but the inner packet is malformed."
    Congestion "drop_congestion" "Congestion was signalled to an inner packet without ECN (RFC 6040 section 4.2)."
    SelectorMismatch "drop_selector_mismatch" "Authentic, but the inner packet does not match the SA's selectors (RFC 4301 section 5.2 step 4)."
    HandOffOverflow "drop_hand_off_overflow" "For an SA of another worker, whose queue was full."
}

impl Verdict {
    /// Number of verdicts.
    pub const COUNT: usize = Self::ALL.len();

    /// The place of the counter.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_differ_and_indexes_are_dense() {
        let names: HashSet<_> = Verdict::ALL.iter().map(|v| v.name()).collect();
        assert_eq!(names.len(), Verdict::COUNT);
        assert!(Verdict::ALL.iter().enumerate().all(|(index, verdict)| verdict.index() == index));
    }
}
