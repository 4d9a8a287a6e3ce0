"""Asks SciPy, confseq and mpmath for numbers that the judge must agree with. See README.md."""

import json
import math
import sys
from importlib.metadata import version

import mpmath
import numpy
from confseq import boundaries
from scipy import stats

random = numpy.random.default_rng(20261128)
ALTERNATIVES = ["two-sided", "greater", "less"]


def samples(kind):
    first, second = (int(random.integers(3, 40)) for _ in range(2))
    shift = float(random.choice([0.0, 0.5, 1.5]))
    a, b = random.normal(shift, 1.0, first), random.normal(0.0, 1.0, second)
    if kind == "ties":
        a, b = numpy.round(a * 2), numpy.round(b * 2)
        b[0] = a[0]
    if kind == "mostly-zero":
        a, b = random.poisson(0.4 + shift, first).astype(float), random.poisson(0.4, second).astype(float)
        a[0], b[0] = 0.0, 0.0
        a[-1] = 1.0
    return a.tolist(), b.tolist()


def mann_whitney():
    cases = []
    for kind, method, count in [("plain", "exact", 60), ("plain", "asymptotic", 40), ("ties", "asymptotic", 60),
                                ("mostly-zero", "asymptotic", 40)]:
        for number in range(count):
            a, b = samples(kind)
            alternative = ALTERNATIVES[number % 3]
            found = stats.mannwhitneyu(a, b, alternative=alternative, method=method, use_continuity=True)
            cases.append({"first": a, "second": b, "alternative": alternative, "method": method,
                          "u": float(found.statistic), "p": float(found.pvalue)})
    return cases


def binomial():
    cases = []
    for number in range(120):
        of = int(random.choice([1, 5, 20, 100, 1000, 20000]))
        share = float(random.choice([0.5, 0.01, 0.1, 1 / 3, 0.9]))
        hits = int(min(of, max(0, random.binomial(of, min(1.0, share * float(random.choice([1.0, 1.3, 0.6])))))))
        alternative = ALTERNATIVES[number % 3]
        cases.append({"hits": hits, "of": of, "share": share, "alternative": alternative,
                      "p": float(stats.binomtest(hits, of, share, alternative=alternative).pvalue)})
    return cases


def beta_binomial():
    """The mixture of binomial likelihoods over a beta prior against one share, by mpmath with 50 digits."""
    mpmath.mp.dps = 50
    cases = []
    for _ in range(60):
        of = int(random.choice([1, 10, 100, 5000]))
        hits = int(random.integers(0, of + 1))
        share = float(random.choice([0.5, 0.6, 0.8, 0.01]))
        a, b = float(random.choice([0.5, 1.0, 5.0])), float(random.choice([0.5, 1.0, 2.0]))
        whole = mpmath.log(mpmath.beta(a + hits, b + of - hits)) - mpmath.log(mpmath.beta(a, b))
        whole -= hits * mpmath.log(share) + (of - hits) * mpmath.log(1 - mpmath.mpf(share))
        cases.append({"hits": hits, "of": of, "share": share, "a": a, "b": b, "logMixture": float(whole)})
    return cases


def confseq_beta_binomial():
    """confseq's beta-binomial mixture, told as hits and a prior: with g below and h above the mean, the sum s at the intrinsic time v
    stands for v/gh draws of which (v + hs)/(h(g + h)) hit, where g/(g + h) of them should; the prior's weight follows from the
    time v_opt that the mixture is tuned for."""
    cases = []
    for _ in range(240):
        share = float(random.choice([0.5, 0.6, 0.75, 0.2, 0.05]))
        of = int(random.choice([10, 50, 400, 5000]))
        hits = int(min(of, max(0, random.binomial(of, min(0.99, share * float(random.choice([0.7, 1.0, 1.5])))))))
        g, h = share, 1 - share
        v, s, v_opt, alpha = of * g * h, hits - of * share, float(random.choice([3.0, 20.0, 200.0])), 0.05
        value = float(boundaries.beta_binomial_log_mixture(s, v, v_opt, g, h, alpha_opt=alpha, is_one_sided=False))
        rho = v_opt / (2 * math.log(1 / alpha) + math.log(1 + 2 * math.log(1 / alpha)))
        r = max(rho - g * h, 1e-3 * g * h)
        cases.append({"hits": hits, "of": of, "share": share, "a": r / h, "b": r / g, "logMixture": value})
    return cases


def main(path):
    made = {
        "versions": {name: version(name) for name in ["numpy", "scipy", "confseq", "mpmath"]},
        "mannWhitney": mann_whitney(),
        "binomial": binomial(),
        "betaBinomial": beta_binomial(),
        "confseqBetaBinomial": confseq_beta_binomial(),
    }
    with open(path, "w") as file:
        json.dump(made, file, separators=(",", ":"))
        file.write("\n")
    print({name: len(cases) for name, cases in made.items()})


if __name__ == "__main__":
    main(sys.argv[1])
