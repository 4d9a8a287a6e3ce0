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


def mann_whitney_ties_exact():
    """All ways to deal out the values, which is what exact means where there are ties."""
    cases = []
    for number in range(30):
        first, second = int(random.integers(3, 7)), int(random.integers(3, 7))
        a = random.integers(0, 4, first).astype(float)
        b = random.integers(0, 3, second).astype(float)
        a[0], b[0] = 1.0, 2.0
        alternative = ALTERNATIVES[number % 3]
        found = stats.mannwhitneyu(a, b, alternative=alternative, method=stats.PermutationMethod(n_resamples=10**6))
        cases.append({"first": a.tolist(), "second": b.tolist(), "alternative": alternative, "method": "permutation",
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


def mixtures():
    cases = []

    def add(function, arguments, value):
        if math.isfinite(value):
            cases.append({"function": function, "arguments": arguments, "value": float(value)})

    for _ in range(60):
        v = float(random.choice([1.0, 10.0, 100.0, 1e4])) * float(random.uniform(0.5, 2.0))
        s = float(random.normal(0.0, 2.5) * math.sqrt(v))
        v_opt = float(random.choice([1.0, 25.0, 400.0]))
        alpha = float(random.choice([0.05, 0.01, 0.001]))
        g, h = float(random.choice([0.5, 0.25, 0.8])), float(random.choice([0.5, 0.75, 0.2]))
        c = float(random.choice([0.5, 1.0]))
        one_sided = bool(random.integers(0, 2))
        add("normalLogMixture", [s, v, v_opt, 0.05, one_sided],
            boundaries.normal_log_mixture(s, v, v_opt, alpha_opt=0.05, is_one_sided=one_sided))
        add("normalMixtureBound", [v, alpha, v_opt, alpha, one_sided],
            boundaries.normal_mixture_bound(v, alpha, v_opt, alpha_opt=alpha, is_one_sided=one_sided))
        add("betaBinomialLogMixture", [s / 3, v, v_opt, g, h, 0.05, one_sided],
            boundaries.beta_binomial_log_mixture(s / 3, v, v_opt, g, h, alpha_opt=0.05, is_one_sided=one_sided))
        add("betaBinomialMixtureBound", [v, alpha, v_opt, g, h, alpha, one_sided],
            boundaries.beta_binomial_mixture_bound(v, alpha, v_opt, g, h, alpha_opt=alpha, is_one_sided=one_sided))
        add("gammaExponentialLogMixture", [abs(s), v, v_opt, c, 0.05],
            boundaries.gamma_exponential_log_mixture(abs(s), v, v_opt, c, alpha_opt=0.05))
        add("gammaPoissonLogMixture", [abs(s), v, v_opt, c, 0.05],
            boundaries.gamma_poisson_log_mixture(abs(s), v, v_opt, c, alpha_opt=0.05))
        add("polyStitchingBound", [v, alpha, v_opt, c, 1.4, 2.0],
            boundaries.poly_stitching_bound(v, alpha, v_opt, c=c, s=1.4, eta=2))
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
        # The prior cut off below `share`: only what is greater counts as evidence.
        cut = mpmath.betainc(b + of - hits, a + hits, 0, 1 - mpmath.mpf(share))  # mirrored: nothing cancels
        mass = mpmath.betainc(a, b, share, 1)
        above = mpmath.log(cut) - mpmath.log(mass) - hits * mpmath.log(share) - (of - hits) * mpmath.log(1 - mpmath.mpf(share))
        cases.append({"hits": hits, "of": of, "share": share, "a": a, "b": b,
                      "logMixture": float(whole), "logMixtureAbove": float(above)})
    return cases


def main(path):
    made = {
        "versions": {name: version(name) for name in ["numpy", "scipy", "confseq", "mpmath"]},
        "mannWhitney": mann_whitney() + mann_whitney_ties_exact(),
        "binomial": binomial(),
        "mixtures": mixtures(),
        "betaBinomial": beta_binomial(),
    }
    with open(path, "w") as file:
        json.dump(made, file, separators=(",", ":"))
        file.write("\n")
    print({name: len(cases) for name, cases in made.items()})


if __name__ == "__main__":
    main(sys.argv[1])
