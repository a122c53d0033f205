#include "shims.h"

int culvert_errno(void)
{
	return rte_errno;
}

unsigned int culvert_lcore_id(void)
{
	return rte_lcore_id();
}

uint64_t culvert_ticks(void)
{
	return rte_rdtsc();
}

int culvert_link_up(uint16_t port)
{
	struct rte_eth_link link = {0};
	int result = rte_eth_link_get_nowait(port, &link);

	return result < 0 ? result : link.link_status == RTE_ETH_LINK_UP;
}

struct rte_mbuf *culvert_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

void culvert_mbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}
