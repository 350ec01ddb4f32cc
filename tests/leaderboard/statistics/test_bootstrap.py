import numpy as np
import pytest
from scipy.stats import bootstrap, norm, rankdata

from cxrbench.leaderboard.statistics.bootstrap import BLOCK, percentile_interval, replicate, resample_counts
from cxrbench.leaderboard.statistics.inference import components, moderated
from cxrbench.leaderboard.statistics.significance import delong
from cxrbench.metrics.classification import METRICS, Weights


def counts(patients, key="images", seed=0, replicates=BLOCK + 10):
    return np.concatenate(list(resample_counts(np.asarray(patients), key, seed, replicates)), axis=1)


def test_every_replicate_draws_as_many_patients_as_there_are_and_their_images_together():
    patients = np.array(["a", "b", "a", "c", "d", "d", "e"])
    drawn = counts(patients)
    assert drawn.shape == (7, BLOCK + 10)
    np.testing.assert_array_equal(drawn[0], drawn[2])
    np.testing.assert_array_equal(drawn[4], drawn[5])
    np.testing.assert_array_equal(drawn[[0, 1, 3, 4, 6]].sum(0), 5)


def test_counts_follow_the_multinomial():
    drawn = counts(np.arange(50), replicates=4_000).astype(float)
    np.testing.assert_allclose(drawn.mean(1), 1, atol=0.08)
    np.testing.assert_allclose(drawn.var(1).mean(), 49 / 50, atol=0.02)
    covariance = np.cov(drawn)
    assert covariance[~np.eye(50, dtype=bool)].mean() == pytest.approx(-1 / 50, abs=0.002)


def test_resamples_depend_on_images_and_seed_alone():
    patients = np.arange(30)
    first = counts(patients)
    np.testing.assert_array_equal(first, counts(patients))
    np.testing.assert_array_equal(first[:, :7], counts(patients, replicates=7))
    order = np.random.default_rng(0).permutation(30)
    np.testing.assert_array_equal(first[order], counts(patients[order]))
    assert (first != counts(patients, seed=1)).any()
    assert (first != counts(patients, key="other")).any()


def auroc_of_rows(scores, targets, axis=-1):
    """AUROC along an axis by rank sums; independent of ours."""
    positives = targets.sum(axis)
    ranks = (rankdata(scores, axis=axis) * targets).sum(axis)
    return (ranks - positives * (positives + 1) / 2) / (positives * (targets.shape[axis] - positives))


def test_interval_agrees_with_scipy():
    rng = np.random.default_rng(1)
    targets = (rng.random(150) < 0.4).astype(float)
    scores = rng.standard_normal(150) + targets
    theirs = bootstrap(
        (scores, targets), auroc_of_rows, paired=True, vectorized=True, n_resamples=10_000, method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    drawn = replicate([METRICS["auroc"].prepare(scores, targets)], np.arange(150), "x", 0, 10_000)[0]
    ours = percentile_interval(drawn, 0.95)
    # Each end is known to about 0.0013 (one standard error of a 2.5% quantile of 10,000 draws).
    assert (ours.lower, ours.upper) == pytest.approx(tuple(theirs), abs=0.004)


def test_undefined_replicates_are_counted_and_above_five_percent_there_is_no_interval():
    values = np.linspace(0, 1, 100)
    values[:5] = np.nan
    kept = percentile_interval(values, 0.95)
    assert kept.lower == pytest.approx(np.nanquantile(values, 0.025))
    values[5] = np.nan
    dropped = percentile_interval(values, 0.95)
    assert np.isnan(dropped.lower)
    assert np.isnan(dropped.upper)
    assert "undefined in 6% of replicates" in dropped.note


AUROC = 0.8
SHIFT = np.sqrt(2) * norm.ppf(AUROC)  # Two normal distributions this far apart have that AUROC.


def two_equal_encoders(rng, n, images_per_patient=1):
    """Scores [2, n] of two encoders of true AUROC 0.8 that err alike, patients' images alike too; targets; patients."""
    patients = np.repeat(np.arange(n // images_per_patient), images_per_patient)
    targets = (rng.random(len(np.unique(patients))) < 0.3).astype(float)[patients]
    shared = rng.standard_normal((2, len(np.unique(patients))))[:, patients]
    common, own = rng.standard_normal(n), rng.standard_normal((2, n))
    noise = np.sqrt(0.4) * shared + np.sqrt(0.3) * common + np.sqrt(0.3) * own
    return noise + SHIFT * targets, targets, patients


def simulate(images_per_patient, cluster, draws=1_000, replicates=1_000, n=400):
    """Share of draws in which the one-tailed test rejects at 5%, and the 95% interval covers the truth."""
    rng = np.random.default_rng(7)
    patients = np.repeat(np.arange(n // images_per_patient), images_per_patient) if cluster else np.arange(n)
    blocks = [Weights.of(block) for block in resample_counts(patients, "simulation", 0, replicates)]
    ones = Weights.of(np.ones((n, 1), np.uint16))
    rejected = covered = 0
    for _ in range(draws):
        scores, targets, _ = two_equal_encoders(rng, n, images_per_patient)
        metrics = [METRICS["auroc"].prepare(s, targets) for s in scores]
        a, b = (np.concatenate([metric(block) for block in blocks]) for metric in metrics)
        points = [float(metric(ones)[0]) for metric in metrics]
        positives = len(np.unique(patients[targets == 1])) - 1.0
        one, gain = (
            moderated([components(np.array([point]), drawn[None], positives)])[0]
            for point, drawn in ((points[0], a), (points[0] - points[1], a - b))
        )
        limits = one.interval_of_share(0.95)
        rejected += gain.p() < 0.05
        covered += limits.lower <= AUROC <= limits.upper
    return rejected / draws, covered / draws


def test_two_equal_encoders_differ_in_five_percent_and_intervals_cover_ninety_five():
    rejected, covered = simulate(images_per_patient=1, cluster=True)
    assert rejected == pytest.approx(0.05, abs=0.015)
    assert covered == pytest.approx(0.95, abs=0.015)


def test_clustering_by_patient_is_what_keeps_the_coverage():
    rejected, covered = simulate(images_per_patient=4, cluster=True, n=800)
    assert rejected == pytest.approx(0.05, abs=0.015)
    assert covered == pytest.approx(0.95, abs=0.015)
    assert simulate(images_per_patient=4, cluster=False, draws=200, n=800)[1] < 0.87


def test_delong_standard_error_is_that_of_many_data_sets():
    rng = np.random.default_rng(5)
    draws = [delong(*two_equal_encoders(rng, 300, images_per_patient=2)) for _ in range(400)]
    differences = [d.aurocs[0] - d.aurocs[1] for d in draws]
    estimated = np.sqrt(np.mean([d.contrast(np.array([1.0, -1.0]))[1] ** 2 for d in draws]))
    assert estimated == pytest.approx(np.std(differences), rel=0.1)
    assert np.mean([d.contrast(np.array([1.0, -1.0]))[2] < 0.05 for d in draws]) == pytest.approx(0.05, abs=0.03)
