"""The frozen figures of TestForest and TestDistances: spirals as in
eval_test.go, given on stdin as JSON, to scikit-learn's forest and scipy."""
import json
import sys

import scipy
import sklearn
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance
from sklearn.ensemble import RandomForestClassifier

print(scipy.__version__, sklearn.__version__)
print("jsd", jensenshannon([1, 2, 3, 0], [3, 1, 0, 4]) ** 2)
print("rank", jensenshannon([3, 2, 1], [4, 3, 1]) ** 2)
print("emd", wasserstein_distance([3, 0, 1, 1], [5, 6, 8]))
d = json.load(sys.stdin)
for seed in range(5):
    f = RandomForestClassifier(200, random_state=seed).fit(d["x"], d["y"])
    print(f.score(d["tx"], d["ty"]))
