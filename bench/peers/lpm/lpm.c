/*
 * DPDK's route tables, at the terms of the comparison: loads the rules of a file, and for each line on the standard
 * input takes a turn, which is a line of cycles: a lookup in each flow file, an addition, a deletion. Medians.
 *
 *     lpm EAL-ARGUMENTS -- lpm|fib|fib-avx512 RULES FLOWS...
 *
 * Rules are l3fwd's ("R192.0.2.0/24 1"), flow files those of net_flood (a record of 8 bytes, the last 4 of which are the
 * destination).
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_fib.h>
#include <rte_lpm.h>

#define BULK 64
#define CHUNK 4096
#define MAX_RULES (1 << 20)
#define GROUPS (1 << 14)

struct rule {
	uint32_t ip;
	uint8_t depth;
	uint8_t hop;
};

struct flows {
	uint32_t *addresses;
	size_t count;
};

static struct rule *rules;
static size_t rule_count;
static struct rte_lpm *lpm;
static struct rte_fib *fib;
/* So that nothing is left out. */
volatile uint64_t sink;

static void die(const char *why)
{
	fprintf(stderr, "lpm: %s\n", why);
	exit(1);
}

static void *room(size_t count, size_t size)
{
	void *memory = calloc(count, size);

	if (memory == NULL)
		die("no memory");
	return memory;
}

static FILE *opened(const char *path)
{
	FILE *file = fopen(path, "r");

	if (file == NULL) {
		fprintf(stderr, "lpm: %s: ", path);
		die("cannot be read");
	}
	return file;
}

static void read_rules(const char *path)
{
	unsigned int a, b, c, d, depth, hop;
	FILE *file = opened(path);

	rules = room(MAX_RULES, sizeof(*rules));
	while (rule_count < MAX_RULES && fscanf(file, " R%u.%u.%u.%u/%u %u", &a, &b, &c, &d, &depth, &hop) == 6)
		rules[rule_count++] = (struct rule){ .ip = a << 24 | b << 16 | c << 8 | d, .depth = depth, .hop = hop };
	fclose(file);
	if (rule_count == 0)
		die("there are no rules");
}

static struct flows read_flows(const char *path)
{
	struct flows flows = { .addresses = room(1 << 20, sizeof(uint32_t)) };
	FILE *file = opened(path);
	uint32_t record[2];

	while (flows.count < 1 << 20 && fread(record, sizeof(record), 1, file) == 1)
		flows.addresses[flows.count++] = ntohl(record[1]);
	fclose(file);
	if (flows.count < CHUNK)
		die("too few flows");
	return flows;
}

static int add(const struct rule *rule)
{
	return lpm ? rte_lpm_add(lpm, rule->ip, rule->depth, rule->hop) : rte_fib_add(fib, rule->ip, rule->depth, rule->hop);
}

static int delete(const struct rule *rule)
{
	return lpm ? rte_lpm_delete(lpm, rule->ip, rule->depth) : rte_fib_delete(fib, rule->ip, rule->depth);
}

static void make_table(const char *kind)
{
	struct rte_lpm_config lpm_config = { .max_rules = MAX_RULES, .number_tbl8s = GROUPS };
	struct rte_fib_conf fib_config = {
		.type = RTE_FIB_DIR24_8,
		.default_nh = 255,
		.max_routes = MAX_RULES,
		.dir24_8 = { .nh_sz = RTE_FIB_DIR24_8_4B, .num_tbl8 = GROUPS },
	};
	enum rte_fib_lookup_type lookup = RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO;

	if (strcmp(kind, "lpm") == 0) {
		lpm = rte_lpm_create("peers", SOCKET_ID_ANY, &lpm_config);
		if (lpm == NULL)
			die("rte_lpm cannot be made: huge pages?");
		return;
	}
	fib = rte_fib_create("peers", SOCKET_ID_ANY, &fib_config);
	if (fib == NULL)
		die("rte_fib cannot be made: huge pages?");
	if (strcmp(kind, "fib-avx512") == 0)
		lookup = RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512;
	else if (strcmp(kind, "fib") != 0)
		die("expected lpm, fib or fib-avx512");
	if (rte_fib_select_lookup(fib, lookup) != 0)
		die("rte_fib has no such lookup here");
}

static int by_size(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;

	return (one > other) - (one < other);
}

static double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), by_size);
	return values[count / 2];
}

/* 8 Mi lookups, of which each value is the mean of a chunk. */
static double look_up(const struct flows *flows)
{
	static double values[2048];
	uint64_t fib_hops[BULK], sum = 0;
	uint32_t lpm_hops[BULK];
	size_t value, at = 0;

	for (value = 0; value < RTE_DIM(values); value++) {
		uint64_t start = rte_rdtsc();
		size_t i;

		for (i = 0; i < CHUNK; i += BULK) {
			uint32_t *bulk = flows->addresses + at + i;

			if (lpm) {
				rte_lpm_lookup_bulk(lpm, bulk, lpm_hops, BULK);
				sum += lpm_hops[0];
			} else {
				rte_fib_lookup_bulk(fib, bulk, fib_hops, BULK);
				sum += fib_hops[0];
			}
		}
		values[value] = (double)(rte_rdtsc() - start) / CHUNK;
		at += CHUNK;
		if (at + CHUNK > flows->count)
			at = 0;
	}
	sink = sum;
	return median(values, RTE_DIM(values));
}

/* Deletes rules and puts them back, and prints what each costs. rte_lpm takes long: a few must do. */
static void update(void)
{
	size_t count = lpm ? 64 : 4096, i;
	static double adds[4096], deletes[4096];
	static size_t next;

	for (i = 0; i < count; i++) {
		const struct rule *rule = &rules[next++ % rule_count];
		uint64_t start = rte_rdtsc(), middle;
		int failed = delete(rule);

		middle = rte_rdtsc();
		failed |= add(rule);
		adds[i] = (double)(rte_rdtsc() - middle);
		deletes[i] = (double)(middle - start);
		if (failed)
			die("a rule cannot be changed");
	}
	printf(" %.1f %.1f", median(adds, count), median(deletes, count));
}

int main(int argc, char **argv)
{
	struct flows flows[8];
	int used = rte_eal_init(argc, argv), sets, i;
	size_t n;
	char line[16];

	if (used < 0)
		die("DPDK does not start");
	argc -= used + 1;
	argv += used + 1;
	if (argc < 3 || argc - 2 > (int)RTE_DIM(flows))
		die("expected a kind, a file of rules, and files of flows");
	read_rules(argv[1]);
	sets = argc - 2;
	for (i = 0; i < sets; i++)
		flows[i] = read_flows(argv[2 + i]);
	make_table(argv[0]);
	for (n = 0; n < rule_count; n++)
		if (add(&rules[n]) != 0)
			die("a rule cannot be added");
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		for (i = 0; i < sets; i++)
			printf("%.2f ", look_up(&flows[i]));
		update();
		printf("\n");
		fflush(stdout);
	}
	return 0;
}
