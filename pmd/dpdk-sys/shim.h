/* What bindgen cannot bind from DPDK's headers: static inline functions, macros with casts, fields
 * within unions that differ from release to release, and thread-local variables. */
#ifndef SLUICE_DPDK_SHIM_H
#define SLUICE_DPDK_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include <rte_alarm.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_version.h>

/* Per burst. */
uint16_t sl_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t max);
uint16_t sl_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **frames, uint16_t count);
int sl_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **frames, unsigned int count);
void sl_free(struct rte_mbuf *frame);

/* Per reference to payload. Makes `reference`, fresh from its pool, refer to `len` bytes from `offset` on
 * of those that `segment` has; -1 if as many as can be counted do so already. */
int sl_attach(struct rte_mbuf *reference, struct rte_mbuf *segment, uint16_t offset, uint16_t len);

/* Memory that stays for ever. `sl_references` makes what counts one thread's references to it; NULL if there
 * is no memory. `sl_references_free` gives that back, once no reference is left; -1 if there is one. `sl_refer`
 * makes `reference`, fresh from its pool, refer to such memory; -1 if as many as can be counted do so already.
 * `sl_place` tells where devices find the memory of DPDK's heap in which `memory` lies; -1 if it is not there. */
struct rte_mbuf_ext_shared_info *sl_references(void);
int sl_references_free(struct rte_mbuf_ext_shared_info *references);
int sl_refer(struct rte_mbuf *reference, struct rte_mbuf_ext_shared_info *references, const void *memory,
	     uint16_t len, uint64_t iova);
struct sl_place {
	uint64_t start;
	uint64_t len;
	uint64_t iova;
};
int sl_place(const void *memory, struct sl_place *place);

/* Thread-local variables. */
int sl_errno(void);
unsigned int sl_lcore_id(void);

/* The link, whose bit fields moved into a union in 24.11. Never waits. */
struct sl_link {
	uint32_t speed_mbps; /* 0: none, UINT32_MAX: unknown */
	uint8_t full_duplex;
	uint8_t up;
};
int sl_link_get(uint16_t port, struct sl_link *link);

/* Where the fields of an mbuf lie, and how large they are. */
#define SL_FIELD(NAME, field) \
	static const size_t SL_MBUF_##NAME = offsetof(struct rte_mbuf, field); \
	static const size_t SL_MBUF_##NAME##_SIZE = sizeof(((struct rte_mbuf *)0)->field)

SL_FIELD(BUF_ADDR, buf_addr);
SL_FIELD(DATA_OFF, data_off);
SL_FIELD(REFCNT, refcnt);
SL_FIELD(NB_SEGS, nb_segs);
SL_FIELD(PORT, port);
SL_FIELD(OL_FLAGS, ol_flags);
SL_FIELD(PKT_LEN, pkt_len);
SL_FIELD(DATA_LEN, data_len);
SL_FIELD(VLAN_TCI, vlan_tci);
SL_FIELD(RSS, hash.rss);
SL_FIELD(BUF_LEN, buf_len);
SL_FIELD(NEXT, next);
SL_FIELD(TX_OFFLOAD, tx_offload);

static const unsigned int SL_L3_LEN_SHIFT = RTE_MBUF_L2_LEN_BITS;
static const unsigned int SL_L4_LEN_SHIFT = RTE_MBUF_L2_LEN_BITS + RTE_MBUF_L3_LEN_BITS;

#define SL_U64(NAME) static const uint64_t SL_##NAME = RTE_##NAME

SL_U64(MBUF_F_RX_RSS_HASH);
SL_U64(MBUF_F_RX_VLAN);
SL_U64(MBUF_F_RX_VLAN_STRIPPED);
SL_U64(MBUF_F_RX_IP_CKSUM_BAD);
SL_U64(MBUF_F_RX_IP_CKSUM_GOOD);
SL_U64(MBUF_F_RX_L4_CKSUM_BAD);
SL_U64(MBUF_F_RX_L4_CKSUM_GOOD);
SL_U64(MBUF_F_TX_IPV4);
SL_U64(MBUF_F_TX_L4_MASK);
SL_U64(MBUF_F_TX_TCP_CKSUM);
SL_U64(MBUF_F_TX_UDP_CKSUM);
SL_U64(MBUF_F_INDIRECT);
SL_U64(MBUF_F_EXTERNAL);

SL_U64(ETH_RX_OFFLOAD_IPV4_CKSUM);
SL_U64(ETH_RX_OFFLOAD_UDP_CKSUM);
SL_U64(ETH_RX_OFFLOAD_TCP_CKSUM);
SL_U64(ETH_RX_OFFLOAD_VLAN_STRIP);
SL_U64(ETH_RX_OFFLOAD_VLAN_FILTER);
SL_U64(ETH_RX_OFFLOAD_SCATTER);
SL_U64(ETH_RX_OFFLOAD_RSS_HASH);
SL_U64(ETH_TX_OFFLOAD_UDP_CKSUM);
SL_U64(ETH_TX_OFFLOAD_TCP_CKSUM);
SL_U64(ETH_TX_OFFLOAD_MULTI_SEGS);
SL_U64(ETH_TX_OFFLOAD_MBUF_FAST_FREE);

SL_U64(ETH_RSS_IPV4);
SL_U64(ETH_RSS_FRAG_IPV4);
SL_U64(ETH_RSS_NONFRAG_IPV4_TCP);
SL_U64(ETH_RSS_NONFRAG_IPV4_UDP);
SL_U64(ETH_RSS_NONFRAG_IPV4_OTHER);

static const unsigned int SL_LCORE_ID_ANY = LCORE_ID_ANY;
static const uint16_t SL_ETHER_CRC_LEN = RTE_ETHER_CRC_LEN;

#endif
