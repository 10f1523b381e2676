// Kernels of the engine's style and some of others', for the interpreter's tests.
#define KERNEL extern "C" __attribute__((global)) void
#define DEVICE static inline __attribute__((device, always_inline))
#define SHARED static __attribute__((shared))

typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f2 __attribute__((ext_vector_type(2)));
typedef float f4 __attribute__((ext_vector_type(4)));

struct P {
  const float *x, *w;
  float *h, *out;
  int T, B, I;
  float eps;
  const unsigned char *mask;
  u64 seed;
  u32 *count;
  double *d;
  const f4 *v;
  f2 *z;
};

DEVICE u32 tid() { return __nvvm_read_ptx_sreg_tid_x(); }
DEVICE u32 bid() { return __nvvm_read_ptx_sreg_ctaid_x(); }
DEVICE u32 threads() { return __nvvm_read_ptx_sreg_ntid_x(); }
DEVICE float rcp(float x) { return __nvvm_rcp_approx_ftz_f(x); }
DEVICE float sigmoid(float x) { return rcp(1.f + __nvvm_ex2_approx_f(-1.4426950408889634f * x)); }
DEVICE float tanhApprox(float x) {
  float y;
  asm("{ .reg .f32 t;\n\t mov.f32 t, %1;\n\t tanh.approx.f32 %0, t; }" : "=f"(y) : "f"(x));
  return y;
}
DEVICE float butterfly(float v) {
  for (int o = 16; o; o >>= 1)
    v += __nvvm_shfl_sync_bfly_f32(0xffffffffu, v, o, 31);
  return v;
}

extern __attribute__((shared)) float dynamic[];

// 8 sequences of a GRU of 24 per block, over T steps; masked steps keep h.
KERNEL gru(P p) {
  const int H = 24;
  float *w = dynamic, *h = dynamic + 72 * H;
  for (u32 i = tid(); i < 72 * H; i += threads())
    w[i] = p.w[i];
  int r = tid() / H, j = tid() % H;
  h[tid()] = 0;
  __nvvm_bar_sync(0);
  for (int t = 0; t < p.T; t++) {
    float a = 0, b = 0, c = 0;
    for (int k = 0; k < H; k++) {
      float v = h[r * H + k];
      a = __builtin_fmaf(v, w[k * 72 + j], a);
      b = __builtin_fmaf(v, w[k * 72 + H + j], b);
      c = __builtin_fmaf(v, w[k * 72 + 2 * H + j], c);
    }
    float x = p.x[(t * p.B + bid() * 8 + r) * p.I];
    float z = sigmoid(a + x), n = tanhApprox(c * sigmoid(b + x) + x);
    float next = z * h[tid()] + (1 - z) * n;
    if (p.mask && !p.mask[t])
      next = h[tid()];
    __nvvm_bar_sync(0);
    h[tid()] = next;
    __nvvm_bar_sync(0);
    p.h[(t * p.B + bid() * 8 + r) * H + j] = next;
  }
}

// Sum of x by shuffles and static shared memory; IEEE division and root.
KERNEL reduce(P p) {
  SHARED float s[32];
  float v = 0;
  for (u32 i = tid(); i < p.T; i += threads())
    v += p.x[i];
  v = butterfly(v);
  if (tid() % 32 == 0)
    s[tid() / 32] = v;
  __nvvm_bar_sync(0);
  if (tid() < 32) {
    v = butterfly(tid() < threads() / 32 ? s[tid()] : 0);
    if (tid() == 0)
      p.out[bid()] = v / p.eps + __builtin_sqrtf(v);
  }
}

// Philox4x32-10 (Salmon et al. 2011) of counter (i,0,0,0): words, and numbers.
KERNEL philox(P p) {
  u32 i = bid() * threads() + tid();
  u32 a = i, b = 0, c = 0, d = 0, k = p.seed, l = p.seed >> 32;
  for (int r = 0; r < 10; r++) {
    u64 x = (u64)a * 0xD2511F53u, y = (u64)c * 0xCD9E8D57u;
    u32 e = (u32)(y >> 32) ^ b ^ k, f = (u32)(x >> 32) ^ d ^ l;
    b = (u32)y, d = (u32)x, a = e, c = f;
    k += 0x9E3779B9u, l += 0xBB67AE85u;
  }
  p.count[4 * i] = a, p.count[4 * i + 1] = b, p.count[4 * i + 2] = c, p.count[4 * i + 3] = d;
  f4 o = {(a >> 8) * 5.9604645e-8f, (float)b, (float)(int)c, (float)((u64)d << 20)};
  ((f4 *)p.out)[i] = o;
}

// Integers: quotients, bits, votes, atomics.
KERNEL integers(P p) {
  int i = bid() * threads() + tid();
  int a = i * 7 - 50, n = p.T;
  u32 *o = p.count + 12 * i;
  o[0] = a / n;
  o[1] = a % n;
  o[2] = (u32)a / (u32)n;
  o[3] = (a < 0 ? -a : a) + (a < n ? a : n);
  o[4] = __builtin_popcount(a) + 64 * __builtin_clz(a | 1);
  o[5] = (u32)(((long long)a * p.B) >> 32);
  o[6] = (u32)((u64)p.seed * i >> 40);
  o[7] = (u32)((long long)(p.seed + i) % (n + 1));
  o[8] = __nvvm_vote_ballot_sync(0xffffffffu, a > 0);
  o[9] = __nvvm_vote_any_sync(0xffffffffu, a > 120) + 2 * __nvvm_vote_all_sync(0xffffffffu, a > -51);
  o[10] = __builtin_bitreverse32(a) ^ __builtin_bswap32(a);
  o[11] = (a << (i & 31)) | ((u32)a >> (i & 31));
  if (p.mask[i])
    __nvvm_atom_add_gen_i((int *)p.out, 1);
}

// Floats: vectors, conversions, rounding, float64, a local array, a switch.
KERNEL floats(P p) {
  int i = bid() * threads() + tid();
  f4 v = p.v[i];
  f2 z = p.z[i];
  float m = __builtin_fminf(v.x > v.y ? v.x : v.y, z.x);
  double d = p.d[i] * m + 1;
  p.d[i] = d < 0 ? -d : d;
  float a[8];
  for (int k = 0; k < 8; k++)
    a[k] = v.z * k;
  float s = a[p.T & 7] + a[i & 7];
  switch (i % 5) {
  case 0: s += 1; break;
  case 1: s = -s; break;
  case 2: s *= v.w; break;
  case 3: s = z.y; break;
  }
  float *o = p.out + 8 * i;
  o[0] = __builtin_floorf(v.x) + __builtin_rintf(v.y) * 100;
  o[1] = (float)(int)v.z;
  o[2] = (float)(u32)(v.w * v.w);
  o[3] = (float)(long long)d;
  o[4] = m;
  o[5] = s;
  o[6] = (float)(d / 3);
  o[7] = __builtin_sqrtf(z.x * z.x) / p.eps;
  p.z[i] = z.yx;
}
