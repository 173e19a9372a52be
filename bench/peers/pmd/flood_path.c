/* SPDX-License-Identifier: Apache-2.0 OR MIT
 *
 * The packet path of net_flood: build frames on receive, look at a few and forget them on transmit.
 */
#include <string.h>

#include <emmintrin.h>
#include <tmmintrin.h>

#include <rte_ip.h>
#include <rte_udp.h>

#include "flood.h"

/* The mbuf's fields are written as a vector driver writes them: 16 bytes at a time. */
_Static_assert(offsetof(struct rte_mbuf, ol_flags) == offsetof(struct rte_mbuf, data_off) + 8, "mbuf rearm fields");
_Static_assert(offsetof(struct rte_mbuf, pkt_len) == offsetof(struct rte_mbuf, packet_type) + 4, "mbuf lengths");
_Static_assert(offsetof(struct rte_mbuf, data_len) == offsetof(struct rte_mbuf, packet_type) + 8, "mbuf lengths");

#define IP_OFFSET RTE_ETHER_HDR_LEN
#define PAYLOAD_TYPE (RTE_PTYPE_L2_ETHER | RTE_PTYPE_L3_IPV4_EXT_UNKNOWN | RTE_PTYPE_L4_UDP)

void
flood_frame_init(struct flood_port *port)
{
	struct rte_ether_hdr *ether = (struct rte_ether_hdr *)port->frame;
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(port->frame + IP_OFFSET);
	struct rte_udp_hdr *udp = (struct rte_udp_hdr *)(ip + 1);

	memset(port->frame, 0, sizeof(port->frame));
	ether->dst_addr = port->mac;
	ether->src_addr = port->peer;
	ether->ether_type = rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4);
	ip->version_ihl = RTE_IPV4_VHL_DEF;
	ip->total_length = rte_cpu_to_be_16(FLOOD_FRAME_LEN - IP_OFFSET);
	ip->time_to_live = FLOOD_TTL;
	ip->next_proto_id = IPPROTO_UDP;
	ip->src_addr = rte_cpu_to_be_32((uint32_t)FLOOD_SOURCE_NET_HIGH << 16);
	udp->src_port = rte_cpu_to_be_16(1024);
	udp->dst_port = rte_cpu_to_be_16(9); /* discard */
	udp->dgram_len = rte_cpu_to_be_16(FLOOD_FRAME_LEN - IP_OFFSET - sizeof(*ip));
}

uint16_t
flood_checksum(const struct flood_port *port, const struct flood_flow *flow)
{
	struct rte_ipv4_hdr ip;

	memcpy(&ip, port->frame + IP_OFFSET, sizeof(ip));
	ip.src_addr |= (uint32_t)flow->source_low << 16; /* The low half comes last in memory. */
	ip.dst_addr = flow->destination;
	ip.hdr_checksum = 0;
	return rte_ipv4_cksum(&ip);
}

/* Bytes 16..31 and 28..43 of the frame hold what differs between flows; the second overlaps the first so that the
 * destination, which straddles them, lies whole in the younger store. */
static __rte_always_inline void
write_frame(uint8_t *frame, const struct flood_flow *flow, const __m128i part[4])
{
	const __m128i to_16 = _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, 0, 1, -1, -1, 2, 3, 4, 5);
	const __m128i to_28 = _mm_setr_epi8(2, 3, 4, 5, 6, 7, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
	const __m128i record = _mm_loadl_epi64((const __m128i *)flow);

	_mm_storeu_si128((__m128i *)frame, part[0]);
	_mm_storeu_si128((__m128i *)(frame + 16), _mm_or_si128(part[1], _mm_shuffle_epi8(record, to_16)));
	_mm_storeu_si128((__m128i *)(frame + 28), _mm_or_si128(part[2], _mm_shuffle_epi8(record, to_28)));
	_mm_storeu_si128((__m128i *)(frame + 44), part[3]);
}

static __rte_always_inline void
fill(struct flood_rx_queue *queue, struct rte_mbuf **packets, const struct flood_flow *flows, uint32_t count)
{
	const uint8_t *frame = queue->port->frame;
	const __m128i part[4] = {
		_mm_load_si128((const __m128i *)frame),
		_mm_load_si128((const __m128i *)(frame + 16)),
		_mm_loadu_si128((const __m128i *)(frame + 28)),
		_mm_setzero_si128(),
	};
	const __m128i rearm = _mm_set_epi64x(RTE_MBUF_F_RX_IP_CKSUM_GOOD, queue->rearm);
	const __m128i fields = _mm_set_epi32(0, FLOOD_FRAME_LEN, FLOOD_FRAME_LEN, PAYLOAD_TYPE);

	for (uint32_t i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = packets[i];

		_mm_store_si128((__m128i *)&mbuf->data_off, rearm);
		_mm_store_si128((__m128i *)&mbuf->packet_type, fields);
		write_frame((uint8_t *)mbuf->buf_addr + RTE_PKTMBUF_HEADROOM, &flows[i], part);
	}
}

uint16_t
flood_rx_burst(void *rx_queue, struct rte_mbuf **packets, uint16_t wanted)
{
	struct flood_rx_queue *queue = rx_queue;
	struct flood_port *port = queue->port;
	uint64_t set = *(volatile uint64_t *)&port->board->watcher.set;
	const struct flood_set *flows;
	uint32_t done = 0;

	if (unlikely(set != queue->set)) {
		queue->set = set;
		queue->position = queue->start % port->set[set < port->sets ? set : 0].count;
	}
	flows = &port->set[set < port->sets ? set : 0];
	wanted = RTE_MIN(wanted, port->burst);
	if (unlikely(queue->line->packets + wanted > port->limit))
		wanted = port->limit - queue->line->packets;
	if (unlikely(rte_mempool_get_bulk(queue->pool, (void **)packets, wanted) != 0)) {
		queue->line->no_mbuf++;
		return 0;
	}
	while (done < wanted) {
		uint32_t run = RTE_MIN(wanted - done, flows->count - queue->position);

		fill(queue, packets + done, flows->flows + queue->position, run);
		done += run;
		queue->position += run;
		if (queue->position == flows->count)
			queue->position = 0;
	}
	queue->line->packets += wanted;
	return wanted;
}

/* Counts what is wrong with one packet that is about to leave. */
static __rte_noinline void
verify(const struct flood_port *port, struct flood_tx_line *line, const struct rte_mbuf *mbuf)
{
	const struct rte_ether_hdr *ether = rte_pktmbuf_mtod(mbuf, const struct rte_ether_hdr *);
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(ether + 1);

	if (ether->ether_type != RTE_BE16(RTE_ETHER_TYPE_IPV4))
		return; /* A router's own ARP. */
	line->sampled++;
	if (port->verify == FLOOD_VERIFY_SWAP) {
		/* The peers of all ports differ in the last byte only. */
		line->bad_destination_mac += memcmp(&ether->dst_addr, &port->peer, RTE_ETHER_ADDR_LEN - 1) != 0;
		return;
	}
	line->bad_destination_mac += !rte_is_same_ether_addr(&ether->dst_addr, &port->peer);
	line->bad_source_mac += !rte_is_same_ether_addr(&ether->src_addr, &port->mac);
	if (port->verify == FLOOD_VERIFY_MAC)
		return;
	line->bad_ttl += ip->time_to_live != FLOOD_TTL - 1;
	/* As a receiver checks: the sum over the whole header. Some write 0xffff where others write 0; both are right. */
	line->bad_checksum += rte_ipv4_cksum(ip) != 0;
	line->bad_port += (rte_be_to_cpu_32(ip->src_addr) & 1) != port->index;
}

/* Frees the oldest chunk. The ring is a multiple of the chunk and the tail moves by chunks: it never wraps inside. */
static __rte_always_inline void
free_chunk(struct flood_tx_queue *queue)
{
	struct rte_mbuf **oldest = &queue->sent[queue->tail & queue->mask];

	if (likely(queue->fast_free)) {
		rte_mempool_put_bulk(oldest[0]->pool, (void **)oldest, FLOOD_FREE_CHUNK);
	} else {
		struct rte_mbuf *freeable[FLOOD_FREE_CHUNK];
		uint32_t count = 0;

		for (uint32_t i = 0; i < FLOOD_FREE_CHUNK; i++) {
			struct rte_mbuf *mbuf = rte_pktmbuf_prefree_seg(oldest[i]);

			if (unlikely(mbuf == NULL))
				continue;
			if (unlikely(count > 0 && mbuf->pool != freeable[0]->pool)) {
				rte_mempool_put_bulk(freeable[0]->pool, (void **)freeable, count);
				count = 0;
			}
			freeable[count++] = mbuf;
		}
		if (likely(count > 0))
			rte_mempool_put_bulk(freeable[0]->pool, (void **)freeable, count);
	}
	queue->tail += FLOOD_FREE_CHUNK;
}

uint16_t
flood_tx_burst(void *tx_queue, struct rte_mbuf **packets, uint16_t count)
{
	struct flood_tx_queue *queue = tx_queue;

	count = RTE_MIN(count, queue->mask + 1);
	while (queue->head + count - queue->tail > queue->mask + 1)
		free_chunk(queue);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t slot = (queue->head + i) & queue->mask;
		struct rte_mbuf *mbuf = packets[i];

		queue->sent[slot] = mbuf;
		queue->descriptors[slot] = (struct flood_descriptor){
			.address = rte_mbuf_data_iova(mbuf),
			.command = (uint64_t)mbuf->data_len << 32 | 1,
		};
	}
	queue->head += count;
	queue->line->packets += count;
	while (unlikely(queue->until_sample < count)) {
		if (queue->port->verify != FLOOD_VERIFY_NONE)
			verify(queue->port, queue->line, packets[queue->until_sample]);
		queue->until_sample += queue->port->sample;
	}
	queue->until_sample -= count;
	return count;
}

void
flood_tx_drain(struct flood_tx_queue *queue)
{
	while (queue->tail != queue->head)
		rte_pktmbuf_free(queue->sent[queue->tail++ & queue->mask]);
	/* Chunks start at multiples of their size. */
	queue->head = queue->tail = 0;
}
