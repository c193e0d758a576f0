/*
 * Who may connect to intercept, and how many.
 *
 * In: the address of a connection that the kernel has accepted. Out: a verdict, before anything is allocated
 * for the connection. One short array holds the addresses of all connections; it is searched once per
 * connection. A connection may end in another thread than it began in, so a lock protects the array. No
 * packet ever waits for the lock.
 *
 * No neighbour (packet/addr.h) may have more connections than are left for all others, so that a few of them
 * cannot keep out another.
 */
#include "intercept/clients/admission.h"

#include <pthread.h>
#include <stdlib.h>

struct admission {
	const struct prefix *allow;
	unsigned n_allow;
	pthread_mutex_t lock;
	struct addr from[ADMISSION_MAX];
	unsigned count;
};

struct admission *admission_new(const struct prefix *allow, unsigned n_allow)
{
	struct admission *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->allow = allow;
	a->n_allow = n_allow;
	pthread_mutex_init(&a->lock, NULL);
	return a;
}

void admission_free(struct admission *a)
{
	if (!a)
		return;
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static bool allowed(const struct admission *a, const struct addr *from)
{
	for (unsigned i = 0; i < a->n_allow; i++)
		if (prefix_contains(&a->allow[i], from))
			return true;
	return !a->n_allow;
}

enum admission_verdict admission_enter(struct admission *a, const struct addr *from)
{
	enum admission_verdict verdict = ADMISSION_FULL;
	unsigned same = 0, left;

	if (!allowed(a, from))
		return ADMISSION_FOREIGN;
	pthread_mutex_lock(&a->lock);
	for (unsigned i = 0; i < a->count; i++)
		same += addr_neighbours(&a->from[i], from);
	left = ADMISSION_MAX - a->count;
	if (same < left && same < ADMISSION_MAX_PER_NEIGHBOUR) {
		a->from[a->count++] = *from;
		verdict = ADMISSION_OK;
	}
	pthread_mutex_unlock(&a->lock);
	return verdict;
}

void admission_leave(struct admission *a, const struct addr *from)
{
	pthread_mutex_lock(&a->lock);
	for (unsigned i = 0; i < a->count; i++) {
		if (addr_eq(&a->from[i], from)) {
			a->from[i] = a->from[--a->count];
			break;
		}
	}
	pthread_mutex_unlock(&a->lock);
}
