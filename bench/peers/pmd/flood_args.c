/* SPDX-License-Identifier: Apache-2.0 OR MIT
 *
 * The arguments of a net_flood device, and the files they name:
 *
 *   flows=A[:B...]  flow files, one set each (required)
 *   index=N         which port this is among those of the program; its peers and flows start apart (default 0)
 *   board=FILE      counters out, flow set in (default: kept to itself)
 *   verify=none|swap|mac|route, sample=N   look at one packet in N that is sent (default none, 64)
 *   mac=MAC, peer=MAC   this port's address, and that of the station at the other end of its wire
 *   ring=N          packets kept before they are freed (default 1024)
 *   burst=N         at most N packets a receive (default: as many as asked for)
 *   limit=N         stop after N packets a queue (default: never)
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_kvargs.h>

#include "flood.h"

#define ARG_FLOWS "flows"
#define ARG_INDEX "index"
#define ARG_BOARD "board"
#define ARG_VERIFY "verify"
#define ARG_SAMPLE "sample"
#define ARG_MAC "mac"
#define ARG_PEER "peer"
#define ARG_RING "ring"
#define ARG_BURST "burst"
#define ARG_LIMIT "limit"

static const char *const valid_args[] = {
	ARG_FLOWS, ARG_INDEX, ARG_BOARD, ARG_VERIFY, ARG_SAMPLE, ARG_MAC, ARG_PEER, ARG_RING, ARG_BURST, ARG_LIMIT, NULL,
};

static int
parse_number(const char *key, const char *value, void *out)
{
	char *end;

	errno = 0;
	*(uint64_t *)out = strtoull(value, &end, 0);
	if (errno == 0 && end != value && *end == '\0')
		return 0;
	FLOOD_LOG(ERR, "%s=%s is not a number\n", key, value);
	return -EINVAL;
}

static int
parse_mac(const char *key, const char *value, void *out)
{
	if (rte_ether_unformat_addr(value, out) == 0)
		return 0;
	FLOOD_LOG(ERR, "%s=%s is not a MAC address\n", key, value);
	return -EINVAL;
}

static int
parse_verify(const char *key, const char *value, void *out)
{
	static const char *const names[] = {"none", "swap", "mac", "route"};

	for (size_t i = 0; i < RTE_DIM(names); i++) {
		if (strcmp(value, names[i]) == 0) {
			*(enum flood_verify *)out = i;
			return 0;
		}
	}
	FLOOD_LOG(ERR, "%s=%s is none of none, swap, mac, route\n", key, value);
	return -EINVAL;
}

static int
parse_text(const char *key __rte_unused, const char *value, void *out)
{
	*(const char **)out = value;
	return 0;
}

static int
load_flows(struct flood_port *port, const char *path)
{
	struct flood_set *set = &port->set[port->sets];
	struct stat status;
	int fd = open(path, O_RDONLY);

	if (fd < 0 || fstat(fd, &status) != 0) {
		FLOOD_LOG(ERR, "flow file %s: %s\n", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -EINVAL;
	}
	set->count = status.st_size / sizeof(struct flood_flow);
	set->flows = mmap(NULL, status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	close(fd);
	if (set->flows == MAP_FAILED || set->count == 0) {
		FLOOD_LOG(ERR, "flow file %s is empty or cannot be mapped\n", path);
		return -EINVAL;
	}
	for (uint32_t i = 0; i < set->count; i++) {
		if (flood_checksum(port, &set->flows[i]) != set->flows[i].ip_checksum) {
			FLOOD_LOG(ERR, "flow file %s: wrong checksum in record %u\n", path, i);
			return -EINVAL;
		}
	}
	port->sets++;
	return 0;
}

static int
load_all_flows(struct flood_port *port, const char *paths)
{
	char *copy = strdup(paths), *rest = NULL;
	int error = copy == NULL ? -ENOMEM : 0;

	for (char *path = strtok_r(copy, ":", &rest); path != NULL && error == 0; path = strtok_r(NULL, ":", &rest))
		error = port->sets < FLOOD_MAX_SETS ? load_flows(port, path) : -E2BIG;
	free(copy);
	return error;
}

static int
map_board(struct flood_port *port, const char *path)
{
	int fd = -1;

	if (path != NULL) {
		fd = open(path, O_RDWR | O_CREAT, 0644);
		if (fd < 0 || ftruncate(fd, sizeof(struct flood_board)) != 0) {
			FLOOD_LOG(ERR, "board %s: %s\n", path, strerror(errno));
			if (fd >= 0)
				close(fd);
			return -EIO;
		}
	}
	port->board = mmap(NULL, sizeof(struct flood_board), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_POPULATE | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
	if (fd >= 0)
		close(fd);
	if (port->board == MAP_FAILED) {
		port->board = NULL;
		return -ENOMEM;
	}
	memset(port->board->queue, 0, sizeof(port->board->queue));
	port->board->device.tsc_hz = rte_get_tsc_hz();
	port->board->device.sets = port->sets;
	port->board->device.queues = FLOOD_MAX_QUEUES;
	port->board->device.started = 0;
	port->board->device.magic = FLOOD_MAGIC;
	return 0;
}

static int
configure_port(struct flood_port *port, struct rte_kvargs *args)
{
	uint64_t index = 0, ring = 1024, sample = 64, burst = UINT16_MAX, limit = UINT64_MAX;
	const char *flows = NULL, *board = NULL;

	if (rte_kvargs_process(args, ARG_INDEX, parse_number, &index) < 0 ||
	    rte_kvargs_process(args, ARG_RING, parse_number, &ring) < 0 ||
	    rte_kvargs_process(args, ARG_SAMPLE, parse_number, &sample) < 0 ||
	    rte_kvargs_process(args, ARG_BURST, parse_number, &burst) < 0 ||
	    rte_kvargs_process(args, ARG_LIMIT, parse_number, &limit) < 0)
		return -EINVAL;
	if (index > 255 || sample == 0 || sample > 1 << 20 || burst == 0 || ring < 64 || ring > 65536 ||
	    !rte_is_power_of_2(ring)) {
		FLOOD_LOG(ERR, "want index <= 255, 1 <= sample <= 2^20, burst >= 1, ring a power of 2 in 64..65536\n");
		return -EINVAL;
	}
	port->index = index;
	port->ring = ring;
	port->sample = sample;
	port->burst = RTE_MIN(burst, (uint64_t)UINT16_MAX);
	port->limit = limit;
	port->mac = (struct rte_ether_addr){{0x02, 0xf1, 0x00, 0xd0, 0x00, index}};
	port->peer = (struct rte_ether_addr){{0x02, 0xf1, 0x00, 0xd0, 0x01, index}};
	if (rte_kvargs_process(args, ARG_MAC, parse_mac, &port->mac) < 0 ||
	    rte_kvargs_process(args, ARG_PEER, parse_mac, &port->peer) < 0 ||
	    rte_kvargs_process(args, ARG_VERIFY, parse_verify, &port->verify) < 0 ||
	    rte_kvargs_process(args, ARG_FLOWS, parse_text, &flows) < 0 ||
	    rte_kvargs_process(args, ARG_BOARD, parse_text, &board) < 0)
		return -EINVAL;
	if (flows == NULL) {
		FLOOD_LOG(ERR, "flows=FILE is missing\n");
		return -EINVAL;
	}
	flood_frame_init(port);
	int error = load_all_flows(port, flows);
	return error != 0 ? error : map_board(port, board);
}

int
flood_port_open(struct flood_port *port, const char *arguments)
{
	struct rte_kvargs *args = rte_kvargs_parse(arguments, valid_args);
	int error;

	if (args == NULL) {
		FLOOD_LOG(ERR, "an unknown argument in %s\n", arguments);
		return -EINVAL;
	}
	error = configure_port(port, args);
	rte_kvargs_free(args);
	if (error != 0)
		flood_port_close(port);
	return error;
}

void
flood_port_close(struct flood_port *port)
{
	for (uint32_t i = 0; i < port->sets; i++)
		munmap((void *)(uintptr_t)port->set[i].flows, port->set[i].count * sizeof(struct flood_flow));
	if (port->board != NULL)
		munmap(port->board, sizeof(*port->board));
	port->sets = 0;
	port->board = NULL;
}
