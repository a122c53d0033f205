/* What Rust cannot take from DPDK's headers as they are: thread-local variables, inline functions, macros, and the places of the
 * mbuf fields that Rust reads itself (the struct's anonymous unions change from one DPDK release to the next, the names do not). */
#ifndef CULVERT_SHIMS_H
#define CULVERT_SHIMS_H

#include <stddef.h>
#include <stdint.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>

#define CULVERT_MBUF_FIELD(constant, field, type)                                                                                      \
	_Static_assert(sizeof(((struct rte_mbuf *)0)->field) == sizeof(type), "rte_mbuf." #field " has another width");                \
	enum { constant = offsetof(struct rte_mbuf, field) }

CULVERT_MBUF_FIELD(CULVERT_MBUF_BUF_ADDR, buf_addr, void *);
CULVERT_MBUF_FIELD(CULVERT_MBUF_BUF_LEN, buf_len, uint16_t);
CULVERT_MBUF_FIELD(CULVERT_MBUF_DATA_OFF, data_off, uint16_t);
CULVERT_MBUF_FIELD(CULVERT_MBUF_DATA_LEN, data_len, uint16_t);
CULVERT_MBUF_FIELD(CULVERT_MBUF_PKT_LEN, pkt_len, uint32_t);
CULVERT_MBUF_FIELD(CULVERT_MBUF_NB_SEGS, nb_segs, uint16_t);

/* Room that a fresh mbuf keeps before its data. */
enum { CULVERT_MBUF_HEADROOM = RTE_PKTMBUF_HEADROOM };

/* Receive-side scaling over addresses and ports of what a gateway meets. */
static const uint64_t CULVERT_RSS_FLOWS = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_ESP;

/* rte_errno of the calling thread. */
int culvert_errno(void);
/* rte_lcore_id() of the calling thread; LCORE_ID_ANY when EAL does not know it. */
unsigned int culvert_lcore_id(void);

/* rte_rdtsc(). */
uint64_t culvert_ticks(void);

/* Whether the port's link is up, 1 or 0, or a negative errno. struct rte_eth_link has another shape in later releases. */
int culvert_link_up(uint16_t port);

/* rte_pktmbuf_alloc, rte_pktmbuf_free. */
struct rte_mbuf *culvert_mbuf_alloc(struct rte_mempool *pool);
void culvert_mbuf_free(struct rte_mbuf *mbuf);

#endif
