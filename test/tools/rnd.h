#ifndef TEST_TOOLS_RND_H
#define TEST_TOOLS_RND_H

#include <stdint.h>

/* The next 32 bits of splitmix64 from *@state, which is any number at first. The same numbers in each run. */
static inline uint32_t rnd_next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (uint32_t)((z ^ z >> 31) >> 16);
}

#endif
