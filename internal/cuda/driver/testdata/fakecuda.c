// A libcuda.so.1 that does nothing but write down how it was called, with the
// prototypes of cuda.h: it shows that arguments arrive where C expects them.
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int R;
typedef int Dev;
typedef unsigned long long Ptr;
typedef struct handle *H;

static char record[1 << 16];
static size_t used;
static char fails[64];
static int code;
static uintptr_t next = 0x1000000000;

static R note(const char *name, const char *format, ...) {
  va_list ap;
  used += snprintf(record + used, sizeof record - used, "%s(", name);
  va_start(ap, format);
  used += vsnprintf(record + used, sizeof record - used, format, ap);
  va_end(ap);
  used += snprintf(record + used, sizeof record - used, ")\n");
  if (used > sizeof record - 4096) // nobody reads
    used = 0;
  return strcmp(name, fails) ? 0 : code;
}
static H fresh(void) { return (H)++next; }

// For the test: what was written since, and which function fails next.
int fake_take(char *to, size_t n) {
  size_t k = used < n ? used : n - 1;
  memcpy(to, record, k);
  to[k] = 0;
  used = 0;
  return (int)k;
}
int fake_fail(const char *name, int c) {
  snprintf(fails, sizeof fails, "%s", name);
  code = c;
  return 0;
}

R cuInit(unsigned flags) { return note("cuInit", "%u", flags); }
R cuDriverGetVersion(int *v) { return *v = 12040, note("cuDriverGetVersion", ""); }
R cuGetErrorName(R e, const char **s) { return *s = e == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OF_TEST", e == 77; }
R cuGetErrorString(R e, const char **s) { return *s = e == 2 ? "out of memory" : "made to fail", e == 77; }
R cuDeviceGetCount(int *n) { return *n = 3, note("cuDeviceGetCount", ""); }
R cuDeviceGet(Dev *d, int ordinal) { return *d = 40 + ordinal, note("cuDeviceGet", "%d", ordinal); }
R cuDeviceGetName(char *name, int len, Dev d) { return snprintf(name, len, "Fake GPU %d", d), note("cuDeviceGetName", "%d, %d", len, d); }
R cuDeviceTotalMem_v2(size_t *n, Dev d) { return *n = (size_t)85 << 30, note("cuDeviceTotalMem_v2", "%d", d); }
R cuDeviceGetAttribute(int *v, int a, Dev d) {
  *v = a == 75 ? 8 + d % 2 : a == 76 ? 6 : a == 16 ? 132 : a == 13 ? 1980000 : a == 97 ? 232448 : -1;
  if (a == 75 && d == 42) // the third is too old
    *v = 7;
  return note("cuDeviceGetAttribute", "%d, %d", a, d);
}
R cuDevicePrimaryCtxRetain(H *c, Dev d) { return *c = fresh(), note("cuDevicePrimaryCtxRetain", "%d", d); }
R cuDevicePrimaryCtxRelease_v2(Dev d) { return note("cuDevicePrimaryCtxRelease_v2", "%d", d); }
R cuCtxSetCurrent(H c) { return note("cuCtxSetCurrent", "%p", (void *)c); }
R cuModuleLoadDataEx(H *m, const void *image, unsigned n, int *o, void **v) {
  *m = fresh();
  R r = note("cuModuleLoadDataEx", "'%.40s', %u options: %d, %d=%zu", (const char *)image, n, o[0], o[1], (size_t)v[1]);
  if (r)
    snprintf(v[0], (size_t)v[1], "ptxas application ptx input, line 7; fatal : expected ';'\n");
  return r;
}
R cuModuleUnload(H m) { return note("cuModuleUnload", "%p", (void *)m); }
R cuModuleGetFunction(H *f, H m, const char *name) { return *f = fresh(), note("cuModuleGetFunction", "%p, '%s'", (void *)m, name); }
R cuFuncSetAttribute(H f, int a, int v) { return note("cuFuncSetAttribute", "%p, %d, %d", (void *)f, a, v); }
R cuFuncGetAttribute(int *v, int a, H f) { return *v = 1000 + a, note("cuFuncGetAttribute", "%d, %p", a, (void *)f); }
R cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, H f, int threads, size_t shared) {
  return *n = 6, note("cuOccupancyMaxActiveBlocksPerMultiprocessor", "%p, %d, %zu", (void *)f, threads, shared);
}
R cuMemAlloc_v2(Ptr *p, size_t n) { return *p = (Ptr)fresh(), note("cuMemAlloc_v2", "%zu", n); }
R cuMemFree_v2(Ptr p) { return note("cuMemFree_v2", "0x%llx", p); }
R cuMemHostAlloc(void **p, size_t n, unsigned flags) {
  R r = note("cuMemHostAlloc", "%zu, %u", n, flags);
  return *p = r ? NULL : calloc(n, 1), r;
}
R cuMemFreeHost(void *p) { return free(p), note("cuMemFreeHost", ""); }
R cuMemcpyHtoDAsync_v2(Ptr d, const void *s, size_t n, H st) {
  return note("cuMemcpyHtoDAsync_v2", "0x%llx, '%.*s', %zu, %p", d, (int)n, (const char *)s, n, (void *)st);
}
R cuMemcpyDtoHAsync_v2(void *d, Ptr s, size_t n, H st) {
  return memset(d, 'x', n), note("cuMemcpyDtoHAsync_v2", "0x%llx, %zu, %p", s, n, (void *)st);
}
R cuMemcpyDtoDAsync_v2(Ptr d, Ptr s, size_t n, H st) { return note("cuMemcpyDtoDAsync_v2", "0x%llx, 0x%llx, %zu, %p", d, s, n, (void *)st); }
R cuMemsetD8Async(Ptr d, unsigned char v, size_t n, H st) { return note("cuMemsetD8Async", "0x%llx, %d, %zu, %p", d, v, n, (void *)st); }
R cuStreamCreate(H *s, unsigned flags) { return *s = fresh(), note("cuStreamCreate", "%u", flags); }
R cuStreamDestroy_v2(H s) { return note("cuStreamDestroy_v2", "%p", (void *)s); }
R cuStreamSynchronize(H s) { return note("cuStreamSynchronize", "%p", (void *)s); }
R cuStreamWaitEvent(H s, H e, unsigned flags) { return note("cuStreamWaitEvent", "%p, %p, %u", (void *)s, (void *)e, flags); }
R cuStreamBeginCapture_v2(H s, int mode) { return note("cuStreamBeginCapture_v2", "%p, %d", (void *)s, mode); }
R cuStreamEndCapture(H s, H *g) { return *g = fresh(), note("cuStreamEndCapture", "%p", (void *)s); }
R cuEventCreate(H *e, unsigned flags) { return *e = fresh(), note("cuEventCreate", "%u", flags); }
R cuEventDestroy_v2(H e) { return note("cuEventDestroy_v2", "%p", (void *)e); }
R cuEventRecord(H e, H s) { return note("cuEventRecord", "%p, %p", (void *)e, (void *)s); }
R cuEventElapsedTime(float *ms, H a, H b) { return *ms = 1.25f, note("cuEventElapsedTime", "%p, %p", (void *)a, (void *)b); }
R cuLaunchKernel(H f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, H s, void **params,
                 void **extra) {
  // one parameter: a buffer of the caller's size, or (of another binding) where it lies, of which 16 bytes are read
  char hex[256] = "";
  size_t n = extra ? *(size_t *)extra[3] : 16;
  const unsigned char *arg = extra ? extra[1] : params[0];
  for (size_t i = 0; i < n && i < 100; i++)
    snprintf(hex + 2 * i, 3, "%02x", arg[i]);
  return note("cuLaunchKernel", "%p, %u %u %u, %u %u %u, %u, %p, %s, extra %zu %zu %zu: %s", (void *)f, gx, gy, gz, bx, by, bz, shared, (void *)s,
              params ? "params" : "no params", extra ? (size_t)extra[0] : 0, extra ? (size_t)extra[2] : 0, extra ? (size_t)extra[4] : 0, hex);
}
R cuGraphInstantiateWithFlags(H *e, H g, unsigned long long flags) { return *e = fresh(), note("cuGraphInstantiateWithFlags", "%p, %llu", (void *)g, flags); }
R cuGraphLaunch(H e, H s) { return note("cuGraphLaunch", "%p, %p", (void *)e, (void *)s); }
R cuGraphDestroy(H g) { return note("cuGraphDestroy", "%p", (void *)g); }
R cuGraphExecDestroy(H e) { return note("cuGraphExecDestroy", "%p", (void *)e); }
