// The kernels of sequence models (package seq), beside those of kernels.cu, which
// compute their GRU, head and products of weights.
//
// A structure here has a twin of equal layout in ../sequence_abi.go.
#pragma once

// Column is where a number of a step's input comes from: of a token's row in its
// table, or where token is below 0 of the dense numbers.
struct Column {
  int token; // which of a step's
  int at;    // parameter where the column begins in the table
  int dim;   // of the table
  int dense; // which number
};

struct GatherArgs {
  const float *p;         // parameters
  const Column *columns;  // [in]
  const int *tokens;      // [rows,tokens]; -1 is a row of zeros
  const float *numbers;   // [rows,dense]
  float *x;               // [rows,in]
  int rows, in, tokens_, dense;
};

// gather makes the input of steps, a thread for each number.
KERNEL(256) gather(const GatherArgs a) {
  int e = blockX() * threads() + threadId(), row = e / a.in;
  if (row >= a.rows)
    return;
  const Column c = a.columns[e - row * a.in];
  if (c.token < 0) {
    a.x[e] = a.numbers[row * a.dense + c.dense];
    return;
  }
  int v = a.tokens[row * a.tokens_ + c.token];
  a.x[e] = v < 0 ? 0 : a.p[c.at + v * c.dim];
}

// Head is a categorical distribution: its logits in a row, and which of the pairs
// it is given.
struct Head {
  int begin, size, first, count;
};

// Given is an earlier head whose class adds a row of the table at to the logits.
struct Given {
  int head, at;
};

struct ClassArgs {
  const float *p;     // parameters
  const Head *heads;  // [heads]
  const Given *given;
  const int *values;  // [rows,heads]; -1 where not known
  const float *weight; // [rows,heads]
  float *y;            // [rows,width] logits, without what is given; becomes the gradient
  double *sums;        // [heads,blocks]
  int rows, heads_, width;
  float scale;
};

// classes computes the weighted cross-entropy of head blockIdx.y for WIDE rows, a
// thread for each:
//
//	z = y + Σ given;  loss = w · (logsumexp z - z[value]);  y = scale · w · (softmax z - onehot)
KERNEL(WIDE) classes(const ClassArgs a) {
  int h = blockY(), row = blockX() * WIDE + threadId();
  const Head head = a.heads[h];
  double loss = 0, none = 0;
  if (row < a.rows) {
    const int *values = a.values + row * a.heads_;
    float *y = a.y + row * a.width + head.begin;
    int v = values[h];
    float w = a.weight[row * a.heads_ + h];
    if (v < 0 || w == 0) {
      for (int c = 0; c < head.size; c++)
        y[c] = 0;
    } else {
      for (int k = 0; k < head.count; k++) {
        const Given g = a.given[head.first + k];
        int from = values[g.head];
        if (from < 0)
          continue;
        const float *add = a.p + g.at + from * head.size;
        for (int c = 0; c < head.size; c++)
          y[c] += add[c];
      }
      float top = y[0];
      for (int c = 1; c < head.size; c++)
        top = y[c] > top ? y[c] : top;
      double sum = 0, own = double(y[v]) - top;
      for (int c = 0; c < head.size; c++) {
        float e = exponential(y[c] - top);
        y[c] = e;
        sum += e;
      }
      loss = double(w) * (logarithm(sum) - own);
      float g = a.scale * w, norm = g * float(1 / sum);
      for (int c = 0; c < head.size; c++)
        y[c] = y[c] * norm - (c == v ? g : 0);
    }
  }
  total(loss, none);
  if (threadId() == 0)
    a.sums[h * ((a.rows + WIDE - 1) / WIDE) + blockX()] = loss;
}

// Rows is the gradient of a table's rows: what the rows with a class have in some
// columns of d.
struct Rows {
  GLOBAL const int *classes; // [rows,step], those at its first column; -1 is none
  GLOBAL const float *d;     // [rows,stride]
  int step, stride;
  int first; // element, counted over all tables
  int dim, at, pad;
};

struct ScatterArgs {
  const Rows *tables;
  float *partials; // [splits,params]
  int count, elements, rows, each, params, pad;
};

// scatter sums a split's rows of the tables' gradients, a thread for each number
// of a table.
KERNEL(256) scatter(const ScatterArgs a) {
  int e = blockX() * threads() + threadId();
  if (e >= a.elements)
    return;
  int i = 0;
  while (i + 1 < a.count && a.tables[i + 1].first <= e)
    i++;
  const Rows t = a.tables[i];
  e -= t.first;
  int v = e / t.dim, c = e - v * t.dim;
  const int *classes = global(t.classes);
  const float *d = global(t.d) + c;
  int q0 = blockY() * a.each, end = least(q0 + a.each, a.rows);
  float sum = 0;
  for (int q = q0; q < end; q++)
    if (classes[q * t.step] == v)
      sum += d[q * t.stride];
  a.partials[blockY() * a.params + t.at + e] = sum;
}

struct NormArgs {
  const float *grad; // [params]
  double *norm;      // [1]
  int params, pad;
};

// norm is that of all gradients taken as one.
KERNEL(WIDE) norm(const NormArgs a) {
  double sum = 0, none = 0;
  for (int i = threadId(); i < a.params; i += WIDE)
    sum += double(a.grad[i]) * a.grad[i];
  total(sum, none);
  if (threadId() == 0)
    *a.norm = __builtin_sqrt(sum);
}

struct UpdateArgs {
  const Control *control;
  const double *norm;        // [1]
  const float *grad, *decay; // [params]; decay is 1 where weights decay
  float *p, *m, *v, *average; // [params]
  double limit;               // of the norm; 0 is none
  float keep;                 // of decaying weights
  float step, root;           // rate/(1-β₁ᵗ), 1/√(1-β₂ᵗ)
  float towards;              // how far averages go
  int params, pad;
};

// adamw makes a step of AdamW (Loshchilov and Hutter 2019, algorithm 2) with
// clipped gradients, and moves the averages of the weights. Where a gradient was
// no number it does nothing.
KERNEL(256) adamw(const UpdateArgs a) {
  int i = blockX() * threads() + threadId();
  if (i >= a.params || a.control->bad != NONE)
    return;
  float g = a.grad[i];
  if (a.limit > 0 && *a.norm > a.limit)
    g *= float(a.limit / *a.norm);
  float p = a.p[i];
  if (a.decay[i] != 0)
    p *= a.keep;
  float m = .9f * a.m[i] + float(1 - .9) * g;
  float v = .999f * a.v[i] + float(1 - .999) * (g * g);
  a.m[i] = m;
  a.v[i] = v;
  p -= a.step * m / (__builtin_sqrtf(v) * a.root + 1e-8f);
  a.p[i] = p;
  a.average[i] += a.towards * (p - a.average[i]);
}

struct WeightArgs {
  const Head *heads; // [heads]
  float *y;          // [rows,width] logits; becomes e^(logit - the largest of its head)
  int rows, heads_, width, pad;
};

// weights are those of the classes of rows, a thread for each row and head.
KERNEL(256) weights(const WeightArgs a) {
  int e = blockX() * threads() + threadId(), row = e / a.heads_;
  if (row >= a.rows)
    return;
  const Head head = a.heads[e - row * a.heads_];
  float *y = a.y + row * a.width + head.begin;
  float top = y[0];
  for (int c = 1; c < head.size; c++)
    top = y[c] > top ? y[c] : top;
  for (int c = 0; c < head.size; c++)
    y[c] = exponential(y[c] - top);
}
