/* SPDX-License-Identifier: Apache-2.0 OR MIT
 *
 * The device operations of net_flood: what ethdev asks of a driver.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <bus_vdev_driver.h>
#include <ethdev_driver.h>
#include <ethdev_vdev.h>
#include <rte_malloc.h>

#include "flood.h"

RTE_LOG_REGISTER(flood_log, pmd.net.flood, NOTICE);

static int
flood_configure(struct rte_eth_dev *dev __rte_unused)
{
	return 0;
}

static int
flood_start(struct rte_eth_dev *dev)
{
	struct flood_port *port = dev->data->dev_private;

	dev->data->dev_link.link_status = RTE_ETH_LINK_UP;
	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
		dev->data->rx_queue_state[i] = RTE_ETH_QUEUE_STATE_STARTED;
	for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++)
		dev->data->tx_queue_state[i] = RTE_ETH_QUEUE_STATE_STARTED;
	port->board->device.started = 1;
	return 0;
}

static int
flood_stop(struct rte_eth_dev *dev)
{
	struct flood_port *port = dev->data->dev_private;

	for (uint16_t i = 0; i < dev->data->nb_rx_queues; i++)
		dev->data->rx_queue_state[i] = RTE_ETH_QUEUE_STATE_STOPPED;
	for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++) {
		flood_tx_drain(&port->tx[i]);
		dev->data->tx_queue_state[i] = RTE_ETH_QUEUE_STATE_STOPPED;
	}
	port->board->device.started = 0;
	dev->data->dev_link.link_status = RTE_ETH_LINK_DOWN;
	return 0;
}

static int
flood_infos(struct rte_eth_dev *dev __rte_unused, struct rte_eth_dev_info *info)
{
	info->max_mac_addrs = 1;
	info->max_rx_pktlen = 9018;
	info->max_mtu = 9000;
	info->max_rx_queues = FLOOD_MAX_QUEUES;
	info->max_tx_queues = FLOOD_MAX_QUEUES;
	info->rx_offload_capa = RTE_ETH_RX_OFFLOAD_CHECKSUM;
	info->tx_offload_capa = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	info->tx_queue_offload_capa = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	return 0;
}

static int
flood_rx_setup(struct rte_eth_dev *dev, uint16_t id, uint16_t descriptors __rte_unused,
	       unsigned int socket __rte_unused, const struct rte_eth_rxconf *conf __rte_unused,
	       struct rte_mempool *pool)
{
	struct flood_port *port = dev->data->dev_private;
	struct flood_rx_queue *queue = &port->rx[id];
	struct rte_mbuf first = {
		.data_off = RTE_PKTMBUF_HEADROOM,
		.nb_segs = 1,
		.port = dev->data->port_id,
	};

	if (rte_pktmbuf_data_room_size(pool) < RTE_PKTMBUF_HEADROOM + 64) {
		FLOOD_LOG(ERR, "mbufs of pool %s have no room for a frame\n", pool->name);
		return -EINVAL;
	}
	rte_mbuf_refcnt_set(&first, 1);
	memcpy(&queue->rearm, &first.data_off, sizeof(queue->rearm));
	queue->port = port;
	queue->pool = pool;
	queue->line = &port->board->queue[id].rx;
	queue->set = UINT64_MAX; /* The first burst chooses. */
	/* Far apart, so that no two queues play the same packets at the same time. */
	queue->start = 7919u * (port->index * FLOOD_MAX_QUEUES + id);
	dev->data->rx_queues[id] = queue;
	return 0;
}

static int
flood_tx_setup(struct rte_eth_dev *dev, uint16_t id, uint16_t descriptors __rte_unused, unsigned int socket,
	       const struct rte_eth_txconf *conf)
{
	struct flood_port *port = dev->data->dev_private;
	struct flood_tx_queue *queue = &port->tx[id];
	uint64_t offloads = conf->offloads | dev->data->dev_conf.txmode.offloads;

	queue->descriptors = rte_zmalloc_socket(NULL, port->ring * sizeof(*queue->descriptors), 64, socket);
	queue->sent = rte_zmalloc_socket(NULL, port->ring * sizeof(*queue->sent), 64, socket);
	if (queue->descriptors == NULL || queue->sent == NULL)
		return -ENOMEM;
	queue->port = port;
	queue->line = &port->board->queue[id].tx;
	queue->mask = port->ring - 1;
	queue->head = queue->tail = 0;
	queue->until_sample = 0;
	queue->fast_free = (offloads & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE) != 0;
	dev->data->tx_queues[id] = queue;
	return 0;
}

static void
flood_tx_release(struct rte_eth_dev *dev, uint16_t id)
{
	struct flood_tx_queue *queue = dev->data->tx_queues[id];

	if (queue == NULL)
		return;
	flood_tx_drain(queue);
	rte_free(queue->descriptors);
	rte_free(queue->sent);
	queue->descriptors = NULL;
	queue->sent = NULL;
}

static const uint32_t *
flood_ptypes(struct rte_eth_dev *dev __rte_unused)
{
	/* What a common NIC tells apart; this one only ever makes the first, but programs ask for IPv6 too. */
	static const uint32_t types[] = {
		RTE_PTYPE_L2_ETHER,
		RTE_PTYPE_L3_IPV4_EXT_UNKNOWN,
		RTE_PTYPE_L3_IPV6_EXT_UNKNOWN,
		RTE_PTYPE_L4_UDP,
		RTE_PTYPE_UNKNOWN,
	};
	return types;
}

static uint64_t
wrong(const struct flood_tx_line *line)
{
	return line->bad_destination_mac + line->bad_source_mac + line->bad_ttl + line->bad_checksum +
	       line->bad_port;
}

static int
flood_stats(struct rte_eth_dev *dev, struct rte_eth_stats *stats)
{
	const struct flood_port *port = dev->data->dev_private;

	for (uint16_t i = 0; i < FLOOD_MAX_QUEUES; i++) {
		stats->ipackets += port->board->queue[i].rx.packets;
		stats->rx_nombuf += port->board->queue[i].rx.no_mbuf;
		stats->opackets += port->board->queue[i].tx.packets;
		stats->oerrors += wrong(&port->board->queue[i].tx);
	}
	stats->ibytes = stats->ipackets * FLOOD_FRAME_LEN;
	stats->obytes = stats->opackets * FLOOD_FRAME_LEN;
	return 0;
}

static int
flood_stats_reset(struct rte_eth_dev *dev)
{
	struct flood_port *port = dev->data->dev_private;

	memset(port->board->queue, 0, sizeof(port->board->queue));
	return 0;
}

static int
flood_mac_set(struct rte_eth_dev *dev, struct rte_ether_addr *mac)
{
	struct flood_port *port = dev->data->dev_private;

	port->mac = *mac;
	flood_frame_init(port);
	return 0;
}

static int
flood_mtu_set(struct rte_eth_dev *dev __rte_unused, uint16_t mtu __rte_unused)
{
	return 0;
}

/* Link state and receive modes are fixed: always up, every frame is for us. */
static int
flood_link_update(struct rte_eth_dev *dev __rte_unused, int wait __rte_unused)
{
	return 0;
}

static int
flood_accept(struct rte_eth_dev *dev __rte_unused)
{
	return 0;
}

static void
report(struct rte_eth_dev *dev)
{
	struct rte_eth_stats stats = {0};

	flood_stats(dev, &stats);
	FLOOD_LOG(NOTICE, "%s: received %" PRIu64 ", sent %" PRIu64 ", wrong %" PRIu64 ", no mbuf %" PRIu64 "\n",
		  dev->data->name, stats.ipackets, stats.opackets, stats.oerrors, stats.rx_nombuf);
}

static int
flood_close(struct rte_eth_dev *dev)
{
	struct flood_port *port = dev->data->dev_private;

	if (rte_eal_process_type() != RTE_PROC_PRIMARY)
		return 0;
	report(dev);
	for (uint16_t i = 0; i < dev->data->nb_tx_queues; i++)
		flood_tx_release(dev, i);
	flood_port_close(port);
	dev->data->mac_addrs = NULL; /* It lies inside the port, which ethdev frees. */
	return 0;
}

static const struct eth_dev_ops flood_ops = {
	.dev_configure = flood_configure,
	.dev_start = flood_start,
	.dev_stop = flood_stop,
	.dev_close = flood_close,
	.dev_infos_get = flood_infos,
	.dev_supported_ptypes_get = flood_ptypes,
	.rx_queue_setup = flood_rx_setup,
	.tx_queue_setup = flood_tx_setup,
	.tx_queue_release = flood_tx_release,
	.link_update = flood_link_update,
	.promiscuous_enable = flood_accept,
	.promiscuous_disable = flood_accept,
	.allmulticast_enable = flood_accept,
	.allmulticast_disable = flood_accept,
	.mac_addr_set = flood_mac_set,
	.mtu_set = flood_mtu_set,
	.stats_get = flood_stats,
	.stats_reset = flood_stats_reset,
};

static int
flood_probe(struct rte_vdev_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_vdev_allocate(vdev, sizeof(struct flood_port));
	int error;

	if (dev == NULL)
		return -ENOMEM;
	error = flood_port_open(dev->data->dev_private, rte_vdev_device_args(vdev));
	if (error != 0) {
		rte_eth_dev_release_port(dev);
		return error;
	}
	dev->data->mac_addrs = &((struct flood_port *)dev->data->dev_private)->mac;
	dev->data->promiscuous = 1;
	dev->data->dev_flags |= RTE_ETH_DEV_AUTOFILL_QUEUE_XSTATS;
	dev->data->dev_link = (struct rte_eth_link){
		.link_speed = RTE_ETH_SPEED_NUM_100G,
		.link_duplex = RTE_ETH_LINK_FULL_DUPLEX,
		.link_autoneg = RTE_ETH_LINK_FIXED,
	};
	dev->dev_ops = &flood_ops;
	dev->rx_pkt_burst = flood_rx_burst;
	dev->tx_pkt_burst = flood_tx_burst;
	rte_eth_dev_probing_finish(dev);
	return 0;
}

static int
flood_remove(struct rte_vdev_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_dev_allocated(rte_vdev_device_name(vdev));

	if (dev == NULL)
		return 0;
	flood_close(dev);
	return rte_eth_dev_release_port(dev);
}

static struct rte_vdev_driver flood_driver = {
	.probe = flood_probe,
	.remove = flood_remove,
};

RTE_PMD_REGISTER_VDEV(net_flood, flood_driver);
RTE_PMD_REGISTER_PARAM_STRING(net_flood,
	"flows=<path>[:<path>] index=<int> board=<path> verify=none|swap|mac|route sample=<int> mac=<mac> "
	"peer=<mac> ring=<int> burst=<int> limit=<int>");
