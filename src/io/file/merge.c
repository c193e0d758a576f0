/*
 * Files of packets, merged - theory of operation
 *
 *   file    bytes, unpacked (content.c), and libpcap, which knows the two formats. A damaged file ends
 *           there, which is said; what came before is good.
 *   merge   the file whose next packet is the earliest. The files of a ring (tcpdump -C, -W) are in no order,
 *           and many: all of them are looked at once for their first time, but only those are read that have
 *           begun and not ended, two or so.
 *   order   packets come out of a capture slightly out of order: by several queues of a network card, or by
 *           several interfaces. They wait in a heap until WINDOW or PACKETS more have come, or BYTES.
 *
 * A time that goes back by more than the window is no reordering: somebody has set the clock, or files were
 * put one behind the other. Then the file's time goes on from where it was, so that nothing of it is lost or
 * overtakes. A single packet with a time of its own is told from that by the next one, which goes back to
 * the times before.
 */
#include "io/file/merge.h"

#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "io/file/content.h"
#include "io/file/file.h"

#define WINDOW NS_PER_SEC
#define PACKETS 65536u
#define BYTES (32u << 20)

struct file {
	const char *path;
	int fd;
	bool pipe, open, ended, said;
	uint64_t first; /* time of its first packet, ns */
	uint64_t size;  /* bytes; 0: not known */
	/* while it is open */
	struct content *content;
	FILE *stream;
	pcap_t *pcap;
	struct bpf_program filter;
	bool filtered;
	enum link_type link;
	uint64_t newest;             /* the latest time of it, shifted */
	int64_t shift, shift_before; /* ns, from the file's time to ours */
	struct recorded *next;       /* its next packet */
};

struct merge {
	const struct merge_events *events;
	struct recording_counters n;
	const char *filter;
	unsigned files, begun; /* those before begun are open, or have ended */
	unsigned first_open;   /* those before have ended */
	uint64_t bytes_all;
	uint64_t bytes_ended; /* of files that have ended */
	uint64_t order, highest,
		out; /* the last one's number; the latest time that has come, and that has gone */
	struct recorded **heap;
	unsigned waiting;
	size_t bytes;
	struct file file[];
};

static bool idle(void *arg)
{
	const struct merge *m = arg;

	return m->events->idle && m->events->idle(m->events->arg);
}

static void file_end(struct merge *m, struct file *f)
{
	if (f->filtered)
		pcap_freecode(&f->filter);
	if (f->pcap)
		pcap_close(f->pcap); /* and the stream with it */
	else if (f->stream)
		fclose(f->stream);
	content_close(f->content);
	free(f->next);
	f->filtered = false;
	f->pcap = NULL;
	f->stream = NULL;
	f->content = NULL;
	f->next = NULL;
	m->bytes_ended += f->open ? f->size : 0;
	f->open = false;
}

/* Read the header of @f. */
static int file_begin(struct merge *m, struct file *f, char *err, size_t err_size)
{
	char words[PCAP_ERRBUF_SIZE];
	int dlt;

	f->newest = 0;
	f->shift = f->shift_before = 0;
	if (!f->pipe && lseek(f->fd, 0, SEEK_SET) < 0) {
		snprintf(err, err_size, "file %s: %s", f->path, strerror(errno));
		return -1;
	}
	f->content = content_open(f->fd, f->path, idle, m, err, err_size);
	if (!f->content)
		return -1;
	f->stream = content_stream(f->content);
	if (!f->stream) {
		snprintf(err, err_size, "file %s: out of memory", f->path);
		return -1;
	}
	f->pcap = pcap_fopen_offline_with_tstamp_precision(f->stream, PCAP_TSTAMP_PRECISION_NANO, words);
	if (!f->pcap) {
		const char *wrong = content_wrong(f->content);

		snprintf(err, err_size, "file %s: %s; accepted: pcap or pcapng, as tcpdump -w writes it",
			 f->path, wrong ? wrong : words);
		return -1;
	}
	f->open = true;
	dlt = pcap_datalink(f->pcap);
	if (!file_link(dlt, &f->link)) {
		const char *name = pcap_datalink_val_to_name(dlt);

		snprintf(
			err, err_size,
			"file %s: link type %s (%d) is not supported; accepted: Ethernet, raw IP, Linux cooked v1 "
			"and v2, BSD null and loop, PPP, Cisco HDLC",
			f->path, name ? name : "unknown", dlt);
		return -1;
	}
	if (!m->filter || !m->filter[0])
		return 0;
	if (pcap_compile(f->pcap, &f->filter, m->filter, 1, PCAP_NETMASK_UNKNOWN) < 0) {
		snprintf(err, err_size, "file %s: filter \"%s\": %s", f->path, m->filter,
			 pcap_geterr(f->pcap));
		return -1;
	}
	f->filtered = true;
	return 0;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* The time of a packet of @f that says @time. */
static uint64_t in_time(struct merge *m, struct file *f, uint64_t time)
{
	uint64_t at = time + (uint64_t)f->shift, before = time + (uint64_t)f->shift_before;

	if (distance(at, f->newest) > WINDOW && distance(before, f->newest) < distance(at, f->newest)) {
		const int64_t other = f->shift;

		f->shift = f->shift_before;
		f->shift_before = other;
		at = before;
	}
	if (at + WINDOW < f->newest) {
		f->shift_before = f->shift;
		f->shift += (int64_t)(f->newest - at);
		at = f->newest;
		m->n.backwards++;
	}
	f->newest = MAX(f->newest, at);
	return at;
}

static void complain(struct merge *m, struct file *f, const char *words)
{
	char all[512];

	m->n.damaged++;
	if (f->said)
		return;
	f->said = true;
	snprintf(all, sizeof(all), "file %s: %s; what comes before is replayed", f->path, words);
	m->events->complain(m->events->arg, all);
}

/* Fetch the next packet of @f, or find its end. */
static void fetch(struct merge *m, struct file *f)
{
	struct pcap_pkthdr *h;
	const u_char *data;
	struct recorded *x;
	int rc = pcap_next_ex(f->pcap, &h, &data);

	f->next = NULL;
	if (rc != 1) {
		const char *wrong = content_wrong(f->content);

		if (wrong || rc == PCAP_ERROR)
			complain(m, f, wrong ? wrong : pcap_geterr(f->pcap));
		file_end(m, f);
		f->ended = true;
		return;
	}
	x = malloc(sizeof(*x) + h->caplen);
	if (!x) {
		complain(m, f, "out of memory");
		file_end(m, f);
		f->ended = true;
		return;
	}
	*x = (struct recorded){ .order = m->order++, .bytes = (uint32_t)sizeof(*x) + h->caplen };
	memcpy(x->data, data, h->caplen);
	x->raw.data = x->data;
	x->raw.captured = h->caplen;
	x->raw.len = MAX(h->len, h->caplen);
	x->raw.link = f->link;
	/* Opened for nanoseconds: that is what tv_usec holds. */
	x->raw.time = in_time(m, f, (uint64_t)h->ts.tv_sec * NS_PER_SEC + (uint64_t)h->ts.tv_usec);
	x->matches = !f->filtered || pcap_offline_filter(&f->filter, h, data);
	m->n.packets++;
	m->n.truncated += x->raw.captured < x->raw.len;
	f->next = x;
}

/* Open the file @f, and find the time of its first packet. A pipe stays open from then on. */
static int look_at(struct merge *m, struct file *f, char *err, size_t err_size)
{
	struct stat st;

	/*
	 * A named pipe that nobody writes to yet would be waited for here, where no signal ends it. It is
	 * opened at once, and its writer is waited for where its content is read.
	 */
	f->fd = strcmp(f->path, "-") ? open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : STDIN_FILENO;
	if (f->fd < 0 || fstat(f->fd, &st) || (f->fd != STDIN_FILENO && fcntl(f->fd, F_SETFL, 0))) {
		snprintf(err, err_size, "file %s: %s", f->path, strerror(errno));
		return -1;
	}
	if (S_ISDIR(st.st_mode)) {
		snprintf(err, err_size, "file %s: a directory; accepted: files", f->path);
		return -1;
	}
	f->pipe = !S_ISREG(st.st_mode);
	f->size = f->pipe ? 0 : (uint64_t)st.st_size;
	if (f->pipe)
		return 0; /* it may take its time, and is asked when it must be */
	if (file_begin(m, f, err, err_size))
		return -1;
	fetch(m, f);
	f->first = f->next ? f->next->raw.time : UINT64_MAX;
	file_end(m, f);
	f->ended = false;
	return 0;
}

static int by_time(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

static void start(struct merge *m)
{
	m->n = (struct recording_counters){ 0 };
	m->bytes_ended = m->begun = m->first_open = 0;
	m->highest = m->out = m->order = 0;
}

struct merge *merge_open(const char *const path[], unsigned n, const char *filter,
			 const struct merge_events *e, char *err, size_t err_size)
{
	struct merge *m = calloc(1, sizeof(*m) + n * sizeof(m->file[0]));
	bool pipe = false;

	if (!m) {
		snprintf(err, err_size, "out of memory");
		return NULL;
	}
	m->events = e;
	m->filter = filter;
	m->files = n;
	for (unsigned i = 0; i < n; i++)
		m->file[i].fd = -1;
	m->heap = malloc((PACKETS + 1) * sizeof(*m->heap));
	if (!m->heap) {
		snprintf(err, err_size, "out of memory");
		merge_close(m);
		return NULL;
	}
	for (unsigned i = 0; i < n; i++) {
		m->file[i].path = path[i];
		if (look_at(m, &m->file[i], err, err_size)) {
			merge_close(m);
			return NULL;
		}
		m->bytes_all += m->file[i].size;
		pipe |= m->file[i].pipe;
	}
	if (pipe)
		m->bytes_all = 0;
	qsort(m->file, n, sizeof(m->file[0]), by_time);
	start(m);
	return m;
}

/* The open file with the earliest packet. Opens those whose time has come. */
static struct file *earliest(struct merge *m)
{
	for (;;) {
		struct file *f = NULL;

		while (m->first_open < m->begun && m->file[m->first_open].ended)
			m->first_open++;
		for (unsigned i = m->first_open; i < m->begun; i++) {
			struct file *x = &m->file[i];

			if (!x->ended && (!f || x->next->raw.time < f->next->raw.time))
				f = x;
		}
		if (m->begun == m->files || (f && f->next->raw.time < m->file[m->begun].first))
			return f;
		f = &m->file[m->begun++];
		f->ended = false;
		{
			char err[512];

			if (file_begin(m, f, err, sizeof(err))) { /* it has changed, or is a pipe */
				m->n.damaged++;
				m->events->complain(m->events->arg, err);
				file_end(m, f);
				f->ended = true;
				continue;
			}
		}
		fetch(m, f);
	}
}

static bool before(const struct recorded *a, const struct recorded *b)
{
	return a->raw.time != b->raw.time ? a->raw.time < b->raw.time : a->order < b->order;
}

static void heap_put(struct merge *m, struct recorded *x)
{
	unsigned i = m->waiting++;

	m->bytes += x->bytes;
	for (; i && before(x, m->heap[(i - 1) / 2]); i = (i - 1) / 2)
		m->heap[i] = m->heap[(i - 1) / 2];
	m->heap[i] = x;
}

static struct recorded *heap_take(struct merge *m)
{
	struct recorded *first = m->heap[0], *last;
	unsigned i = 0, child;

	m->bytes -= first->bytes;
	last = m->heap[--m->waiting];
	while ((child = 2 * i + 1) < m->waiting) {
		if (child + 1 < m->waiting && before(m->heap[child + 1], m->heap[child]))
			child++;
		if (!before(m->heap[child], last))
			break;
		m->heap[i] = m->heap[child];
		i = child;
	}
	m->heap[i] = last;
	return first;
}

struct recorded *merge_flush(struct merge *m)
{
	struct recorded *x = m->waiting ? heap_take(m) : NULL;

	if (!x)
		return NULL;
	x->raw.time = MAX(x->raw.time, m->out); /* one that came when others had gone */
	m->out = x->raw.time;
	return x;
}

struct recorded *merge_next(struct merge *m)
{
	while (!m->waiting ||
	       (m->waiting < PACKETS && m->bytes < BYTES && m->highest < m->heap[0]->raw.time + WINDOW)) {
		struct file *f = earliest(m);
		struct recorded *x = f ? f->next : NULL;

		if (!x)
			break;
		f->next = NULL;
		m->n.reordered += x->raw.time < m->highest;
		m->highest = MAX(m->highest, x->raw.time);
		heap_put(m, x);
		fetch(m, f);
	}
	return merge_flush(m);
}

const char *merge_pipe(const struct merge *m)
{
	for (unsigned i = 0; i < m->files; i++)
		if (m->file[i].pipe)
			return m->file[i].path;
	return NULL;
}

int merge_rewind(struct merge *m)
{
	for (unsigned i = 0; i < m->files; i++) {
		if (m->file[i].pipe)
			return -1;
		if (m->file[i].open)
			file_end(m, &m->file[i]);
		m->file[i].ended = false;
	}
	while (m->waiting)
		free(heap_take(m));
	m->begun = m->first_open = 0;
	m->bytes_ended = m->highest = m->out = 0;
	return 0;
}

void merge_progress(const struct merge *m, uint64_t *done, uint64_t *all)
{
	*all = m->bytes_all;
	*done = m->bytes_ended;
	for (unsigned i = m->first_open; i < m->begun && m->bytes_all; i++) {
		const off_t at = m->file[i].open ? lseek(m->file[i].fd, 0, SEEK_CUR) : 0;

		*done += at > 0 ? (uint64_t)at : 0;
	}
}

const struct recording_counters *merge_counters(const struct merge *m)
{
	return &m->n;
}

void merge_close(struct merge *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < m->files; i++) {
		file_end(m, &m->file[i]);
		if (m->file[i].fd > STDIN_FILENO)
			close(m->file[i].fd);
	}
	while (m->waiting)
		free(heap_take(m));
	free(m->heap);
	free(m);
}
