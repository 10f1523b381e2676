// The kernels of TimeGAN. Arrays are row-major float32 and time-major,
// [T,B,F], as everywhere; what a row becomes depends on that row alone, and
// what rows share is summed in an order that no launch changes.
//
// A structure here has a twin of equal layout in ../abi.go.
#include "gpu.h"

extern __attribute__((shared, aligned(16))) float shared[];

// Control is what one update tells the next.
struct Control {
  u64 seed;
  int update; // the next one of the phase
  int slot;   // of the record that it writes
  int bad;    // first parameter whose gradient was no number, NONE before
  int learned[5]; // Adam's updates of each network
};
#define NONE 0x7fffffff

// ---- Drawing a batch -------------------------------------------------------

struct PrepareArgs {
  Control *control;
  const float *data, *dataValid, *limit; // [N,F], [N,V], [N]
  const int *second, *start, *bit;       // [N], [starts], [F]
  const float *median;                   // [F]
  float *x, *valid, *cond, *cells, *codes; // [T,B,F], [T,B,V], [T,B,C], [T,B,F], [T,B]
  float *z, *fake, *clock, *carry;         // [T,B,Z], [T,B,C], [B], [layers of all,B,H]
  u64 fresh; // a sequence starts anew where the first 53 bits are below
  int starts, T, B, F, V, C, Z, H, layers, turn, pick, round; // round -1: no noise
  int latent;
};

DEVICE void condition(float *dst, float limit, int second, int turn_) {
  dst[0] = limit;
  if (turn_ > 0) {
    double s, c;
    turn(double(second % turn_) / turn_, s, c);
    dst[1] = float(s);
    dst[2] = float(c);
  }
}

// prepare draws example blockIdx.x of an update and the noise beside it.
KERNEL(256) prepare(const PrepareArgs a) {
  SHARED int from, clock0, fresh;
  int b = blockX(), tid = threadId(), n = threads();
  u64 seed = a.control->seed;
  u32 update = a.control->update;
  Key noise = {seed, 3 * update + a.round, u32(b), 67};
  if (tid == 0) {
    Key order = {seed, update, u32(b), 66};
    from = a.start[below(order, a.pick, a.starts)];
    fresh = clock0 = 0;
    if (a.round >= 0) {
      fresh = a.latent || (update == 0 && a.round == 0) || number(noise, 0) >> 11 < a.fresh;
      int turn_ = a.turn > 0 ? a.turn : 1;
      clock0 = fresh ? int(float(below(noise, 0xffffffffu, turn_))) : int(a.clock[b]);
      a.clock[b] = float((clock0 + a.T) % turn_);
    }
  }
  barrier();
  for (int i = tid; i < a.T * a.F; i += n) {
    int t = i / a.F, f = i - t * a.F, bit = a.bit[f];
    int row = t * a.B + b;
    bool ok = bit < 0 || a.dataValid[(from + t) * a.V + bit] == 1;
    a.cells[row * a.F + f] = ok ? 1 : 0;
    int seen = t; // the last second in which the channel was measured
    while (!ok && --seen >= 0)
      ok = a.dataValid[(from + seen) * a.V + bit] == 1;
    a.x[row * a.F + f] = ok ? a.data[(from + seen) * a.F + f] : a.median[f];
  }
  for (int i = tid; i < a.T * a.V; i += n) {
    int t = i / a.V, v = i - t * a.V;
    a.valid[(t * a.B + b) * a.V + v] = a.dataValid[(from + t) * a.V + v];
  }
  for (int t = tid; t < a.T; t += n) {
    int row = t * a.B + b;
    bool some = false;
    for (int f = 0; f < a.F; f++) {
      int bit = a.bit[f];
      some = some || bit < 0 || a.dataValid[(from + t) * a.V + bit] == 1;
    }
    a.codes[row] = some ? 1 : 0;
    condition(a.cond + row * a.C, a.limit[from + t], a.second[from + t], a.turn);
    if (a.round >= 0)
      condition(a.fake + row * a.C, a.limit[from + t], clock0 + t, a.turn);
  }
  if (a.round < 0)
    return;
  int pairs = (a.Z + 1) / 2;
  for (int i = tid; i < a.T * pairs; i += n) {
    int t = i / pairs, j = i - t * pairs;
    double x, y;
    normal(noise, (1 + t) * pairs + j, x, y);
    float *z = a.z + (t * a.B + b) * a.Z + 2 * j;
    z[0] = float(x);
    if (2 * j + 1 < a.Z)
      z[1] = float(y);
  }
  if (fresh && !a.latent)
    for (int i = tid; i < a.layers * a.H; i += n) {
      int l = i / a.H;
      a.carry[(l * a.B + b) * a.H + i - l * a.H] = 0;
    }
}

// Draw is timegan.Draw.
struct Draw {
  u64 seed;
  u32 model, second, start;
  float told;
};

struct NoiseArgs {
  const Draw *draws; // [rows]
  float *z, *cond;   // [rows,Z], [rows,C]
  int rows, Z, C, turn;
};

// noise draws a rollout's second, a thread for each pair of numbers and one for
// the condition.
KERNEL(256) noise(const NoiseArgs a) {
  int pairs = (a.Z + 1) / 2, e = blockX() * threads() + threadId();
  int row = e / (pairs + 1), j = e - row * (pairs + 1);
  if (row >= a.rows)
    return;
  const Draw d = a.draws[row];
  if (j == pairs) {
    int second = a.turn > 0 ? int((u64(d.start) + d.second) % u32(a.turn)) : 0;
    condition(a.cond + row * a.C, d.told, second, a.turn);
    return;
  }
  Key key = {d.seed, 0, d.model, 68};
  double x, y;
  normal(key, (1 + d.second) * pairs + j, x, y);
  float *z = a.z + row * a.Z + 2 * j;
  z[0] = float(x);
  if (2 * j + 1 < a.Z)
    z[1] = float(y);
}

// ---- Networks --------------------------------------------------------------

// Part is some columns of a network's input.
struct Part {
  GLOBAL const float *p; // [T,B,width]
  int width, pad;
};

// Source is a summand of a gradient: the first columns of p, delayed by shift
// seconds, times weight; where sums are given, those of a mean square, times
// 2/count too, and as the gradient of weight·√(mean square) where root.
struct Source {
  GLOBAL const float *p; // [T,B,stride]
  GLOBAL const double *sums;
  int stride, shift, blocks, root;
  float weight;
  int pad;
};

// Pass is one application of a network, a stack of GRU layers and a dense
// layer, to [T,B] rows.
struct Pass {
  GLOBAL const float *w; // weights, per layer ih [3H,in], hh [3H,H], their biases; then the head's
  Part part[3];
  GLOBAL float *x;      // [T,B,in]
  GLOBAL float *h;      // [layers,T+1,B,H], the first the start
  GLOBAL float *gates;  // [layers,T,B,4H]: r, z, n, c; then the gradients before them
  GLOBAL float *y;      // [T,B,out]
  GLOBAL float *filled; // [T,B,out], y with the gaps of valid; 0 where not wanted
  GLOBAL float *carry;  // hidden states that it starts from and leaves; 0 starts from 0
  Source source[4];
  GLOBAL float *dy; // [T,B,out] gradient before the head's activation
  GLOBAL float *dh; // [T,B,H] scratch
  GLOBAL float *dx; // [T,B,in]; 0 where not wanted
  int in, out, layers, squash, sources;
  int carryRow, carryLayer; // strides
  int pad;
};

struct NetworkArgs {
  const Pass *pass;
  const float *valid;  // [T,B,V]
  const int *bit;      // [F]
  const float *median; // [F]
  const int *rows;     // of carry, [B]; 0: in order
  int first, split, count; // blocks of y 0 do passes first…split-1, of y 1 split…count-1
  int T, B, H, V, R;   // R rows a block
  int stage, weights;  // floats of shared memory: of rows, of weights
};

// Walk is the row and column of elements first, first+step … of rows of width:
// a division per loop, not per element.
struct Walk {
  int row, column, rows, columns, width;
};

DEVICE Walk walk(int first, int step, int width) {
  int row = first / width, rows = step / width;
  return {row, first - row * width, rows, step - rows * width, width};
}

DEVICE void next(Walk &w) {
  w.row += w.rows;
  w.column += w.columns;
  if (w.column >= w.width) {
    w.column -= w.width;
    w.row++;
  }
}

// indexes are the places of a group's rows: one array, however often affine is
// compiled into a kernel.
DEVICE int *indexes() {
  SHARED int index[32];
  return index;
}

// affine calls store(q, o, Σₖ x(q,k)·w(o,k)) for rows q and outputs o;
// q is given as at(q). Weights come to shared memory where they fit, rows in
// groups of up to 32.
template <bool FIT, class A, class X, class W, class S>
DEVICE void affineIn(int rows, int outs, int depth, float *stage, int room, float *weights, A at, X x, W w, S store) {
  int *index = indexes();
  int tid = threadId(), n = threads();
  int wide = (depth + 3) & ~3, stride = wide + 1; // odd: neighbours hit other banks
  barrier();
  if (FIT)
    for (Walk i = walk(tid, n, wide); i.row < outs; next(i))
      weights[i.row * stride + i.column] = i.column < depth ? w(i.row, i.column) : 0;
  int group = least(32, room / wide & ~3);
  Walk input = walk(tid, n, wide), item = walk(tid, n, outs);
  for (int q0 = 0; q0 < rows; q0 += group) {
    int here = least(group, rows - q0);
    if (tid < here)
      index[tid] = at(q0 + tid);
    barrier();
    for (Walk i = input; i.row < ((here + 3) & ~3); next(i))
      stage[i.row * wide + i.column] = i.row < here && i.column < depth ? x(index[i.row], i.column) : 0;
    barrier();
    for (Walk i = item; 4 * i.row < here; next(i)) {
      int q = 4 * i.row, o = i.column;
      const float *s = stage + q * wide, *u = weights + o * stride;
      float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
      for (int k = 0; k < wide; k += 4) {
        f4 v0 = *(const f4 *)(s + k), v1 = *(const f4 *)(s + wide + k);
        f4 v2 = *(const f4 *)(s + 2 * wide + k), v3 = *(const f4 *)(s + 3 * wide + k);
#pragma unroll
        for (int e = 0; e < 4; e++) {
          float c = FIT ? u[k + e] : k + e < depth ? w(o, k + e) : 0;
          s0 += c * v0[e];
          s1 += c * v1[e];
          s2 += c * v2[e];
          s3 += c * v3[e];
        }
      }
      store(index[q], o, s0);
      if (q + 1 < here) store(index[q + 1], o, s1);
      if (q + 2 < here) store(index[q + 2], o, s2);
      if (q + 3 < here) store(index[q + 3], o, s3);
    }
    barrier();
  }
}

template <class A, class X, class W, class S>
DEVICE void affine(const NetworkArgs &a, int rows, int outs, int depth, A at, X x, W w, S store) {
  float *weights = shared + a.stage;
  if (outs * (((depth + 3) & ~3) + 1) <= a.weights)
    affineIn<true>(rows, outs, depth, shared, a.stage, weights, at, x, w, store);
  else
    affineIn<false>(rows, outs, depth, shared, a.stage, weights, at, x, w, store);
}

// recur does the T dependent steps of a layer for n rows, a thread for each
// row and unit:
//
//	r = σ(gr + h·Ur + cr)   z = σ(gz + h·Uz + cz)   c = h·Un + cn
//	n = tanh(gn + r⊙c)      h' = (1-z)⊙n + z⊙h
//
// with g, the input's part, in gates.
template <bool FIT>
DEVICE void recur(const NetworkArgs &a, const float *u, const float *bias, float *gates, float *h, float *carry, int carryRow, int b0, int n) {
  int H = a.H, wide = (H + 3) & ~3, stride = wide + 1, tid = threadId();
  float *state = shared, *weights = shared + a.stage; // state [2,R,wide]
  if (FIT)
    for (Walk i = walk(tid, threads(), wide); i.row < 3 * H; next(i))
      weights[i.row * stride + i.column] = i.column < H ? u[i.row * H + i.column] : 0;
  for (int i = tid; i < 2 * a.R * wide; i += threads())
    state[i] = 0;
  barrier();
  int r = tid / H, j = tid - r * H, b = b0 + r;
  bool mine = r < n;
  float at = 0, g0 = 0, g1 = 0, g2 = 0, br = 0, bz = 0, bn = 0;
  float *own = 0;
  if (mine) {
    own = carry ? carry + (a.rows ? a.rows[b] : b) * carryRow + j : 0;
    at = own ? *own : 0;
    state[r * wide + j] = at;
    h[b * H + j] = at;
    const float *g = gates + b * 4 * H + j;
    g0 = g[0];
    g1 = g[H];
    g2 = g[2 * H];
    br = bias[j];
    bz = bias[H + j];
    bn = bias[2 * H + j];
  }
  const float *w0 = FIT ? weights + j * stride : u + j * H;
  const float *w1 = FIT ? w0 + H * stride : w0 + H * H, *w2 = FIT ? w1 + H * stride : w1 + H * H;
  barrier();
  for (int t = 0; t < a.T; t++) {
    if (mine) {
      float *g = gates + (t * a.B + b) * 4 * H + j;
      const float *s = state + ((t & 1) * a.R + r) * wide;
      float next0 = 0, next1 = 0, next2 = 0;
      if (t + 1 < a.T) { // asked for early: memory is far
        const float *next = g + a.B * 4 * H;
        next0 = next[0];
        next1 = next[H];
        next2 = next[2 * H];
      }
      float sr = g0 + br, sz = g1 + bz, c = bn;
      if (FIT)
        for (int k = 0; k < wide; k += 4) {
          f4 v = *(const f4 *)(s + k);
#pragma unroll
          for (int e = 0; e < 4; e++) {
            sr += w0[k + e] * v[e];
            sz += w1[k + e] * v[e];
            c += w2[k + e] * v[e];
          }
        }
      else
        for (int k = 0; k < H; k++) {
          sr += w0[k] * s[k];
          sz += w1[k] * s[k];
          c += w2[k] * s[k];
        }
      float rg = sigmoid(sr), zg = sigmoid(sz), ng = hyperbolic(g2 + rg * c);
      at = ng + zg * (at - ng);
      state[(((t + 1) & 1) * a.R + r) * wide + j] = at;
      g[0] = rg;
      g[H] = zg;
      g[2 * H] = ng;
      g[3 * H] = c;
      h[((t + 1) * a.B + b) * H + j] = at;
      g0 = next0;
      g1 = next1;
      g2 = next2;
    }
    barrier();
  }
  if (own)
    *own = at;
}

// layerSize is the parameters of a layer with so many inputs.
DEVICE int layerSize(int in, int H) { return 3 * H * (in + H + 2); }

// forward runs a chain of passes over all seconds of R rows.
KERNEL(512) forward(const NetworkArgs a) {
  int b0 = blockX() * a.R, n = least(a.R, a.B - b0), H = a.H, tid = threadId();
  int rows = a.T * n;
  int from = blockY() ? a.split : a.first, to = blockY() ? a.count : a.split;
  // at is row q, of those here, in an array of all
  auto at = [&](int q) { int t = q / n; return t * a.B + b0 + q - t * n; };
  for (int i = from; i < to; i++) {
    const Pass *p = a.pass + i;
    int in = p->in, out = p->out, layers = p->layers;
    float *x = global(p->x);
    for (int k = 0, column = 0; k < 3; k++) {
      const float *src = global(p->part[k].p);
      int width = p->part[k].width;
      if (width)
        for (Walk i = walk(tid, threads(), width); i.row < rows; next(i)) {
          int row = at(i.row);
          x[row * in + column + i.column] = src[row * width + i.column];
        }
      column += width;
    }
    const float *w = global(p->w);
    float *h = global(p->h), *gates = global(p->gates);
    for (int l = 0; l < layers; l++) {
      const float *u = w + 3 * H * in, *bi = u + 3 * H * H, *bh = bi + 3 * H;
      affine(a, rows, 3 * H, in, at, [&](int row, int k) { return x[row * in + k]; },
             [&](int o, int k) { return w[o * in + k]; },
             [&](int row, int o, float v) { gates[row * 4 * H + o] = v + bi[o]; });
      float *carry = p->carry ? global(p->carry) + l * p->carryLayer : 0;
      if (3 * H * (((H + 3) & ~3) + 1) <= a.weights)
        recur<true>(a, u, bh, gates, h, carry, p->carryRow, b0, n);
      else
        recur<false>(a, u, bh, gates, h, carry, p->carryRow, b0, n);
      w += layerSize(in, H);
      x = h + a.B * H;
      h += (a.T + 1) * a.B * H;
      gates += a.T * a.B * 4 * H;
      in = H;
    }
    float *y = global(p->y);
    bool squash = p->squash;
    affine(a, rows, out, H, at, [&](int row, int k) { return x[row * H + k]; },
           [&](int o, int k) { return w[o * H + k]; },
           [&](int row, int o, float v) {
             v += w[out * H + o];
             y[row * out + o] = squash ? sigmoid(v) : v;
           });
    float *filled = global(p->filled);
    if (filled)
      for (int i = tid; i < n * out; i += threads()) {
        int r = i / out, f = i - r * out, bit = a.bit[f];
        float last = a.median[f];
        for (int t = 0; t < a.T; t++) {
          int row = t * a.B + b0 + r;
          if (bit < 0 || a.valid[row * a.V + bit] == 1)
            last = y[row * out + f];
          filled[row * out + f] = last;
        }
      }
    barrier();
  }
}

// unroll does the T dependent steps of recur's backward, the last first. dh is
// the gradient of the layer's output; gates become the gradients before r, z,
// n and c.
template <bool FIT>
DEVICE void unroll(const NetworkArgs &a, const float *u, float *gates, const float *h, const float *dh, int b0, int n) {
  int H = a.H, depth = 3 * H, wide = (depth + 3) & ~3, stride = wide + 1, tid = threadId();
  float *state = shared, *weights = shared + a.stage; // state [2,R,wide]
  barrier();
  if (FIT)
    for (Walk i = walk(tid, threads(), H); i.row < wide; next(i))
      weights[i.column * stride + i.row] = i.row < depth ? u[i.row * H + i.column] : 0;
  for (int i = tid; i < 2 * a.R * wide; i += threads())
    state[i] = 0;
  barrier();
  int r = tid / H, j = tid - r * H, b = b0 + r;
  bool mine = r < n;
  float carry = 0;
  float rg = 0, zg = 0, ng = 0, c = 0, before = 0, dy = 0;
  auto load = [&](int t) {
    const float *g = gates + (t * a.B + b) * 4 * H + j;
    rg = g[0];
    zg = g[H];
    ng = g[2 * H];
    c = g[3 * H];
    before = h[(t * a.B + b) * H + j];
    dy = dh[(t * a.B + b) * H + j];
  };
  if (mine)
    load(a.T - 1);
  for (int t = a.T - 1; t >= 0; t--) {
    float *s = state + ((t & 1) * a.R + r) * wide;
    float keep = 0;
    if (mine) {
      float *g = gates + (t * a.B + b) * 4 * H + j;
      float d = dy + carry;
      float dn = d * (1 - zg) * (1 - ng * ng);
      float dz = d * (before - ng) * zg * (1 - zg);
      float dr = dn * c * rg * (1 - rg), dc = dn * rg;
      g[0] = dr;
      g[H] = dz;
      g[2 * H] = dn;
      g[3 * H] = dc;
      s[j] = dr;
      s[H + j] = dz;
      s[2 * H + j] = dc;
      keep = d * zg;
      if (t > 0)
        load(t - 1);
    }
    barrier();
    if (mine && t > 0) {
      float s0 = keep, s1 = 0, s2 = 0, s3 = 0;
      if (FIT) {
        const float *w = weights + j * stride;
        for (int k = 0; k < wide; k += 4) {
          f4 v = *(const f4 *)(s + k);
          s0 += w[k] * v[0];
          s1 += w[k + 1] * v[1];
          s2 += w[k + 2] * v[2];
          s3 += w[k + 3] * v[3];
        }
      } else
        for (int k = 0; k < depth; k++)
          s0 += u[k * H + j] * s[k];
      carry = s0 + s1 + (s2 + s3);
    }
  }
}

// weigh is what a source is multiplied by.
DEVICE float weigh(const Source &s) {
  if (!s.sums)
    return s.weight;
  double sum = 0, count = 0;
  for (int i = 0; i < s.blocks; i++) {
    sum += s.sums[2 * i];
    count += s.sums[2 * i + 1];
  }
  if (count == 0)
    return 0;
  double k = 2 * double(s.weight) / count;
  if (s.root) {
    double loss = sum / count;
    if (loss < 1e-12)
      loss = 1e-12;
    k *= .5 / __builtin_sqrt(loss);
  }
  return float(k);
}

// backward runs a chain of passes' gradients back over all seconds of R rows.
KERNEL(512) backward(const NetworkArgs a) {
  SHARED float scale[4];
  int b0 = blockX() * a.R, n = least(a.R, a.B - b0), H = a.H, tid = threadId();
  int rows = a.T * n;
  int from = blockY() ? a.split : a.first, to = blockY() ? a.count : a.split;
  auto at = [&](int q) { int t = q / n; return t * a.B + b0 + q - t * n; };
  for (int i = from; i < to; i++) {
    const Pass *p = a.pass + i;
    int in = p->in, out = p->out, sources = p->sources;
    const float *y = global(p->y);
    float *dy = global(p->dy), *dh = global(p->dh), *dx = global(p->dx);
    bool squash = p->squash, fill = p->filled != 0;
    if (tid < sources)
      scale[tid] = weigh(p->source[tid]);
    barrier();
    for (Walk i = walk(tid, threads(), out); i.row < rows; next(i)) {
      int o = i.column, row = at(i.row);
      float d = 0;
      for (int s = 0; s < sources; s++) {
        const Source *src = &p->source[s];
        int early = row - src->shift * a.B;
        if (early >= 0)
          d += scale[s] * global(src->p)[early * src->stride + o];
      }
      float v = y[row * out + o];
      dy[row * out + o] = squash && !fill ? d * v * (1 - v) : d;
    }
    barrier();
    if (fill) // the gradient of a filled cell is that of the one it shows
      for (int i = tid; i < n * out; i += threads()) {
        int r = i / out, f = i - r * out, bit = a.bit[f];
        float d = 0;
        for (int t = a.T - 1; t >= 0; t--) {
          int row = t * a.B + b0 + r;
          d += dy[row * out + f];
          bool ok = bit < 0 || a.valid[row * a.V + bit] == 1;
          float v = y[row * out + f];
          dy[row * out + f] = !ok ? 0 : squash ? d * v * (1 - v) : d;
          if (ok)
            d = 0;
        }
      }
    const float *w = global(p->w) + layerSize(in, H) + (p->layers - 1) * layerSize(H, H);
    affine(a, rows, H, out, at, [&](int row, int k) { return dy[row * out + k]; },
           [&](int o, int k) { return w[k * H + o]; },
           [&](int row, int o, float v) { dh[row * H + o] = v; });
    for (int l = p->layers - 1; l >= 0; l--) {
      int width = l ? H : in;
      w -= layerSize(width, H);
      const float *h = global(p->h) + l * (a.T + 1) * a.B * H, *u = w + 3 * H * width;
      float *gates = global(p->gates) + l * a.T * a.B * 4 * H;
      if (H * (((3 * H + 3) & ~3) + 1) <= a.weights)
        unroll<true>(a, u, gates, h, dh, b0, n);
      else
        unroll<false>(a, u, gates, h, dh, b0, n);
      float *dst = l ? dh : dx;
      if (dst)
        affine(a, rows, width, 3 * H, at, [&](int row, int k) { return gates[row * 4 * H + k]; },
               [&](int o, int k) { return w[k * width + o]; },
               [&](int row, int o, float v) { dst[row * width + o] = v; });
    }
    barrier();
  }
}

// ---- Gradients of weights --------------------------------------------------

// Product is a gradient aᵀb of weights [na,nb], and of their biases.
struct Product {
  GLOBAL const float *a; // [rows,lda]
  GLOBAL const float *b; // [rows,ldb]
  int lda, na, edge, gap; // columns from edge on lie gap further
  int ldb, nb;
  int weight, bias; // where they begin in the parameters
  int slot, pad;    // of partial sums
};

struct Tile {
  int product, i, j, pad; // a tile's first column of a and of b
};

struct ProductArgs {
  const Product *products;
  const Tile *tiles;
  float *partials; // [slots,splits,params]
  int rows, each, params; // each: rows of a split
};

// products sums a split's rows of a tile, 16×16 outputs.
KERNEL(64) products(const ProductArgs a) {
  __attribute__((shared, aligned(16))) static float left[32][16], right[32][16];
  int tid = threadId();
  const Tile tile = a.tiles[blockX()];
  const Product p = a.products[tile.product];
  int i = tile.i + tid / 8 * 2, j = tile.j + tid % 8 * 2;
  bool idle = i >= p.na || j > p.nb;
  float s00 = 0, s01 = 0, s10 = 0, s11 = 0;
  int q0 = blockY() * a.each, end = least(q0 + a.each, a.rows);
  int row = tid / 16, column = tid % 16, ci = tile.i + column, cj = tile.j + column;
  const float *x = global(p.a) + ci + (ci >= p.edge ? p.gap : 0), *y = global(p.b) + cj;
  for (; q0 < end; q0 += 32) {
#pragma unroll
    for (int e = 0; e < 8; e++) {
      int q = row + 4 * e;
      bool in = q0 + q < end;
      left[q][column] = in && ci < p.na ? x[(q0 + q) * p.lda] : 0;
      right[q][column] = !in || cj > p.nb ? 0 : cj == p.nb ? 1 : y[(q0 + q) * p.ldb];
    }
    barrier();
    if (!idle)
#pragma unroll 8
      for (int q = 0; q < 32; q++) {
        f2 l = *(const f2 *)&left[q][tid / 8 * 2], r = *(const f2 *)&right[q][tid % 8 * 2];
        s00 += l[0] * r[0];
        s01 += l[0] * r[1];
        s10 += l[1] * r[0];
        s11 += l[1] * r[1];
      }
    barrier();
  }
  int splits = (a.rows + a.each - 1) / a.each;
  float *dst = a.partials + (p.slot * splits + blockY()) * a.params;
  auto put = [&](int i, int j, float v) {
    if (i < p.na && j < p.nb)
      dst[p.weight + i * p.nb + j] = v;
    else if (i < p.na && j == p.nb)
      dst[p.bias + i] = v;
  };
  put(i, j, s00);
  put(i, j + 1, s01);
  put(i + 1, j, s10);
  put(i + 1, j + 1, s11);
}

// Range is the parameters of a network that learns.
struct Range {
  int from, count, slots, network; // slots of partial sums
};

struct LearnArgs {
  Control *control;
  const float *partials; // [slots,params]
  float *grad, *p, *m, *v; // [params]
  const double *gate;      // [gates]; nothing is learnt while their sum is below threshold
  double threshold, rate, fall; // the rate falls by fall·rate in of updates
  Range one, two;               // neighbours
  int params, gates, of;
  int before; // Adam's updates since control was written
};

// open says whether something is learnt.
DEVICE bool open(const LearnArgs &a) {
  double sum = 0;
  for (int i = 0; i < a.gates; i++)
    sum += a.gate[i];
  return !(a.gates && sum < a.threshold);
}

// gradient sums partial sums and finds what is no number.
KERNEL(256) gradient(const LearnArgs a) {
  SHARED int go;
  if (threadId() == 0)
    go = open(a);
  barrier();
  int i = blockX() * threads() + threadId();
  if (!go || i >= a.one.count + a.two.count)
    return;
  int slots = i < a.one.count ? a.one.slots : a.two.slots;
  i += a.one.from;
  float g = 0;
  for (int s = 0; s < slots; s++)
    g += a.partials[s * a.params + i];
  a.grad[i] = g;
  if (!(g - g == 0))
    __nvvm_atom_min_gen_i(&a.control->bad, i);
}

// power is bⁿ, a function of b and n alone.
DEVICE double power(double b, int n) {
  double p = 1;
  for (; n; n >>= 1, b *= b)
    if (n & 1)
      p *= b;
  return p;
}

// adam makes a step of Adam (Kingma and Ba 2015, β 0.9 and 0.999, ε 10⁻⁸).
KERNEL(256) adam(const LearnArgs a) {
  SHARED float step[2], root[2];
  SHARED int go;
  int tid = threadId();
  if (tid < 2) {
    int t = a.control->learned[tid ? a.two.network : a.one.network] + a.before + 1;
    double rate = a.rate * (1 - a.fall * a.control->update / a.of);
    step[tid] = float(rate / (1 - power(.9, t)));
    root[tid] = float(1 / __builtin_sqrt(1 - power(.999, t)));
    if (tid == 0)
      go = open(a) && a.control->bad == NONE;
  }
  barrier();
  int i = blockX() * threads() + tid;
  if (!go || i >= a.one.count + a.two.count)
    return;
  int k = i < a.one.count ? 0 : 1;
  i += a.one.from;
  float g = a.grad[i];
  float m = .9f * a.m[i] + float(1 - .9) * g;
  float v = .999f * a.v[i] + float(1 - .999) * (g * g);
  a.m[i] = m;
  a.v[i] = v;
  a.p[i] -= step[k] * m / (__builtin_sqrtf(v) * root[k] + 1e-8f);
}

// ---- Losses ----------------------------------------------------------------

enum { SQUARES, CROSS_ENTROPY, MOMENTS, CHANGES, COVARIANCES };

// Loss is one, by so many blocks; each leaves its part of the sum in sums.
struct Loss {
  GLOBAL const float *a;    // predicted or generated
  GLOBAL const float *b;    // target or real
  GLOBAL const float *mask; // of the cells or rows that count
  GLOBAL float *d;                  // gradient at a
  GLOBAL double *sums;              // [blocks]; of SQUARES [blocks,2], sum and count
  int kind, blocks, rows, width, each; // each: mask has a number for each column
  float weight, label;
  int pad;
};

struct LossArgs {
  const Loss *loss;
  const float *stats; // [F,3] of the real batch: mean, deviation, deviation of changes, floored
  int T, B, F, lag0, lag1, lag2, lag3, pad;
};

#define WIDE 128 // threads of a block of losses

// total sums v and w over a block, in an order of its own.
DEVICE void total(double &v, double &w) {
  SHARED double sums[2][WIDE];
  int tid = threadId();
  barrier();
  sums[0][tid] = v;
  sums[1][tid] = w;
  barrier();
  for (int half = WIDE / 2; half; half /= 2) {
    if (tid < half) {
      sums[0][tid] += sums[0][tid + half];
      sums[1][tid] += sums[1][tid + half];
    }
    barrier();
  }
  v = sums[0][0];
  w = sums[1][0];
}

// moments gives mean and deviation² of x(i) and y(i), i < n.
template <class X, class Y>
DEVICE void moments(int n, X x, Y y, double &mx, double &vx, double &my, double &vy) {
  mx = my = vx = vy = 0;
  for (int i = threadId(); i < n; i += WIDE) {
    mx += x(i);
    my += y(i);
  }
  total(mx, my);
  mx /= n;
  my /= n;
  for (int i = threadId(); i < n; i += WIDE) {
    double d = x(i) - mx, e = y(i) - my;
    vx += d * d;
    vy += e * e;
  }
  total(vx, vy);
  vx /= n;
  vy /= n;
}

DEVICE double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }
DEVICE double size(double x) { return x < 0 ? -x : x; }

// stats are those of channel blockIdx.x of the real batch x [T,B,F].
struct StatsArgs {
  const float *x;
  float *stats; // [F,3]
  int T, B, F, pad;
};

KERNEL(WIDE) stats(const StatsArgs a) {
  const float floor = .02f;
  int f = blockX(), F = a.F, step = a.B * F;
  const float *x = a.x + f;
  int n = a.T * a.B, moves = n - a.B;
  double mean, var, deltaMean, deltaVar, other, otherVar;
  moments(n, [&](int i) { return double(x[i * F]); }, [](int) { return 0.; }, mean, var, other, otherVar);
  moments(moves, [&](int i) { return double(x[i * F + step] - x[i * F]); }, [](int) { return 0.; }, deltaMean, deltaVar, other, otherVar);
  if (threadId() == 0) {
    a.stats[3 * f] = float(mean);
    a.stats[3 * f + 1] = float(__builtin_sqrt(var)) + floor;
    a.stats[3 * f + 2] = float(__builtin_sqrt(deltaVar)) + floor;
  }
}

DEVICE int lag(const LossArgs &a, int l) { return l == 0 ? a.lag0 : l == 1 ? a.lag1 : l == 2 ? a.lag2 : a.lag3; }

// losses computes block blockIdx.x of loss blockIdx.y.
KERNEL(WIDE) losses(const LossArgs a) {
  const Loss l = a.loss[blockY()];
  int block = blockX(), tid = threadId();
  if (block >= l.blocks)
    return;
  double sum = 0, count = 0;
  switch (l.kind) {
  case SQUARES: { // Σ (a-b)² and how many, where mask is set
    int n = l.rows * l.width, each = (n + l.blocks - 1) / l.blocks, end = least(n, (block + 1) * each);
    for (int i = block * each + tid; i < end; i += WIDE) {
      float m = l.mask[l.each ? i : i / l.width], d = m ? l.a[i] - l.b[i] : 0;
      l.d[i] = d;
      sum += double(d) * d;
      count += m;
    }
    total(sum, count);
    break;
  }
  case CROSS_ENTROPY: { // of σ(a) against one label: mean(max(x,0) - x·label + log(1+e^-|x|))
    int each = (l.rows + l.blocks - 1) / l.blocks, end = least(l.rows, (block + 1) * each);
    double w = double(l.weight) / l.rows;
    for (int i = block * each + tid; i < end; i += WIDE) {
      float x = l.a[i];
      double e = exponential(x < 0 ? x : -x);
      sum += w * ((x < 0 ? 0 : x) - double(x) * l.label + logarithm(1 + e));
      l.d[i] = float(w * ((x < 0 ? e : 1) / (1 + e) - l.label));
    }
    total(sum, count);
    break;
  }
  case MOMENTS: { // of a channel in one second, over the rows
    int t = block / a.F, f = block - t * a.F, F = a.F;
    const float *x = global(l.a) + t * a.B * F + f, *y = global(l.b) + t * a.B * F + f;
    double mx, vx, my, vy;
    moments(a.B, [&](int i) { return double(x[i * F]); }, [&](int i) { return double(y[i * F]); }, mx, vx, my, vy);
    double sx = __builtin_sqrt(vx + 1e-6), sy = __builtin_sqrt(vy + 1e-6), w = double(l.weight) / l.blocks;
    sum = (size(sx - sy) + size(mx - my)) / l.blocks;
    double slope = sign(sx - sy) * w / (a.B * sx), shift = sign(mx - my) * w / a.B;
    for (int i = tid; i < a.B; i += WIDE)
      l.d[t * a.B * F + f + i * F] = float(slope * (x[i * F] - mx) + shift);
    break;
  }
  case CHANGES: { // of a channel's changes over all seconds, on the scale of the real ones
    int f = block, F = a.F, step = a.B * F, n = (a.T - 1) * a.B;
    const float *x = global(l.a) + f, *y = global(l.b) + f;
    float sd = a.stats[3 * f + 2];
    auto dx = [&](int i) { return (x[i * F + step] - x[i * F]) / sd; };
    double mx, vx, my, vy;
    moments(n, [&](int i) { return double(dx(i)); }, [&](int i) { return double((y[i * F + step] - y[i * F]) / sd); }, mx, vx, my, vy);
    double sx = __builtin_sqrt(vx + 1e-6), sy = __builtin_sqrt(vy + 1e-6), w = double(l.weight) / F;
    sum = (size(sx - sy) + size(mx - my)) / F;
    double slope = sign(sx - sy) * w / (n * sx), shift = sign(mx - my) * w / n;
    auto d = [&](int i) { return float(slope * (dx(i) - mx) + shift) / sd; };
    for (int i = tid; i < a.T * a.B; i += WIDE) {
      float g = 0;
      if (i >= a.B)
        g += d(i - a.B);
      if (i < n)
        g -= d(i);
      l.d[i * F + f] = g;
    }
    break;
  }
  case COVARIANCES: { // of channels i and j, seconds apart: d [4,F,F] becomes the gradient of each product
    int F = a.F, k = block / (F * F), i = block / F % F, j = block % F;
    int apart = lag(a, k), n = (a.T - apart) * a.B, far = apart * a.B;
    float mi = a.stats[3 * i], si = a.stats[3 * i + 1], mj = a.stats[3 * j], sj = a.stats[3 * j + 1];
    for (int q = tid; q < n; q += WIDE) {
      sum += double((l.a[q * F + i] - mi) / si) * ((l.a[(q + far) * F + j] - mj) / sj);
      count += double((l.b[q * F + i] - mi) / si) * ((l.b[(q + far) * F + j] - mj) / sj);
    }
    total(sum, count);
    if (n > 0 && tid == 0) {
      float p = float(sum) - float(count), w = float(double(l.weight) / l.blocks / n);
      l.d[block] = p > 0 ? w : p < 0 ? -w : p;
      sum = size(double(p)) / n / l.blocks;
    } else {
      if (tid == 0)
        l.d[block] = 0;
      sum = 0;
    }
    break;
  }
  }
  if (tid == 0) {
    if (l.kind == SQUARES) {
      l.sums[2 * block] = sum;
      l.sums[2 * block + 1] = count;
    } else
      l.sums[block] = sum;
  }
}

struct SpreadArgs {
  const float *x, *stats, *products; // [T,B,F], [F,3], [4,F,F] as COVARIANCES leaves them
  float *d;                          // [T,B,F] gradient at x
  int T, B, F, lag0, lag1, lag2, lag3, pad;
};

// spread gives the gradient of the covariances to the channels.
KERNEL(256) spread(const SpreadArgs a) {
  int e = blockX() * threads() + threadId(), F = a.F, step = a.B * F;
  if (e >= a.T * step)
    return;
  int t = e / step, i = e % F, row = e - i;
  float d = 0;
#pragma unroll
  for (int l = 0; l < 4; l++) {
    int apart = l == 0 ? a.lag0 : l == 1 ? a.lag1 : l == 2 ? a.lag2 : a.lag3;
    const float *p = a.products + l * F * F;
    bool ahead = t + apart < a.T, behind = t >= apart;
    for (int j = 0; j < F; j++) {
      float m = a.stats[3 * j], s = a.stats[3 * j + 1];
      if (ahead)
        d += p[i * F + j] * ((a.x[row + apart * step + j] - m) / s);
      if (behind)
        d += p[j * F + i] * ((a.x[row - apart * step + j] - m) / s);
    }
  }
  a.d[e] = d / a.stats[3 * i + 1];
}

// ---- The end of an update --------------------------------------------------

// Sum is a loss of the record: of mean squares the sum over the count, else
// the sum.
struct Sum {
  GLOBAL const double *sums;
  int n, mean, into, pad;
};

struct Record {
  float loss[7];
  int bad;
};

struct FinishArgs {
  Control *control;
  const Sum *sum;
  Record *records;
  const double *gate;
  double threshold;
  int count, gates;
  int learned0, learned1, learned2, learned3, learned4; // Adam's updates of each network in this one
  int gated;                                             // the network that gate is for, -1 none
};

// finish writes what an update lost and says that it is done.
KERNEL(WIDE) finish(const FinishArgs a) {
  Record *r = a.records + a.control->slot;
  for (int i = 0; i < a.count; i++) {
    const Sum s = a.sum[i];
    double v = 0, n = 0;
    for (int k = threadId(); k < s.n; k += WIDE) {
      v += s.sums[s.mean ? 2 * k : k];
      if (s.mean)
        n += s.sums[2 * k + 1];
    }
    total(v, n);
    if (threadId() == 0)
      r->loss[s.into] = float(s.mean ? n > 0 ? v / n : 0 : v);
  }
  if (threadId() != 0)
    return;
  Control *c = a.control;
  r->bad = c->bad;
  c->slot++;
  if (c->bad != NONE)
    return;
  double sum = 0;
  for (int i = 0; i < a.gates; i++)
    sum += a.gate[i];
  bool open = !(a.gates && sum < a.threshold);
  c->update++;
  c->learned[0] += a.gated == 0 && !open ? 0 : a.learned0;
  c->learned[1] += a.gated == 1 && !open ? 0 : a.learned1;
  c->learned[2] += a.gated == 2 && !open ? 0 : a.learned2;
  c->learned[3] += a.gated == 3 && !open ? 0 : a.learned3;
  c->learned[4] += a.gated == 4 && !open ? 0 : a.learned4;
}

// ---- Sequence models -------------------------------------------------------

#include "sequence.h"
