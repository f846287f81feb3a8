// Stands in for a host that forbids external buffers, such as Electron: preloaded, it answers the calls of a binary whose import was renamed.
#include <stddef.h>
#include <stdio.h>

static int refused;

int napi_create_external_arraybuffeR(void *env, void *data, size_t length, void *finalize, void *hint, void **result) {
  __atomic_add_fetch(&refused, 1, __ATOMIC_RELAXED);
  return 22; // napi_no_external_buffers_allowed
}

__attribute__((destructor)) static void tell(void) { fprintf(stderr, "refused %d external buffers\n", refused); }
