"""Sparse MDMO: its codes against a slow twin and scikit-learn, its objective, its distance; clips do not see others."""

import dataclasses
import pickle

import numpy as np
import pytest

from microexpr import methods
from microexpr.errors import BadInput
from microexpr.kernels.sparse_codes import better_words, encode, graph_of, learn, nearest, objective
from microexpr.methods import _svm, mdmo, sparse_mdmo
from microexpr.methods._directions import directions
from microexpr.methods.sparse_mdmo import Coder, SparseMDMO, features, features_of_clip, sparse
from microexpr.methods.transformers import SparseMDMOTransformer
from tests.frame_clips import frame_clip, frame_clips
from tests.reference import sparse_codes as reference

QUICK = {"size": 48, "atoms": 4, "words": 6, "sparsity": 0.1, "smoothness": 0.1}


def problem(seed=0, samples=30, words=7, numbers=9):
    """Samples, a dictionary and a graph, none of them special."""
    generator = np.random.default_rng(seed)
    x, dictionary = generator.normal(size=(samples, numbers)), generator.normal(size=(words, numbers))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True) * generator.uniform(1, 1.5, (words, 1))
    return x, dictionary, nearest(generator.normal(size=(samples, numbers)), 3)


def atoms(seed=0, clips=12, frames=5):
    """Atoms of clips of three classes: other regions move in each, and their strength rises and falls."""
    generator = np.random.default_rng(seed)
    rho, theta = generator.uniform(0, 0.05, (clips, frames, 36)), generator.uniform(-np.pi, np.pi, (clips, frames, 36))
    for clip in range(clips):
        moving = slice(12 * (clip % 3), 12 * (clip % 3) + 6)
        strength = np.sin(np.linspace(0.3, np.pi - 0.3, frames))[:, None]
        rho[clip, :, moving] = strength * generator.uniform(0.6, 1, 6)
        theta[clip, :, moving] = 1 + generator.normal(0, 0.2, 6)
    return np.concatenate([0.8 * rho / rho.max((1, 2), keepdims=True), 0.2 * theta], axis=2).astype(np.float32)


@pytest.mark.parametrize("smoothness", [0.0, 0.3])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 2.0])
def test_codes_equal_the_slow_twin(sparsity, smoothness):
    x, dictionary, near = problem()
    found = encode(x, dictionary, graph_of(near), sparsity, smoothness, sweeps=3, tolerance=0)
    expected = reference.encode(x, dictionary, reference.adjacency(near), sparsity, smoothness, 3)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert (sparsity < 1) or (found == 0).mean() > 0.3


@pytest.mark.parametrize("sparsity", [0.2, 1.0])
def test_codes_without_a_graph_are_the_lasso_of_scikit_learn(sparsity):
    """Which minimizes half the misfit plus alpha times the absolute values: alpha is half of ours."""
    from sklearn.decomposition import sparse_encode

    x, dictionary, near = problem(1)
    found = encode(x, dictionary, graph_of(near), sparsity, 0.0, sweeps=2000, tolerance=1e-12)
    expected = sparse_encode(x, dictionary, algorithm="lasso_cd", alpha=sparsity / 2, max_iter=100_000)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    graph = graph_of(near)
    assert objective(x, dictionary, found, graph, sparsity, 0.0) <= (
        objective(x, dictionary, expected, graph, sparsity, 0.0) + 1e-9
    )


def test_codes_with_a_graph_are_optimal():
    """No derivative is left: half of it is 0 where a code is not, and at most sparsity / 2 where it is."""
    x, dictionary, near = problem(2)
    sparsity, smoothness = 0.6, 0.4
    codes = encode(x, dictionary, graph_of(near), sparsity, smoothness, sweeps=5000, tolerance=1e-13)
    joined = reference.adjacency(near)
    laplacian = np.diag(joined.sum(1)) - joined
    slope = (codes @ dictionary - x) @ dictionary.T + smoothness * laplacian @ codes
    used = codes != 0
    assert 0.2 < used.mean() < 0.9
    np.testing.assert_allclose(slope[used], -sparsity / 2 * np.sign(codes[used]), atol=1e-9)
    assert np.abs(slope[~used]).max() <= sparsity / 2 + 1e-9


def test_a_code_by_hand():
    """One word (1, 0), samples (3, 1) and (1, 0) that are joined, sparsity 2, smoothness 1.

    Half the derivatives: s1 - 3 + 1 + (s1 - s2) = 0 and s2 - 1 + 1 + (s2 - s1) = 0, so s2 = s1 / 2, s1 = 4/3. The
    objective: (3 - 4/3)^2 + 1 + (1 - 2/3)^2 for the misfit, 2 (4/3 + 2/3), (2/3)^2: 25/9 + 1 + 1/9 + 4 + 4/9 = 25/3.
    """
    x, word, graph = np.array([[3.0, 1], [1, 0]]), np.array([[1.0, 0]]), graph_of(np.array([[1], [0]]))
    codes = encode(x, word, graph, 2.0, 1.0, sweeps=200, tolerance=1e-15)
    np.testing.assert_allclose(codes, [[4 / 3], [2 / 3]], atol=1e-12)
    assert objective(x, word, codes, graph, 2.0, 1.0) == pytest.approx(25 / 3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("sparsity", "smoothness"), [(0.0, 0.0), (0.3, 0.0), (0.3, 0.2), (1.5, 1.0)])
def test_the_objective_decreases_at_every_iteration(seed, sparsity, smoothness):
    x, dictionary, near = problem(seed, samples=60, words=15)
    graph = graph_of(near)
    words, codes, objectives = learn(x, dictionary, graph, sparsity, smoothness, iterations=40, tolerance=0)
    assert len(objectives) > 10
    assert (np.diff(objectives) <= 1e-9 * objectives[0]).all()
    assert objectives[-1] < 0.95 * objectives[0]
    assert (np.linalg.norm(words, axis=1) <= 1 + 1e-12).all()
    expected = reference.objective(x, words, codes, reference.adjacency(near), sparsity, smoothness)
    assert objectives[-1] == pytest.approx(expected)


def test_the_objective_decreases_at_every_sweep_and_every_word():
    x, dictionary, near = problem(5)
    graph, codes, values = graph_of(near), np.zeros((30, 7)), []
    for _ in range(15):
        codes = encode(x, dictionary, graph, 0.4, 0.3, start=codes, sweeps=1)
        values.append(objective(x, dictionary, codes, graph, 0.4, 0.3))
        dictionary = better_words(x, codes, dictionary)
        values.append(objective(x, dictionary, codes, graph, 0.4, 0.3))
    assert (np.diff(values) <= 1e-9).all()
    assert values[-1] < values[0]


def test_words_equal_the_slow_twin():
    x, dictionary, near = problem(3)
    codes = encode(x, dictionary, graph_of(near), 0.2, 0.1)
    assert codes.any(axis=0).all()
    np.testing.assert_allclose(
        better_words(x, codes, dictionary), reference.better_words(x, codes, dictionary), atol=1e-12
    )


def test_an_unused_word_becomes_what_is_described_worst():
    """By hand: the codes describe the first sample exactly and the second, (0, 3), not at all."""
    x = np.array([[0.5, 0], [0, 3.0]])
    words = better_words(x, np.array([[1.0, 0], [0, 0]]), np.array([[0.5, 0], [0.1, 0.1]]))
    np.testing.assert_allclose(words, [[0.5, 0], [0, 1]])


def test_a_wrong_weight_of_the_objective_is_told():
    x, dictionary, near = problem()
    with pytest.raises(BadInput, match="at least 0"):
        encode(x, dictionary, graph_of(near), -0.1, 0.1)
    with pytest.raises(BadInput, match="at least 0"):
        encode(x, dictionary, graph_of(near), 0.1, np.inf)


@pytest.mark.parametrize(("samples", "k"), [(40, 5), (3, 5), (1, 2)])
def test_nearest_equals_the_slow_twin(samples, k):
    generator = np.random.default_rng(samples)
    motions = generator.normal(size=(samples, 8)) * (generator.random((samples, 8)) < 0.4)
    motions[samples // 2 :: 5] = 0  # atoms without motion
    motions = motions.astype(np.float32).astype(np.float64)
    found, expected = nearest(motions, k), reference.nearest(motions, k)
    np.testing.assert_array_equal(found < 0, expected < 0)
    for row in range(samples):  # what is equally distant may change places by rounding
        np.testing.assert_allclose(
            distances(motions, row, found[row]), distances(motions, row, expected[row]), atol=1e-6
        )


def distances(motions, row, others):
    both = [((motions[row] ** 2).sum() + (motions[j] ** 2).sum(), j) for j in others if j >= 0]
    return [((motions[row] - motions[j]) ** 2).sum() / scale if scale > 0 else 0 for scale, j in both]


def test_nearest_is_the_same_in_blocks(monkeypatch):
    motions = np.random.default_rng(0).normal(size=(50, 6))
    expected = nearest(motions, 4)
    monkeypatch.setattr("microexpr.kernels.sparse_codes.ROWS", 7)
    np.testing.assert_array_equal(nearest(motions, 4), expected)


def test_the_graph_joins_both_ways_and_once():
    graph = graph_of(np.array([[1, 2], [0, -1], [1, 0], [-1, -1]]))
    neighbors = [graph.ends[one:other].tolist() for one, other in zip(graph.starts, graph.starts[1:], strict=False)]
    assert neighbors == [[1, 2], [0, 2], [0, 1], []]


def test_what_keeps_still_does_not_count():
    """Two atoms that agree in the one region that moves are equal, however the noise of the others points."""
    one, other = np.zeros((2, 36, 2))
    one[:, 0], one[:, 1] = 0.05, np.linspace(-3, 3, 36)
    other[:, 0], other[:, 1] = 0.02, np.linspace(3, -3, 36)
    one[4] = other[4] = 1.0, 0.7
    rows = np.stack([mdmo.weighted(atom, 0.8, 1.0) for atom in (one, other)])
    x, motion = sparse(rows, 0.8, 0.1)
    np.testing.assert_allclose(motion[0], motion[1], atol=1e-6)
    np.testing.assert_allclose([motion[0, 4], motion[0, 40]], [np.cos(0.7), np.sin(0.7)], atol=1e-6)
    assert np.count_nonzero(motion) == 4
    # By hand: 0.8 and 0.2 x 0.7 of the region that moves, of length 1 together.
    np.testing.assert_allclose(x[:, [4, 40]], np.array([[0.8, 0.14]] * 2) / np.hypot(0.8, 0.14), atol=1e-6)
    assert np.count_nonzero(x) == 4
    x, motion = sparse(rows, 0.8, 0.0)
    assert np.count_nonzero(x) == 2 * 72
    assert np.abs(motion[0] - motion[1]).max() > 0.01


def test_a_region_of_just_that_magnitude_keeps_still():
    atom = np.zeros((1, 72), np.float32)
    atom[0, :2] = 0.25, 0.5  # magnitudes of 0.5 and 1 with a beta of 0.5
    for still, moving in ((0.5, 1), (0.49, 2)):
        assert np.count_nonzero(sparse(atom, 0.5, still)[1]) == moving


def test_the_distance_by_hand():
    """Motion of one region to the right, of the same to the left, of another one; half as much; none."""
    motions = np.zeros((5, 72))
    motions[0, 0], motions[1, 0], motions[2, 1], motions[3, 0] = 1, -1, 1, 0.5
    # From the first: 2 to the opposite, 1 to the other region and to none, (1/2)^2 / (1 + 1/4) = 0.2 to the half.
    np.testing.assert_array_equal(nearest(motions, 4)[0], [3, 2, 4, 1])
    np.testing.assert_allclose(distances(motions, 0, [3, 2, 4, 1]), [0.2, 1, 1, 2])


def test_features_are_the_mdmo_of_each_frame():
    flows = np.random.default_rng(0).normal(size=(3, 2, 64, 64)).astype(np.float32) * np.array([1, 2, 3])[
        :, None, None, None
    ].astype(np.float32)
    found, each = features(flows), directions(flows)
    assert (found.shape, found.dtype) == ((3, 72), np.float32)
    np.testing.assert_allclose(found[:, :36], 0.8 * each[..., 0] / each[..., 0].max(), atol=1e-6)
    np.testing.assert_allclose(found[:, 36:], 0.2 * each[..., 1], atol=1e-6)
    assert found[:, :36].max() == pytest.approx(0.8)
    assert found[0, :36].max() < 0.5  # one unit for the whole clip
    # A clip of one frame is MDMO itself.
    np.testing.assert_allclose(features(flows[1]), mdmo.features(flows[1])[None], atol=1e-6)


def test_frames_are_spread_and_come_again_where_they_lack():
    clip = frame_clip(0, 0, "sub00")  # five frames after the onset
    all_of_it = features_of_clip(clip, atoms=5, size=48)
    assert all_of_it.shape == (5, 72)
    np.testing.assert_array_equal(features_of_clip(clip, atoms=10, size=48), np.repeat(all_of_it, 2, axis=0))
    short = dataclasses.replace(clip, offset=12)
    found = features_of_clip(short, atoms=3, size=48)
    assert (found == found[0]).all()
    assert found.any()


def test_codes_do_not_depend_on_company():
    x = atoms()
    coder = SparseMDMO(words=8, sparsity=0.1, smoothness=0.2).learned(x)
    together = coder.pooled([coder.prepared(clip) for clip in x])
    for number in (0, 5, 11):
        np.testing.assert_array_equal(coder.pooled([coder.prepared(x[number])])[0], together[number])
    method = SparseMDMO(words=8, sparsity=0.1, smoothness=0.2, c=1.0, kernel="linear")
    method.fit(x, np.arange(12) % 3, [f"s{n // 3}" for n in range(12)])
    np.testing.assert_allclose(method.predict_proba(x[4:5])[0], method.predict_proba(x)[4], atol=1e-12)


def test_the_graph_of_a_clip_draws_its_codes_together():
    x = atoms()[0]
    apart, joined = (
        Coder(np.eye(72)[:40], smoothness=weight, sparsity=0.01, still=0.0).codes(
            Coder(np.eye(72), still=0.0).prepared(x)
        )
        for weight in (0.0, 2.0)
    )
    assert np.ptp(joined, axis=0).max() < 0.5 * np.ptp(apart, axis=0).max()


def test_pooling_by_hand():
    """Codes of length-1 atoms in the words e1 and e2, without weights, are their own numbers."""
    clip = np.zeros((2, 72), np.float32)
    clip[0, 0], clip[1, 0], clip[1, 1] = 0.8, 0.48, 0.64
    words = np.eye(72)[:2]
    coder = Coder(words, sparsity=0.0, smoothness=0.0)
    prepared = [coder.prepared(clip)]
    np.testing.assert_allclose(coder.pooled(prepared), [[1, 0.8]], atol=1e-6)
    mean = dataclasses.replace(coder, pooling="mean", dictionary=-words)
    np.testing.assert_allclose(mean.pooled(prepared), [[0.8, 0.4]], atol=1e-6)


def test_new_clips_are_told_apart_whatever_the_order_of_the_training_clips():
    x, y, subjects = atoms(clips=24), np.arange(24) % 3, np.array([f"s{n // 3}" for n in range(24)])
    fresh = atoms(seed=1, clips=9)
    order = np.random.default_rng(0).permutation(24)
    for rows in (np.arange(24), order):
        method = SparseMDMO(words=12, sparsity=0.1, smoothness=0.05).fit(x[rows], y[rows], list(subjects[rows]))
        assert (method.predict_proba(fresh).argmax(1) == np.arange(9) % 3).all()


def test_constants_that_are_set_are_taken_and_others_chosen_without_the_rows_held_back(monkeypatch):
    """The dictionaries of the choice are learned from the inner training rows; the last one from all rows."""
    x, y, subjects = atoms(clips=12), np.arange(12) % 3, [f"s{n // 2}" for n in range(12)]
    seen = []
    learned = Coder.learned

    def watched(self, given, words, iterations, seed):
        seen.append((len(given[0]) // 5, words, self.sparsity, self.smoothness))
        return learned(self, given, words, iterations, seed)

    monkeypatch.setattr(Coder, "learned", watched)
    monkeypatch.setattr(sparse_mdmo, "WORDS", (4, 9))
    method = SparseMDMO(sparsity=0.2, c=1.0, kernel="linear").fit(x, y, subjects)
    options = [(words, 0.2, smoothness) for words in (4, 9) for smoothness in sparse_mdmo.SMOOTHNESSES]
    assert seen[:-1] == [(8, *option) for _ in range(3) for option in options]  # three folds of two subjects each
    assert seen[-1][0] == 12
    assert seen[-1][1:] in options
    assert method.coder_.dictionary.shape == (seen[-1][1], 72)
    assert (method.coder_.sparsity, method.coder_.smoothness) == seen[-1][2:]
    seen.clear()
    SparseMDMO(words=5, sparsity=0.2, smoothness=0.1, c=1.0, kernel="linear").fit(x, y, subjects)
    assert seen == [(12, 5, 0.2, 0.1)]
    seen.clear()
    SparseMDMO(sparsity=0.2, c=1.0, kernel="linear").fit(x, y, ["s0"] * 12)  # one subject: nothing to hold back
    assert seen == [(12, 4, 0.2, sparse_mdmo.SMOOTHNESSES[0])]


def test_the_machines_of_the_choice_see_other_subjects_only(monkeypatch):
    """Two options in three folds are six machines of 8 of the 12 rows; the split is the shared one, by subject."""
    x, y, subjects = atoms(clips=12), np.arange(12) % 3, [f"s{n // 2}" for n in range(12)]
    rows, asked, train, inner_folds = [], [], _svm.train, _svm.inner_folds
    monkeypatch.setattr(_svm, "train", lambda codes, *rest: rows.append(len(codes)) or train(codes, *rest))
    monkeypatch.setattr(
        _svm, "inner_folds", lambda y, given, *folds: asked.append((given, *folds)) or inner_folds(y, given, *folds)
    )
    SparseMDMO(words=4, sparsity=0.2, c=1.0, kernel="linear").fit(x, y, subjects)
    assert rows == [8] * 6 + [12]
    assert asked[0] == (subjects, sparse_mdmo.FOLDS)


def test_the_choice_takes_what_scores_best(monkeypatch):
    """A weight that kills every code can't be the best one."""
    monkeypatch.setattr(sparse_mdmo, "SPARSITIES", (50.0, 0.1))
    x, y, subjects = atoms(clips=18), np.arange(18) % 3, [f"s{n // 3}" for n in range(18)]
    assert SparseMDMO(words=8, smoothness=0.01).fit(x, y, subjects).coder_.sparsity == 0.1


def test_the_seed_draws_the_first_dictionary():
    x = atoms()
    one, same, other = (
        SparseMDMO(words=6, sparsity=0.1, smoothness=0.1, seed=s).learned(x).dictionary for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01


def test_the_machine_is_the_shared_one(monkeypatch):
    asked = []
    monkeypatch.setattr(
        _svm, "choose", lambda x, y, subjects, grid, kernels: asked.append((grid, kernels)) or (2.0, "rbf")
    )
    x, y, subjects = atoms(), np.arange(12) % 3, ["a"] * 12
    method = SparseMDMO(words=6, sparsity=0.1, smoothness=0.1).fit(x, y, subjects)
    assert (method.c_, method.kernel_, method.machine_.kernel) == (2.0, "rbf", "rbf")
    SparseMDMO(words=6, sparsity=0.1, smoothness=0.1, c=3.0, kernel="poly").fit(x, y, subjects)
    assert asked == [(mdmo.GRID, _svm.KERNELS), ((3.0,), ("poly",))]


def test_constant_frames_have_no_codes():
    clip = dataclasses.replace(frame_clip(0, 0, "sub00"), frames=Still())
    found = SparseMDMO(**QUICK).represent(clip)
    assert not found.any()
    coder = SparseMDMO(**QUICK).learned([*atoms(frames=4), found])
    assert not coder.pooled([coder.prepared(found)]).any()
    nothing = SparseMDMO(**QUICK).learned([found])
    assert np.isfinite(nothing.dictionary).all()


class Still:
    def __len__(self):
        return 6

    def read(self, number):
        return np.full((48, 48, 3), 90, np.uint8)


@pytest.mark.parametrize("count", [0, -1])
def test_a_wrong_number_of_atoms_is_told(count):
    with pytest.raises(BadInput, match="atoms to be a number of at least 1"):
        features_of_clip(frame_clip(0, 0, "sub00"), atoms=count)


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_atoms_of_magnitudes_or_angles_alone_are_not_coded(beta):
    """The one can't be read off them, or the other."""
    with pytest.raises(BadInput, match="beta to be a number from"):
        Coder(np.eye(72), beta=beta).prepared(atoms()[0])


@pytest.mark.parametrize("length", [1, 2, 3])
def test_short_clips(length):
    """One frame is no motion; two and three are used as far as they go."""
    clip = dataclasses.replace(frame_clip(0, 0, "sub00"), offset=10 + length)
    if length == 1:
        with pytest.raises(BadInput, match="a later offset"):
            SparseMDMO(**QUICK).represent(clip)
    else:
        found = SparseMDMO(**QUICK).represent(clip)
        assert found.shape == (4, 72)
        assert len(np.unique(found, axis=0)) == length - 1


def test_a_clip_without_frames_is_refused():
    bare = dataclasses.replace(frame_clip(0, 0, "sub00"), frames=None)
    with pytest.raises(BadInput, match="a clip with frames"):
        features_of_clip(bare)


def test_settings_reach_the_atoms_and_the_coder():
    clip, x = frame_clip(2, 2, "sub00"), atoms()
    base = SparseMDMO(**QUICK)
    changes = [{"atoms": 3}, {"beta": 0.5}, {"drift": "none"}, {"size": 40}, {"flow_mode": "tvl1"}]
    for changed in changes:
        other = SparseMDMO(**{**QUICK, **changed})
        found = other.represent(clip)
        assert found.shape == (other.atoms, 72)
        assert found.shape != base.represent(clip).shape or (found != base.represent(clip)).any(), changed

    def pooled(method):
        coder = method.learned(x)
        return coder.pooled([coder.prepared(clip) for clip in x])

    changes = [{"still": 0.6}, {"neighbors": 1}, {"pooling": "mean"}, {"iterations": 1}, {"seed": 1}]
    for changed in [*changes, {"words": 5}, {"sparsity": 0.3}, {"smoothness": 0.01}]:
        found = pooled(SparseMDMO(**{**QUICK, **changed}))
        assert found.shape != pooled(base).shape or (found != pooled(base)).any(), changed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"atoms": "0"}, "atoms"),
        ({"beta": "1"}, "beta"),
        ({"beta": "0"}, "beta"),
        ({"drift": "rigid"}, "affine, translation, none"),
        ({"size": "8"}, "size"),
        ({"flow_mode": "farneback"}, "flow_mode"),
        ({"still": "-0.1"}, "still"),
        ({"neighbors": "0"}, "neighbors"),
        ({"words": "-1"}, "words"),
        ({"sparsity": "-1"}, "sparsity"),
        ({"smoothness": "-1"}, "smoothness"),
        ({"pooling": "sum"}, "max, mean"),
        ({"iterations": "0"}, "iterations"),
        ({"c": "0"}, "c to be a number"),
        ({"kernel": "cubic"}, "chosen, linear, poly, rbf"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_runs(settings, message):
    with pytest.raises(BadInput, match=message) as caught:
        methods.create("sparse-mdmo", **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda given: given.pop("dictionary"),
        lambda given: given.pop("constants"),
        lambda given: given.pop("intercepts"),
        lambda given: given.update(more=np.zeros(2)),
        lambda given: given.update(dictionary=given["dictionary"][:-1]),
        lambda given: given.update(dictionary=given["dictionary"][:, :-1]),
        lambda given: given.update(dictionary=given["dictionary"][0]),
        lambda given: given.update(constants=given["constants"][:1]),
        lambda given: given.update(classes=given["classes"] + 1),
    ],
)
def test_arrays_that_are_no_weights_are_refused(damage):
    method = SparseMDMO(words=6, sparsity=0.1, smoothness=0.1, c=1.0)
    given = method.fit(atoms(), np.arange(12) % 3, ["a"] * 12).weights()
    loaded = SparseMDMO().load_weights(given)
    np.testing.assert_array_equal(loaded.predict_proba(atoms(1)), method.predict_proba(atoms(1)))
    with pytest.raises(BadInput, match="weights of SparseMDMO"):
        SparseMDMO(words=7).load_weights(given)
    damage(given)
    with pytest.raises(BadInput, match="weights of SparseMDMO for 3 classes"):
        SparseMDMO().load_weights(given)


def test_the_transformer_learns_and_codes():
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    flows = np.random.default_rng(0).normal(0, 0.02, (12, 3, 2, 40, 40)).astype(np.float32)
    for clip, fields in enumerate(flows):
        fields[:, clip % 2, 10 * (clip % 3) : 10 * (clip % 3) + 12] += 1
    transformer = clone(SparseMDMOTransformer(words=8, smoothness=0.05, drift="none"))
    with pytest.raises(NotFittedError):
        transformer.transform(flows)
    with pytest.raises(BadInput, match="at least one clip"):
        transformer.fit([])
    for wrong in ({"pooling": "sum"}, {"words": 0}):  # 0 leaves the choice to the method, which has labels
        with pytest.raises(BadInput, match=next(iter(wrong))):
            SparseMDMOTransformer(**wrong).fit(flows)
    found = transformer.fit(flows).transform([flows[0], flows[1][:2], flows[2][0]])  # clips may differ in length
    assert found.shape == (3, 8)
    coder = SparseMDMO(words=8, sparsity=0.1, smoothness=0.05).learned([features(f, drift="none") for f in flows])
    np.testing.assert_array_equal(found[0], coder.pooled([coder.prepared(features(flows[0], drift="none"))])[0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(transformer)).transform(flows[:1])[0], found[0])
    labels = np.arange(12) % 3
    assert (make_pipeline(transformer, SVC(C=10)).fit(flows[:9], labels[:9]).predict(flows[9:]) == labels[9:]).all()


def test_a_whole_fold_of_frame_clips_is_told_apart():
    clips = frame_clips(4, 3)
    method = SparseMDMO(**{**QUICK, "size": 64, "words": 12})
    x, y, subjects = np.stack([method.represent(clip) for clip in clips]), np.arange(12) % 3, [c.subject for c in clips]
    assert (x.shape, x.dtype) == ((12, 4, 72), np.float32)
    assert (method.fit(x, y, subjects).predict_proba(x).argmax(1) == y).all()
