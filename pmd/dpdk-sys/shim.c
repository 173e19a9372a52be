#include "shim.h"

uint16_t sl_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t max)
{
	return rte_eth_rx_burst(port, queue, frames, max);
}

uint16_t sl_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, frames, count);
}

int sl_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **frames, unsigned int count)
{
	return rte_pktmbuf_alloc_bulk(pool, frames, count);
}

void sl_free(struct rte_mbuf *frame)
{
	rte_pktmbuf_free(frame);
}

int sl_errno(void)
{
	return rte_errno;
}

unsigned int sl_lcore_id(void)
{
	return rte_lcore_id();
}

int sl_link_get(uint16_t port, struct sl_link *link)
{
	struct rte_eth_link found = {0};
	int ret = rte_eth_link_get_nowait(port, &found);

	link->speed_mbps = found.link_speed;
	link->full_duplex = found.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	link->up = found.link_status == RTE_ETH_LINK_UP;
	return ret;
}
