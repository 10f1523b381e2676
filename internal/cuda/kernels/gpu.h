// The little of CUDA that the kernels use, for clang without NVIDIA's toolkit.
#pragma once

// KERNEL is one of blocks of up to so many threads.
#define KERNEL(threads) extern "C" __attribute__((global, launch_bounds(threads, 1))) void
#define DEVICE static inline __attribute__((device, always_inline))
#define SHARED static __attribute__((shared))

typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f4 __attribute__((ext_vector_type(4)));
typedef float f2 __attribute__((ext_vector_type(2)));

DEVICE int threadId() { return __nvvm_read_ptx_sreg_tid_x(); }
DEVICE int threads() { return __nvvm_read_ptx_sreg_ntid_x(); }
DEVICE int blockX() { return __nvvm_read_ptx_sreg_ctaid_x(); }
DEVICE int blockY() { return __nvvm_read_ptx_sreg_ctaid_y(); }
DEVICE void barrier() { __syncthreads(); }

// GLOBAL is of what pointers found in memory point to: that it is not shared
// memory makes loads cheaper, and the compiler cannot know. global forgets it.
#define GLOBAL __attribute__((address_space(1)))
template <class T> DEVICE T *global(GLOBAL T *p) { return (T *)p; }

template <class N> DEVICE N least(N a, N b) { return a < b ? a : b; }

// exp2 and inverse are the hardware's: 2 and 1 units in the last place.
DEVICE float exp2(float x) {
  float y;
  asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
DEVICE float inverse(float x) {
  float y;
  asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// exponential is e^x, within |x|·10⁻⁷ + 3·10⁻⁷ of it, relatively.
DEVICE float exponential(float x) { return exp2(x * 1.442695041f); }

// sigmoid is 1/(1+e⁻ˣ), within 4·10⁻⁷ absolute; 0 and 1 at the ends.
DEVICE float sigmoid(float x) { return inverse(1 + exponential(-x)); }

// hyperbolic is tanh(x), within 4·10⁻⁷ absolute, 10⁻⁶ relative: its series to
// x¹³ near 0, where 1 - 2/(1+e²ˣ) would cancel.
DEVICE float hyperbolic(float x) {
  float s = x * x;
  float near = x + x * s * (-.33333333f + s * (.13333333f + s * (-.053968254f + s * (.021869489f + s * (-.0088632355f + s * .0035921280f)))));
  float far = 1 - 2 * inverse(1 + exponential(2 * x));
  return s < .2f ? near : far;
}

// logarithm is ln(x) of a positive, normal x, to 10⁻¹³.
DEVICE double logarithm(double x) {
  u64 bits = __builtin_bit_cast(u64, x);
  int e = int(bits >> 52) - 1023;
  double m = __builtin_bit_cast(double, (bits & 0xfffffffffffffull) | 0x3ff0000000000000ull);
  if (m > 1.4142135623730951) {
    m *= .5;
    e++;
  }
  double s = (m - 1) / (m + 1), q = s * s;
  double sum = 1. / 17;
  sum = sum * q + 1. / 15;
  sum = sum * q + 1. / 13;
  sum = sum * q + 1. / 11;
  sum = sum * q + 1. / 9;
  sum = sum * q + 1. / 7;
  sum = sum * q + 1. / 5;
  sum = sum * q + 1. / 3;
  return e * .6931471805599453 + 2 * (s + s * q * sum);
}

// turn gives sin and cos of 2πv, v in [0, 1], to 10⁻¹².
DEVICE void turn(double v, double &sin, double &cos) {
  int quarter = int(4 * v + .5);
  double x = 6.283185307179586 * (v - .25 * quarter), q = x * x;
  double s = x * (1 + q * (-1. / 6 + q * (1. / 120 + q * (-1. / 5040 + q * (1. / 362880 + q * (-1. / 39916800))))));
  double c = 1 + q * (-.5 + q * (1. / 24 + q * (-1. / 720 + q * (1. / 40320 + q * (-1. / 3628800 + q * (1. / 479001600))))));
  bool odd = quarter & 1, back = quarter & 2;
  sin = odd ? c : s;
  cos = odd ? -s : c;
  if (back) {
    sin = -sin;
    cos = -cos;
  }
}

struct Words {
  u32 a, b, c, d;
};

// philox is a block of Philox4x32-10, as package rng has it.
DEVICE Words philox(u32 a, u32 b, u32 c, u32 d, u64 seed) {
  u32 k = u32(seed), l = u32(seed >> 32);
#pragma unroll
  for (int i = 0; i < 10; i++) {
    u64 x = u64(a) * 0xD2511F53u, y = u64(c) * 0xCD9E8D57u;
    a = u32(y >> 32) ^ b ^ k;
    c = u32(x >> 32) ^ d ^ l;
    b = u32(y);
    d = u32(x);
    k += 0x9E3779B9u;
    l += 0xBB67AE85u;
  }
  return {a, b, c, d};
}

// Key is rng.Key.
struct Key {
  u64 seed;
  u32 a, b, purpose;
};

DEVICE Words block(const Key &k, u32 i) { return philox(i, k.b, k.a, k.purpose, k.seed); }

DEVICE u64 number(const Key &k, u32 i) {
  Words w = block(k, i / 2);
  return i % 2 ? u64(w.c) | u64(w.d) << 32 : u64(w.a) | u64(w.b) << 32;
}

// below is Key.Intn.
DEVICE int below(const Key &k, u32 i, int n) {
  u64 u = number(k, i);
  u64 low = (u & 0xffffffffull) * u64(n);
  return int(((u >> 32) * u64(n) + (low >> 32)) >> 32);
}

// normal is Key.Normal, in float64.
DEVICE void normal(const Key &k, u32 i, double &x, double &y) {
  Words w = block(k, i);
  const double unit = 1.1102230246251565e-16; // 2⁻⁵³
  double u = 1 - double((u64(w.a) | u64(w.b) << 32) >> 11) * unit;
  double v = double((u64(w.c) | u64(w.d) << 32) >> 11) * unit;
  double r = __builtin_sqrt(-2 * logarithm(u)), s, c;
  turn(v, s, c);
  x = r * c;
  y = r * s;
}
