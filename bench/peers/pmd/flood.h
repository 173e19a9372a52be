/* SPDX-License-Identifier: Apache-2.0 OR MIT
 *
 * net_flood: a virtual Ethernet device that receives endless 64-byte UDP packets and swallows what it is given to
 * send. It does per packet what a NIC's vector driver does in software, plus building the frame that a NIC would
 * have written by DMA, so that a program above it sees a line that is never empty.
 *
 * This header holds what the packet path and the device operations share, and the layout of the two files that are
 * exchanged with the outside: flow files (in) and the board (counters out, flow set in).
 */
#ifndef FLOOD_H
#define FLOOD_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_ether.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#define FLOOD_MAX_QUEUES 16
#define FLOOD_MAX_SETS 8
#define FLOOD_FRAME_LEN 60 /* 64 on the wire, with the frame check sequence. */

/* Packets are freed in chunks of this many, as drivers do with their descriptor write-back threshold. */
#define FLOOD_FREE_CHUNK 32

/* All generated packets come from 10.200.0.0/16; the low half of the address is the flow's. Its lowest bit tells the
 * index of the port where the packet must leave (checked by FLOOD_VERIFY_ROUTE). */
#define FLOOD_SOURCE_NET_HIGH 0x0ac8
#define FLOOD_TTL 64

/* One flow, 8 bytes, network byte order. The checksum is that of the whole IPv4 header. */
struct flood_flow {
	uint16_t ip_checksum;
	uint16_t source_low;
	uint32_t destination;
};
_Static_assert(sizeof(struct flood_flow) == 8, "a flow record is 8 bytes");

struct flood_set {
	const struct flood_flow *flows;
	uint32_t count;
};

/*
 * The board: a file of cache lines of eight little-endian 64-bit words, mapped by the device and by whoever
 * watches it. Each line has a single writer. Line 0 is FLOOD_MAGIC and constants, line 1 is written by the watcher,
 * then come two lines for each queue: one for receive, one for transmit.
 */
#define FLOOD_MAGIC 0x31304f4f4c46ULL

struct flood_rx_line {
	uint64_t packets;
	uint64_t no_mbuf;
	uint64_t reserved[6];
} __rte_aligned(64);

struct flood_tx_line {
	uint64_t packets;
	uint64_t sampled;
	uint64_t bad_destination_mac;
	uint64_t bad_source_mac;
	uint64_t bad_ttl;
	uint64_t bad_checksum;
	uint64_t bad_port;
	uint64_t reserved;
} __rte_aligned(64);

struct flood_board {
	struct {
		uint64_t magic;
		uint64_t tsc_hz;
		uint64_t sets;
		uint64_t queues;
		uint64_t started;
		uint64_t reserved[3];
	} __rte_aligned(64) device;
	struct {
		uint64_t set; /* Index of the flow set to play; out of range plays set 0. */
		uint64_t reserved[7];
	} __rte_aligned(64) watcher;
	struct {
		struct flood_rx_line rx;
		struct flood_tx_line tx;
	} queue[FLOOD_MAX_QUEUES];
};

/* What a sampled packet must look like when it is sent. */
enum flood_verify {
	FLOOD_VERIFY_NONE,  /* nothing is looked at */
	FLOOD_VERIFY_SWAP,  /* MAC addresses exchanged: the destination is the peer it came from */
	FLOOD_VERIFY_MAC,   /* from this port's address to this port's peer */
	FLOOD_VERIFY_ROUTE, /* the same, TTL one less, checksum right, and the right port for the destination */
};

struct flood_port;

struct flood_rx_queue {
	struct flood_port *port;
	struct rte_mempool *pool;
	struct flood_rx_line *line;
	uint64_t rearm; /* data_off, refcnt, nb_segs, port: the mbuf's eight bytes that are the same for every packet */
	uint64_t set;
	uint32_t position;
	uint32_t start;
} __rte_cache_aligned;

/* What a NIC is told about a packet. */
struct flood_descriptor {
	uint64_t address;
	uint64_t command;
};

struct flood_tx_queue {
	struct flood_port *port;
	struct flood_descriptor *descriptors;
	struct rte_mbuf **sent;
	struct flood_tx_line *line;
	uint32_t mask;
	uint32_t head; /* Counts packets written; taken modulo the ring by `mask`. */
	uint32_t tail; /* Counts packets freed. */
	uint32_t until_sample;
	bool fast_free;
} __rte_cache_aligned;

struct flood_port {
	uint8_t frame[64]; /* The frame of every packet, but for checksum and addresses. */
	struct flood_board *board;
	struct flood_set set[FLOOD_MAX_SETS];
	uint32_t sets;
	uint32_t ring;
	uint32_t sample;
	uint32_t burst;
	uint64_t limit;
	uint32_t index;
	enum flood_verify verify;
	struct rte_ether_addr mac;
	struct rte_ether_addr peer;
	struct flood_rx_queue rx[FLOOD_MAX_QUEUES];
	struct flood_tx_queue tx[FLOOD_MAX_QUEUES];
} __rte_cache_aligned;

extern int flood_log;
#define FLOOD_LOG(level, ...) rte_log(RTE_LOG_##level, flood_log, "net_flood: " __VA_ARGS__)

/* Sets a zeroed port up from its device arguments, and gives back what that took. */
int flood_port_open(struct flood_port *port, const char *arguments);
void flood_port_close(struct flood_port *port);

uint16_t flood_rx_burst(void *queue, struct rte_mbuf **packets, uint16_t wanted);
uint16_t flood_tx_burst(void *queue, struct rte_mbuf **packets, uint16_t count);

/* Frees every packet that still lies in the ring. */
void flood_tx_drain(struct flood_tx_queue *queue);

/* Fills the port's frame from its addresses. */
void flood_frame_init(struct flood_port *port);

/* The right checksum of the header that flood_rx_burst builds for a flow, in network byte order. */
uint16_t flood_checksum(const struct flood_port *port, const struct flood_flow *flow);

#endif
