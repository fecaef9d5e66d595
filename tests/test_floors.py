"""The floors that see the flow, piece by piece: what they do to a map, and what they may look at."""

import numpy as np
import pytest

from microexpr import methods
from microexpr.methods import _svm, flow_linear
from microexpr.methods.flow_linear import FlowLinear


def maps(clips, seed=0):
    return np.random.default_rng(seed).normal(size=(clips, 2, 28, 28)).astype(np.float32)


def test_mirroring_swaps_the_sides_and_the_sign_of_u():
    x = maps(2)
    mirrored = flow_linear._mirrored(x)
    np.testing.assert_array_equal(mirrored[:, 0], -x[:, 0, :, ::-1])
    np.testing.assert_array_equal(mirrored[:, 1], x[:, 1, :, ::-1])


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, -1), (-2, 3)])
def test_shifting_moves_the_map_and_brings_in_no_motion(down, right):
    x = maps(1)
    shifted = flow_linear._shifted(x, down, right)
    expected = np.zeros_like(x)
    for row in range(28):
        for column in range(28):
            if 0 <= row - down < 28 and 0 <= column - right < 28:
                expected[..., row, column] = x[..., row - down, column - right]
    np.testing.assert_array_equal(shifted, expected)


def test_features_are_means_of_four_pixels():
    x = maps(1)
    features = flow_linear._features(x).reshape(2, 14, 14)
    assert features[0, 3, 5] == pytest.approx(x[0, 0, 6:8, 10:12].mean(), abs=1e-6)
    assert features[1, 13, 0] == pytest.approx(x[0, 1, 26:28, 0:2].mean(), abs=1e-6)


def test_balanced_rows_show_every_class_equally_often():
    y = np.array([0] * 7 + [1] * 2 + [2])
    rows = flow_linear._balanced(y, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(y[rows]), [7, 7, 7])
    assert set(rows) == set(range(10))


def test_mixed_targets_have_the_shares_of_the_mixed_clips():
    """Clips that are their own one-hot class: whatever is mixed, picture and target stay the same mixture."""
    targets = np.eye(3, dtype=np.float32)
    variants = np.zeros((1, 3, flow_linear.FEATURES), np.float32)
    variants[0, :, :3] = targets
    rows = np.arange(3).repeat(20)
    batch, wanted = FlowLinear()._mixed(variants, targets, rows, np.random.default_rng(0))
    np.testing.assert_allclose(batch[:, :3], wanted, atol=1e-6)
    np.testing.assert_allclose(wanted.sum(1), 1, atol=1e-6)
    assert ((wanted > 0.05) & (wanted < 0.95)).any()
    assert (batch[:, -1] == 1).all()
    plain, _ = FlowLinear(mixup=0.0)._mixed(variants, targets, rows, np.random.default_rng(0))
    np.testing.assert_array_equal(plain[:, :3], targets[rows])


def test_a_mirrored_clip_is_predicted_the_same():
    x, y = maps(9), np.arange(9) % 3
    fitted = FlowLinear(epochs=3).fit(x, y, ["a"] * 9)
    np.testing.assert_allclose(fitted.predict_proba(x), fitted.predict_proba(flow_linear._mirrored(x)), atol=1e-6)
    one_view = FlowLinear(epochs=3, mirror=False).fit(x, y, ["a"] * 9)
    mirrored = one_view.predict_proba(flow_linear._mirrored(x))
    assert np.abs(one_view.predict_proba(x) - mirrored).max() > 0.01


def test_one_adam_step_by_hand():
    """One batch, plain settings: from zero, Adam's first step is the rate times the sign of the gradient."""
    x = np.zeros((3, 2, 28, 28), np.float32)
    x[0, 0, :2, :2] = 1  # feature 0 of clip 0
    plain = {"mirror": False, "shift": 0, "mixup": 0.0, "balance": False, "weight_decay": 0.0}
    fitted = FlowLinear(epochs=1, learning_rate=0.01, **plain).fit(x, np.array([0, 1, 2]), ["a"] * 3)
    # Gradient of feature 0: (softmax - target) of clip 0 over 3 clips = (1/3 - 1, 1/3, 1/3) / 3.
    np.testing.assert_allclose(fitted.coefficients_[0], [0.01, -0.01, -0.01], rtol=1e-4)
    assert not fitted.coefficients_[1:].any()


def test_a_fit_that_diverges_says_so():
    with pytest.raises(Exception, match="diverged"):
        FlowLinear(learning_rate=1e30, epochs=3).fit(maps(6), np.arange(6) % 3, ["a"] * 6)


def test_svm_agrees_with_scikit_learn():
    from sklearn.svm import LinearSVC

    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(30, 12)), np.arange(30) % 3
    x[np.arange(30), y] += 2
    expected = LinearSVC(C=0.1, dual=True, max_iter=20_000, random_state=0).fit(x, y).predict(x)
    np.testing.assert_array_equal(_svm.decide(_svm.fit_linear(x, y, 0.1), x, 3).argmax(1), expected)
    two = y < 2
    expected = LinearSVC(C=0.1, dual=True, max_iter=20_000, random_state=0).fit(x[two], y[two]).predict(x)
    np.testing.assert_array_equal(_svm.decide(_svm.fit_linear(x[two], y[two], 0.1), x, 3).argmax(1), expected)


def test_prior_draws_by_its_seed():
    x, many = np.zeros((6, 0), np.float32), np.zeros((60, 0), np.float32)
    one, other = (
        methods.create("prior", seed=seed).fit(x, np.arange(6) % 3, ["a"] * 6).predict_proba(many) for seed in (0, 1)
    )
    assert (one != other).any()
