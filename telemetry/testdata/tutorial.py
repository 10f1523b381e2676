#!/usr/bin/env python3
"""The published preprocessing of int_raw_poc.csv in numpy, independently of the Go code.

    tutorial.py int_raw_poc.csv

Prints the golden numbers of TestTutorialReal and TestJoinReal. Made with numpy 2.4.6.
"""
import sys
import numpy as np

with open(sys.argv[1]) as f:
    head = [h.strip() for h in f.readline().split(",")]
    x = np.array([[float(v) for v in line.split(",")] for line in f])
names = [f"{k}{n}" for n in (1, 2, 3) for k in ("enq_qdepth", "deq_timedelta", "deq_qdepth")]
second = x[:, head.index("timestamp")].astype(int)
x = x[:, [head.index(n) for n in names]]

seconds = np.unique(second)
groups = [x[second == s] for s in seconds]
worst = np.array([g[np.argmax(g[:, 1])] for g in groups])
print("seconds", len(seconds), "of", seconds[-1] - seconds[0] + 1)
for name, rows in dict(
    worst=worst,
    max=np.array([g.max(0) for g in groups]),
    mean=np.array([g.mean(0) for g in groups]),
    p95=np.array([np.percentile(g, 95, axis=0) for g in groups]),
    count=np.array([[len(g)] * 3 for g in groups]),
).items():
    print(name, "sum", [float(v) for v in rows.sum(0)])

rows, left = worst, [len(worst)]
for c in range(rows.shape[1]):
    q1, q3 = np.percentile(rows[:, c], [25, 75])
    iqr = q3 - q1
    rows = rows[(rows[:, c] >= q1 - 1.5 * iqr) & (rows[:, c] <= q3 + 1.5 * iqr)]
    left.append(len(rows))
print("rows after each column", left)
print("sums", [float(v) for v in rows.sum(0)])
print("largest", [float(v) for v in rows.max(0)])
print("first", rows[0].tolist())
print("last", rows[-1].tolist())
