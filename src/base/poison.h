#ifndef BASE_POISON_H
#define BASE_POISON_H

/*
 * Under AddressSanitizer; nothing otherwise.
 *
 * poison(): bytes that nobody may touch until unpoison(). reachable(): what these bytes, which did not come
 * from malloc(), point to is not leaked; until unreachable().
 */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define POISONING 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(POISONING)
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#define poison(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define unpoison(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#define reachable(p, n) __lsan_register_root_region(p, n)
#define unreachable(p, n) __lsan_unregister_root_region(p, n)
#else
#define poison(p, n) ((void)(p), (void)(n))
#define unpoison(p, n) ((void)(p), (void)(n))
#define reachable(p, n) ((void)(p), (void)(n))
#define unreachable(p, n) ((void)(p), (void)(n))
#endif

#endif
