"""The shared support vector machine: kernels against scikit-learn and by hand, the choice of C and kernel, weights."""

import subprocess
import sys

import numpy as np
import pytest

from microexpr import methods
from microexpr.errors import BadInput
from microexpr.methods import _kernels, _svm, weights
from microexpr.methods.bi_woof import BiWOOF

CURVED = ("poly", "rbf")
KERNELS = ("linear", *CURVED)
CLASSES = ("negative", "positive", "surprise")


def rows(count=36, features=10, seed=0):
    """Three classes that lie apart, and the subjects that they come from."""
    generator = np.random.default_rng(seed)
    y = np.arange(count) % 3
    x = generator.normal(size=(count, features)).astype(np.float32)
    x[np.arange(count), y] += 2
    return x, y, [f"s{row // 4}" for row in range(count)]


def ring(count=60, seed=0):
    """What no line divides: one class around the other."""
    generator = np.random.default_rng(seed)
    y = np.arange(count) % 2
    x = generator.normal(size=(count, 2))
    x *= ((1 + 2 * y) / np.linalg.norm(x, axis=1))[:, None]
    return x.astype(np.float32), y, [f"s{row // 6}" for row in range(count)]


@pytest.mark.parametrize("kernel", CURVED)
@pytest.mark.parametrize("c", [0.3, 3.0])
@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_those_of_scikit_learn(kernel, classes, c):
    from sklearn.svm import SVC

    x, y, _ = rows()
    x, y = x[y < classes], y[y < classes]
    new = np.random.default_rng(1).normal(size=(20, x.shape[1]))
    found = _svm.train(x, y, c, kernel).scores(new)
    assert found.shape == (20, classes)
    for number in range(classes):
        one = SVC(C=c, kernel=kernel, gamma="scale", tol=1e-6).fit(x.astype(float), y == number)
        np.testing.assert_allclose(found[:, number], one.decision_function(new), atol=5e-3)


@pytest.mark.parametrize("features", [1, 2, 1500])
def test_a_linear_machine_by_hand(features):
    """Two rows, -1 and 1 on one axis: w^2 / 2 + 2 C (1 - w)^2 is least at w = 4 C / (1 + 4 C), with no intercept.

    With one and two features solved in the primal, with 1,500 in the dual.
    """
    x = np.zeros((2, features))
    x[:, 0] = -1, 1
    for c in (0.1, 1.0, 10.0):
        machine = _svm.train(x, np.array([1, 2]), c)
        expected = np.zeros((2, features))
        expected[:, 0] = np.array([-1, 1]) * 4 * c / (1 + 4 * c)
        np.testing.assert_allclose(machine.coefficients, expected, atol=1e-3)
        np.testing.assert_allclose(machine.intercepts, 0, atol=1e-3)
        assert machine.classes.tolist() == [1, 2]


def test_primal_and_dual_give_one_machine(monkeypatch):
    x, y, _ = rows(36, 60)
    primal = _svm.train(x, y, 0.3)
    monkeypatch.setattr(_kernels, "FEW", 0)
    dual = _svm.train(x, y, 0.3)
    np.testing.assert_allclose(dual.coefficients, primal.coefficients, atol=2e-3)
    assert (dual.coefficients != primal.coefficients).any(), "both were solved the same way"


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("count", "features"), [(36, 72), (36, 200), (90, 72)])
def test_equal_rows_of_other_classes_are_learned_without_a_warning(count, features, kernel):
    """Warnings are errors here: in the dual the linear machine does not converge on them."""
    x, y, _ = rows(count, features)
    x[::3], x[1::5] = x[0], x[1]
    for c in (0.1, 100.0):
        assert np.isfinite(_svm.train(x, y, c, kernel).scores(x)).all()
        assert np.isfinite(_svm.train(np.repeat(x[:1], count, axis=0), y, c, kernel).scores(x)).all()


def test_a_gaussian_machine_by_hand():
    """Two rows, 0 and 1: of variance 1/4, so gamma is 4 and k = e^-4 what they have in common.

    With a large C both weigh a = 1 / (1 - k), the maximum of 2 a - a^2 (1 - k). Halfway between them is no man's land.
    """
    machine = _svm.train(np.array([[0.0], [1.0]]), np.array([0, 1]), 1e6, "rbf")
    k = np.exp(-4)
    np.testing.assert_allclose(machine.coefficients, np.array([[1, -1], [-1, 1]]) / (1 - k), rtol=1e-9)
    np.testing.assert_allclose(machine.scores(np.array([[0.0], [0.5], [1.0]]))[:, 1], [-1, 0, 1], atol=1e-9)
    far = machine.scores(np.array([[2.0]]))[0, 1]
    assert far == pytest.approx((np.exp(-4) - np.exp(-16)) / (1 - k), rel=1e-9)


def test_a_polynomial_kernel_by_hand():
    """(gamma <a, b>)^3 with gamma 1 / (2 features x variance 2/3)."""
    x = np.array([[1.0, 0, -1, 1, 0, -1], [-1.0, 0, 1, -1, 0, 1]]).reshape(6, 2)
    parameters = _kernels.parameters_for("poly", x)
    np.testing.assert_allclose(parameters, [0.75, 0, 3], rtol=1e-12)
    found = _kernels.similarities("poly", parameters, np.array([[2.0, 1.0]]), np.array([[1.0, 0], [-1.0, 1.0]]))
    np.testing.assert_allclose(found, [[1.5**3, -(0.75**3)]], rtol=1e-12)


def test_gamma_of_constant_rows_is_a_number():
    """Where scikit-learn's "scale" would divide by zero it takes 1, and so do we."""
    assert _kernels.parameters_for("rbf", np.ones((4, 3), np.float32)).tolist() == [1.0]


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_class_is_the_answer_to_everything(kernel):
    x, _, subjects = rows(9, 200)
    method = BiWOOF(kernel=kernel).fit(x, np.full(9, 2), subjects)
    np.testing.assert_array_equal(method.predict_proba(x), np.tile([0.0, 0.0, 1.0], (9, 1)))
    loaded = BiWOOF(kernel=kernel).load_weights(method.weights())
    np.testing.assert_array_equal(loaded.predict_proba(x), method.predict_proba(x))


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_class_that_was_not_seen_is_never_the_answer(kernel):
    x, y, _ = rows(24, 200)
    machine = _svm.train(x[y != 1], y[y != 1], 1.0, kernel)
    found = _svm.decide(machine, x, 4)
    assert not found[:, [1, 3]].any()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)


def test_only_vectors_that_count_are_kept():
    x, y, _ = ring(200)
    machine = _svm.train(x, y, 10.0, "rbf")
    assert 0 < len(machine.vectors) < len(x) / 2
    assert machine.coefficients.any(axis=0).all()
    assert (machine.scores(x).argmax(1) == y).all()


# --- the choice ---


def test_a_ring_asks_for_a_curve():
    assert _svm.choose(*ring(), (0.1, 1.0, 10.0))[1] == "rbf"


def test_the_best_c_and_kernel_are_taken_and_of_equals_the_first(monkeypatch):
    """The share of rows that each combination gets right is given here."""
    x, y, subjects = rows()
    right = {("linear", 1.0): 20, ("poly", 0.1): 30, ("poly", 10.0): 30, ("rbf", 0.1): 30, ("rbf", 1.0): 29}

    def answer(kernel, c, trained, held_back):
        return np.where(held_back < right.get((kernel, c), 10), y[held_back], (y[held_back] + 1) % 3)

    monkeypatch.setattr(_svm, "_answers", lambda x, y, kernels: answer)
    assert _svm.choose(x, y, subjects, (10.0, 0.1, 1.0)) == (0.1, "poly")
    assert _svm.choose(x, y, subjects, (10.0, 0.1, 1.0), ("rbf", "poly")) == (0.1, "rbf")
    assert _svm.choose(x, y, subjects, (10.0, 1.0), ("linear", "poly")) == (10.0, "poly")
    assert _svm.choose(x, y, subjects, (10.0, 0.1, 1.0), ("linear",)) == (1.0, "linear")


@pytest.mark.parametrize("kernel", KERNELS)
def test_no_subject_stands_on_both_sides(kernel, monkeypatch):
    """Every C is tried on each fold's rows alone, and all rows are held back once."""
    x, y, subjects = rows()
    sizes = []

    def counted(fit):
        return lambda part, labels, c: sizes.append(len(labels)) or fit(part, labels, c)

    for name in ("fit_linear", "fit_gram"):
        monkeypatch.setattr(_svm, name, counted(getattr(_svm, name)))
    split = _svm.inner_folds(y, subjects)
    for kept, left in split:
        assert not {subjects[row] for row in kept} & {subjects[row] for row in left}
    assert sorted(np.concatenate([left for _, left in split])) == list(range(36))
    _svm.choose(x, y, subjects, (0.1, 1.0), (kernel,))
    assert sizes == [len(kept) for kept, _ in split] * 2


def test_the_answers_that_are_compared_are_those_of_the_machine():
    """From the one matrix of all rows: what a machine trained on the fold's rows alone says."""
    x, y, subjects = rows()
    for kernel in CURVED:
        parameters = _kernels.parameters_for(kernel, x)
        for kept, left in _svm.inner_folds(y, subjects):
            machine = _svm.train(x[kept], y[kept], 1.0, kernel)
            own = _kernels.fit_gram(_kernels.similarities(kernel, parameters, x[kept], x[kept]), y[kept], 1.0)
            expected = _kernels.similarities(kernel, parameters, x[left], x[kept]) @ own[0].T + own[1]
            answer = _svm._answers(x, y, (kernel,))(kernel, 1.0, kept, left)
            np.testing.assert_array_equal(answer, expected.argmax(1))
            assert (answer == machine.scores(x[left]).argmax(1)).mean() > 0.8  # its gamma is that of fewer rows


def test_many_features_are_searched_in_the_span_of_the_rows(monkeypatch):
    """Another basis, the same machine: the answers on rows held back are the same."""
    x, y, subjects = rows(36, 300)
    slow = _svm._answers(x, y, ("linear",))
    monkeypatch.setattr(_svm, "WIDE", 300)
    quick = _svm._answers(x, y, ("linear",))
    for kept, left in _svm.inner_folds(y, subjects):
        np.testing.assert_array_equal(quick("linear", 0.1, kept, left), slow("linear", 0.1, kept, left))
    seen = []
    monkeypatch.setattr(_svm, "fit_linear", lambda part, labels, c: seen.append(part) or _svm.train(part, labels, c))
    quick("linear", 0.1, np.arange(30), np.arange(30, 36))
    np.testing.assert_allclose(seen[0] @ seen[0].T, x[:30] @ x[:30].T, atol=1e-3)
    assert seen[0].shape == (30, 36)


def test_one_subject_gives_the_first_kernel_and_the_middle_of_the_grid():
    x, y, _ = rows()
    assert _svm.choose(x, y, ["a"] * 36, (10.0, 0.1, 1.0), ("rbf", "linear")) == (1.0, "rbf")
    assert _svm.inner_folds(y, ["a"] * 36) == []
    assert len(_svm.inner_folds(y, ["a", "b", "c"] * 12)) == 3


@pytest.mark.parametrize(
    ("settings", "grid", "kernels"),
    [
        ({}, BiWOOF.grid, ("linear",)),
        ({"kernel": "rbf"}, BiWOOF.grid, ("rbf",)),
        ({"kernel": "chosen"}, BiWOOF.grid, KERNELS),
        ({"kernel": "chosen", "c": 2.0}, (2.0,), KERNELS),
        ({"kernel": "poly", "c": 2.0}, (2.0,), ("poly",)),
    ],
)
def test_what_is_set_is_not_chosen(settings, grid, kernels, monkeypatch):
    x, y, subjects = rows(12, 200)
    asked = []

    def choose(*given):
        asked.append(given[2:])
        return grid[-1], kernels[-1]

    monkeypatch.setattr(_svm, "choose", choose)
    method = BiWOOF(**settings).fit(x, y, subjects)
    assert asked == [(subjects, grid, kernels)]
    assert (method.c_, method.kernel_, method.machine_.kernel) == (grid[-1], kernels[-1], kernels[-1])
    expected = _svm.decide(_svm.train(x, y, grid[-1], kernels[-1]), x, 3)
    np.testing.assert_array_equal(method.predict_proba(x), expected)


def test_an_unknown_kernel_is_told():
    with pytest.raises(BadInput, match="chosen, linear, poly, rbf"):
        BiWOOF(kernel="gaussian")
    assert not hasattr(methods.create("flow-svm"), "kernel"), "the floor stays a linear one"


# --- weights ---


@pytest.mark.parametrize("kernel", [*KERNELS, "chosen"])
def test_weights_go_through_a_file(kernel, tmp_path):
    x, y, subjects = rows(24, 200)
    method = BiWOOF(kernel=kernel).fit(x, y, subjects)
    file = tmp_path / "weights.safetensors"
    file.write_bytes(weights.to_bytes(method, "bi-woof", CLASSES, {}))
    loaded, _ = weights.load(file)
    np.testing.assert_array_equal(loaded.predict_proba(x), method.predict_proba(x))
    assert loaded.kernel_ == method.kernel_


def test_predicting_needs_no_scikit_learn(tmp_path):
    x, y, subjects = rows(12, 200)
    method = BiWOOF(kernel="rbf", c=1.0).fit(x, y, subjects)
    file = tmp_path / "weights.safetensors"
    file.write_bytes(weights.to_bytes(method, "bi-woof", CLASSES, {}))
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys, pathlib, numpy as np; from microexpr.methods import weights; folder = pathlib.Path(sys.argv[1]);"
        "method, _ = weights.load(folder / 'weights.safetensors');"
        "np.save(folder / 'p.npy', method.predict_proba(np.load(folder / 'x.npy')));"
        "sys.exit('sklearn' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), method.predict_proba(x), rtol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_weights_of_another_kernel_are_refused(kernel):
    x, y, subjects = rows(12, 200)
    given = BiWOOF(kernel=kernel, c=1.0).fit(x, y, subjects).weights()
    BiWOOF(kernel="chosen").load_weights(given)
    for other in set(KERNELS) - {kernel}:
        with pytest.raises(BadInput, match=f"3 classes and 200 features, kernel {other}, got") as caught:
            BiWOOF(kernel=other).load_weights(given)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kernel", CURVED)
@pytest.mark.parametrize(
    "damage",
    [
        lambda given: given.pop("vectors"),
        lambda given: given.update(vectors=given["vectors"][:, :-1]),
        lambda given: given.update(vectors=given["vectors"][:-1]),
        lambda given: given.update(vectors=given["vectors"][0]),
        lambda given: given.update(vectors=np.float32(1)),
        lambda given: given.update(coefficients=given["coefficients"][:2]),
        lambda given: given.update(intercepts=given["intercepts"][:2]),
        lambda given: given.update(classes=given["classes"] + 1),
        lambda given: given.update(rbf=np.ones(2)),
        lambda given: given.update(poly=np.ones(2)),
    ],
)
def test_arrays_that_are_no_kernel_machine_are_refused(kernel, damage):
    x, y, subjects = rows(12, 200)
    given = BiWOOF(kernel=kernel, c=1.0).fit(x, y, subjects).weights()
    damage(given)
    with pytest.raises(
        BadInput, match="the weights of BiWOOF for 3 classes and 200 features, kernel linear or poly or rbf"
    ):
        BiWOOF(kernel="chosen").load_weights(given)


def test_weights_of_other_features_or_more_classes_are_refused():
    x, y, subjects = rows(12, 200)
    given = BiWOOF(kernel="rbf", c=1.0).fit(x, y, subjects).weights()
    with pytest.raises(BadInput, match="100 features"):
        BiWOOF(kernel="rbf", bins=4).load_weights(given)
    with pytest.raises(BadInput, match="2 classes"):
        BiWOOF(kernel="rbf", classes=2).load_weights(given)
