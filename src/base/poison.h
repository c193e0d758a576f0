#ifndef BASE_POISON_H
#define BASE_POISON_H

/* Under AddressSanitizer: bytes that nobody may touch until unpoison(). Nothing otherwise. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define POISONING 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(POISONING)
#include <sanitizer/asan_interface.h>
#define poison(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define unpoison(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define poison(p, n) ((void)(p), (void)(n))
#define unpoison(p, n) ((void)(p), (void)(n))
#endif

#endif
