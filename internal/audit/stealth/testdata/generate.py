"""Reference figures for the statistics, from SciPy and scikit-learn.

    python3 -m venv v && v/bin/pip install scipy==1.16.3 scikit-learn==1.7.2 numpy==2.4.6
    v/bin/python internal/audit/stealth/testdata/generate.py > internal/audit/stealth/testdata/scipy.json
"""
import json
import sys

import numpy as np
import scipy
import sklearn
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

random = np.random.default_rng(7)


def rounded(x):
    return [float(v) for v in np.round(x, 4)]


def pairs():
    yield "same", random.normal(100, 10, 40), random.normal(100, 10, 55)
    yield "shifted", random.normal(108, 10, 30), random.normal(100, 10, 50)
    yield "skewed", random.lognormal(3, 0.5, 60), random.lognormal(3.1, 0.9, 25)
    yield "ties", random.integers(0, 6, 50).astype(float), random.integers(1, 7, 45).astype(float)
    yield "close", random.normal(100, 2, 120), random.normal(100.5, 2, 150)


def compared(name, x, y):
    x, y = np.array(rounded(x)), np.array(rounded(y))
    ks = stats.ks_2samp(x, y, method="asymp")
    u = stats.mannwhitneyu(x, y, method="asymptotic", use_continuity=True)
    margin = 0.05 * abs(np.median(y))
    low = stats.mannwhitneyu(x + margin, y, alternative="greater", method="asymptotic")
    high = stats.mannwhitneyu(x - margin, y, alternative="less", method="asymptotic")
    labels = np.r_[np.ones(len(x)), np.zeros(len(y))]
    n, m = len(x), len(y)
    return {
        "name": name, "x": rounded(x), "y": rounded(y), "median_x": float(np.median(x)), "median_y": float(np.median(y)),
        "ks": float(ks.statistic), "ks_p": float(stats.kstwobign.sf(ks.statistic * np.sqrt(n * m / (n + m)))),
        "u": float(u.statistic), "u_p": float(u.pvalue), "auc": float(roc_auc_score(labels, np.r_[x, y])),
        "shift": float(np.median(np.subtract.outer(x, y))), "margin": float(margin), "tost": float(max(low.pvalue, high.pvalue)),
    }


def classified():
    rows = random.normal(0, 1, (80, 4)) * [1, 20, 0.1, 3] + [0, 50, 1, -2]
    rows = np.round(rows, 4)
    labels = (rows[:, 0] + 0.05 * (rows[:, 1] - 50) + random.normal(0, 1, 80)) > 0
    standard = (rows - rows.mean(0)) / rows.std(0, ddof=1)
    fit = LogisticRegression(C=1.0, tol=1e-12, max_iter=10000).fit(standard, labels)
    return {
        "rows": rows.tolist(), "labels": [bool(v) for v in labels],
        "weights": [float(v) for v in np.r_[fit.coef_[0], fit.intercept_]],
    }


def proportions():
    for k, n in [(0, 20), (1, 1000), (37, 162), (162, 162)]:
        ci = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
        yield {"k": k, "n": n, "low": float(ci.low), "high": float(ci.high)}


json.dump({
    "versions": {"python": sys.version.split()[0], "numpy": np.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__},
    "pairs": [compared(*p) for p in pairs()], "classified": classified(), "proportions": list(proportions()),
}, sys.stdout, indent=1)
print()
