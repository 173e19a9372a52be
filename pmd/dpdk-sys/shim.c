#include "shim.h"

#include <stdlib.h>

#include <rte_memory.h>

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

#ifndef RTE_MBUF_REFCNT_ATOMIC
#error "DPDK was built with mbuf_refcnt_atomic=false: threads cannot share buffers"
#endif

/* Counts are 16 bits wide. Half of that leaves room for threads that count up at once. */
#define MOST_REFERENCES (UINT16_MAX / 2)

int sl_attach(struct rte_mbuf *reference, struct rte_mbuf *segment, uint16_t offset, uint16_t len)
{
	uint16_t references = RTE_MBUF_HAS_EXTBUF(segment)
		? rte_mbuf_ext_refcnt_read(segment->shinfo)
		: rte_mbuf_refcnt_read(rte_mbuf_from_indirect(segment));

	if (references >= MOST_REFERENCES)
		return -1;
	rte_pktmbuf_attach(reference, segment);
	/* What the device said of the segment, or is to do with it, is a frame's and not its payload's. */
	reference->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	reference->data_off += offset;
	reference->data_len = len;
	reference->pkt_len = len;
	return 0;
}

static void nothing_to_free(void *memory, void *opaque)
{
	(void)memory;
	(void)opaque;
}

struct rte_mbuf_ext_shared_info *sl_references(void)
{
	/* A cache line of its own: each thread has one. */
	struct rte_mbuf_ext_shared_info *references = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_CACHE_LINE_SIZE);

	if (references != NULL) {
		references->free_cb = nothing_to_free;
		references->fcb_opaque = NULL;
		rte_mbuf_ext_refcnt_set(references, 1);
	}
	return references;
}

int sl_references_free(struct rte_mbuf_ext_shared_info *references)
{
	if (rte_mbuf_ext_refcnt_read(references) != 1)
		return -1;
	free(references);
	return 0;
}

int sl_refer(struct rte_mbuf *reference, struct rte_mbuf_ext_shared_info *references, const void *memory,
	     uint16_t len, uint64_t iova)
{
	if (rte_mbuf_ext_refcnt_read(references) >= MOST_REFERENCES)
		return -1;
	rte_mbuf_ext_refcnt_update(references, 1);
	/* Nobody writes to a reference's memory. */
	rte_pktmbuf_attach_extbuf(reference, (void *)(uintptr_t)memory, iova, len, references);
	reference->data_len = len;
	reference->pkt_len = len;
	return 0;
}

int sl_place(const void *memory, struct sl_place *place)
{
	if (rte_eal_iova_mode() == RTE_IOVA_VA) {
		const struct rte_memseg_list *list = rte_mem_virt2memseg_list(memory);

		if (list == NULL || list->external)
			return -1;
		place->start = place->iova = list->addr_64;
		place->len = list->len;
	} else {
		const struct rte_memseg *page = rte_mem_virt2memseg(memory, NULL);

		if (page == NULL || page->iova == RTE_BAD_IOVA)
			return -1;
		place->start = page->addr_64;
		place->len = page->len;
		place->iova = page->iova;
	}
	return 0;
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
