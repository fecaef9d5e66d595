"""Sparse MDMO: the main directions of each frame as sparse codes that respect their neighborhood, pooled, and an SVM.

Liu, Li and Lai, "Sparse MDMO: learning a discriminative feature for micro-expression recognition", IEEE Transactions on
Affective Computing, 2018, doi:10.1109/TAFFC.2018.2854166. We have its abstract: averaging MDMO over the frames loses
the manifold that its vectors lie on; a distance that is based on their sparsity shows it, and goes into graph
regularized sparse coding (GraphSC, `kernels.sparse_codes`) with a learned dictionary. **Every constant is ours**, and
so are the form of the distance, the pooling and the way new clips are coded.

`features` gives the vectors of the frames of any flow fields, `features_of_clip` those of a clip, `Coder` their codes;
`transformers.SparseMDMOTransformer` does all of it for scikit-learn.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from microexpr.errors import BadInput
from microexpr.faces.regions import MDMO_REGIONS
from microexpr.kernels.sparse_codes import Graph, encode, graph_of, learn, nearest
from microexpr.methods import _svm
from microexpr.methods._directions import check_settings, directions, directions_of_clip, ends, spread
from microexpr.methods._settings import check_choice, check_range
from microexpr.methods.mdmo import GRID, weighted
from microexpr.types import Clip

POOLINGS = ("max", "mean")
BETAS = (0.01, 0.99)  # from, to: both magnitudes and angles can be read off an atom
# What is chosen from where a constant is not set; FOLDS of the inner split it is chosen on.
WORDS, SPARSITIES, SMOOTHNESSES = (32, 64), (0.1, 0.3), (0.01, 0.1)
FOLDS = 3

Atoms = Float[np.ndarray, "atom 72"]
Clips = Sequence[Float[np.ndarray, "_ 72"]] | Float[np.ndarray, "clip atom 72"]
Prepared = tuple[Float64[np.ndarray, "_ 72"], Graph]


def features(
    flows: np.ndarray,
    *,
    landmarks: np.ndarray | None = None,
    drift: str = "affine",
    beta: float = 0.8,
) -> Float32[np.ndarray, "frame 72"]:
    """The atoms: MDMO of each field by itself, magnitudes in fractions of the largest of all fields.

    Args and Raises: as for `mdmo.features`.
    """
    return _weighted_frames(directions(flows, landmarks=landmarks, drift=drift), beta)


def features_of_clip(
    clip: Clip, *, atoms: int = 16, size: int = 224, flow_mode: str = "clg", drift: str = "affine", beta: float = 0.8
) -> Float32[np.ndarray, "{atoms} 72"]:
    """MDMO of frames of a clip, evenly spread after the onset, the last one included, by the mean face.

    Args:
        clip: aligned crops of a face from onset to offset (apex where there is no offset).
        atoms: number of frames; of a shorter clip some come more than once.
        size, flow_mode, drift, beta: as for `mdmo.features_of_clip`.

    Raises:
        BadInput: the clip has no frames, fewer than two of them, or ones under 16x16 pixels; or a setting is wrong.
    """
    if clip.frames is None:
        raise BadInput("a clip with frames", f"{clip.key} without", "load a data set with frames")
    check_range("atoms", atoms, 1)
    numbers = spread(*ends(clip), atoms)
    found = directions_of_clip(clip, size=size, flow_mode=flow_mode, frames=atoms, drift=drift)
    return _weighted_frames(found[np.unique(numbers, return_inverse=True)[1]], beta)


def _weighted_frames(found: Float64[np.ndarray, "frame 36 2"], beta: float) -> Float32[np.ndarray, "frame 72"]:
    return np.stack([weighted(frame, beta, found[..., 0].max()) for frame in found])


def sparse(
    atoms: Atoms, beta: float, still: float
) -> tuple[Float64[np.ndarray, "atom 72"], Float64[np.ndarray, "atom 72"]]:
    """Atoms without the regions that keep still, and the motion of the others.

    A region keeps still where its magnitude is at most `still`, a fraction of the clip's largest. Where it points is
    noise then, and both its numbers become 0.

    Args:
        atoms: by `features` with this beta, above 0 and below 1.

    Returns:
        the atoms, scaled to length 1, and u and v of all regions, what `kernels.sparse_codes.nearest` compares: a
        region that keeps still in two atoms does not count between them.

    Raises:
        BadInput: beta leaves no magnitudes or no angles.
    """
    check_range("beta", beta, *BETAS)
    exact = atoms.astype(np.float64)
    rho, theta = exact[:, :MDMO_REGIONS] / beta, exact[:, MDMO_REGIONS:] / (1 - beta)
    moving = rho > still
    kept = exact * np.concatenate([moving, moving], axis=1)
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    motion = np.concatenate([rho * np.cos(theta) * moving, rho * np.sin(theta) * moving], axis=1)
    return kept / np.where(lengths > 0, lengths, 1), motion


@dataclass(frozen=True)
class Coder:
    """A learned dictionary: the atoms of a clip in, its pooled codes out. No other clip has a part in the answer.

    Attributes:
        dictionary: words of length 1 at most; none yet in what `learned` is asked of.
        beta, still: of the atoms, see `sparse`.
        neighbors: nearest atoms that an atom is joined with.
        sparsity, smoothness: weights of the objective, see `kernels.sparse_codes`.
        pooling: over the atoms, of the absolute values of the codes: "max" or "mean".
    """

    dictionary: Float64[np.ndarray, "word 72"]
    beta: float = 0.8
    still: float = 0.1
    neighbors: int = 5
    sparsity: float = 0.1
    smoothness: float = 0.1
    pooling: str = "max"

    def prepared(self, atoms: Atoms) -> Prepared:
        """What is coded, each atom joined with the nearest of those given."""
        x, motion = sparse(atoms, self.beta, self.still)
        return x, graph_of(nearest(motion, self.neighbors))

    def codes(self, atoms: Prepared) -> Float64[np.ndarray, "atom word"]:
        """The codes of a clip's atoms."""
        x, graph = atoms
        return encode(x, self.dictionary, graph, self.sparsity, self.smoothness)

    def pooled(self, clips: Sequence[Prepared]) -> Float64[np.ndarray, "clip word"]:
        """The pooled codes of clips."""
        pool = np.max if self.pooling == "max" else np.mean
        return np.stack([pool(np.abs(self.codes(atoms)), axis=0) for atoms in clips])

    def learned(self, atoms: Prepared, words: int, iterations: int, seed: int) -> Coder:
        """The same with a dictionary for the atoms of many clips, which are joined across clips, too.

        It begins with atoms that are drawn from them.
        """
        x, graph = atoms
        drawn = np.random.default_rng(seed).choice(len(x), words, replace=len(x) < words)
        found, _, _ = learn(x, x[drawn], graph, self.sparsity, self.smoothness, iterations=iterations)
        return replace(self, dictionary=found)


Option = tuple[int, Coder]  # words, and a coder without a dictionary


@dataclass
class SparseMDMO:
    """Pooled sparse codes of the main directions of each frame with an SVM, one class against the rest.

    Every constant is ours. ``words``, ``sparsity`` and ``smoothness`` are chosen on an inner subject-disjoint split of
    the training rows where they are not set, each time with a dictionary that is learned without the rows held back.

    Attributes:
        atoms: frames of a clip, evenly spread.
        beta: weight of the magnitudes against the angles, above 0 and below 1.
        drift: motion of the head, taken off the field of each frame: "affine", "translation" or "none".
        size: height and width to which frames are resized before the flow.
        flow_mode: solver of `motion.flow`.
        still: a region keeps still where its magnitude is at most this fraction of the clip's largest.
        neighbors: nearest atoms that an atom is joined with.
        words: of the dictionary; 0 (default) takes the best of `WORDS`.
        sparsity: weight of the absolute values of the codes; None (default) takes the best of `SPARSITIES`.
        smoothness: weight of the differences between the codes of joined atoms; None (default) takes the best of
            `SMOOTHNESSES`.
        pooling: of the absolute values of the codes over the atoms: "max" or "mean".
        iterations: rounds of learning at most.
        c: the SVM's C; None (default) takes the best of `GRID` on an inner subject-disjoint split of the training rows.
        kernel: "linear", "poly" or "rbf"; "chosen" takes the best of them on the same split.
        classes: number of classes.
        seed: which atoms the dictionary begins with.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"frames"})
    grid: ClassVar[tuple[float, ...]] = GRID
    kernels: ClassVar[tuple[str, ...]] = _svm.KERNELS

    atoms: int = 16
    beta: float = 0.8
    drift: str = "affine"
    size: int = 224
    flow_mode: str = "clg"
    still: float = 0.1
    neighbors: int = 5
    words: int = 0
    sparsity: float | None = None
    smoothness: float | None = None
    pooling: str = "max"
    iterations: int = 20
    c: float | None = None
    kernel: str = "chosen"
    classes: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        _svm.start(self)
        check_settings(self)
        for name, low in (("atoms", 1), ("neighbors", 1), ("words", 0), ("iterations", 1)):
            check_range(name, getattr(self, name), low)
        check_range("beta", self.beta, *BETAS)
        check_range("still", self.still, 0, 1)
        for name in ("sparsity", "smoothness"):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), 0)
        check_choice("pooling", self.pooling, POOLINGS)
        self.coder_: Coder | None = None

    def represent(self, clip: Clip) -> Float32[np.ndarray, "atom 72"]:
        """`features_of_clip` with these settings."""
        return features_of_clip(
            clip, atoms=self.atoms, size=self.size, flow_mode=self.flow_mode, drift=self.drift, beta=self.beta
        )

    def fit(
        self, x: Float[np.ndarray, "clip atom 72"], y: Int[np.ndarray, " clip"], subjects: Sequence[str]
    ) -> SparseMDMO:
        """Chooses the constants that are not set, learns the dictionary, chooses C and kernel, trains the machine.

        The machine sees every clip coded by itself, as the clips to come will be.
        """
        coder = self.learned(x, self._chosen(x, y, subjects))
        codes = coder.pooled([coder.prepared(atoms) for atoms in x])
        grid = self.grid if self.c is None else (self.c,)
        self.c_, self.kernel_ = _svm.choose(codes, y, subjects, grid, _svm.kernels_of(self))
        self.coder_, self.machine_ = coder, _svm.train(codes, y, self.c_, self.kernel_)
        return self

    def learned(self, clips: Clips, option: Option | None = None) -> Coder:
        """A coder whose dictionary is learned from the atoms of these clips.

        Args:
            option: the words and the coder without a dictionary; None takes the settings, and of what they leave open
                the first choice.
        """
        words, coder = option or self._options()[0]
        return coder.learned(coder.prepared(np.concatenate(clips)), words, self.iterations, self.seed)

    def _options(self) -> list[Option]:
        """What the settings leave to choose from."""
        nothing = np.zeros((0, 2 * MDMO_REGIONS))
        return [
            (words, self._coder(nothing, sparsity, smoothness))
            for words, sparsity, smoothness in itertools.product(
                (self.words,) if self.words else WORDS,
                SPARSITIES if self.sparsity is None else (self.sparsity,),
                SMOOTHNESSES if self.smoothness is None else (self.smoothness,),
            )
        ]

    def _chosen(
        self, x: Float[np.ndarray, "clip atom 72"], y: Int[np.ndarray, " clip"], subjects: Sequence[str]
    ) -> Option:
        """The option with the best UF1 on the inner split.

        Of equals the first one. The machine has the middle C and the first kernel. With one subject nothing can be held
        back, and the first option is taken.
        """
        from sklearn.metrics import f1_score

        options = self._options()
        folds = _svm.inner_folds(y, subjects, FOLDS)
        if len(options) == 1 or not folds:
            return options[0]
        clips = [options[0][1].prepared(atoms) for atoms in x]
        c = sorted(self.grid)[len(self.grid) // 2] if self.c is None else self.c
        predicted = np.empty((len(options), len(y)), y.dtype)
        for trained, held_back in folds:
            together = options[0][1].prepared(np.concatenate(x[trained]))  # the same for all options
            for number, (words, coder) in enumerate(options):
                codes = coder.learned(together, words, self.iterations, self.seed).pooled(clips)
                machine = _svm.train(codes[trained], y[trained], c, _svm.kernels_of(self)[0])
                predicted[number, held_back] = _svm.decide(machine, codes[held_back], self.classes).argmax(1)
        scores = [f1_score(y, row, average="macro", zero_division=0) for row in predicted]
        return options[int(np.argmax(scores))]

    def _coder(self, dictionary: Float64[np.ndarray, "word 72"], sparsity: float, smoothness: float) -> Coder:
        return Coder(dictionary, self.beta, self.still, self.neighbors, sparsity, smoothness, self.pooling)

    def predict_proba(self, x: Float[np.ndarray, "clip atom 72"]) -> Float[np.ndarray, "clip class"]:
        """Scores that sum to 1 and order the classes as the machine does; not calibrated."""
        machine = _svm.fitted(self)
        assert self.coder_ is not None  # for the type checker: there is one where there is a machine
        return _svm.decide(machine, self.coder_.pooled([self.coder_.prepared(atoms) for atoms in x]), self.classes)

    def weights(self) -> dict[str, np.ndarray]:
        """The dictionary "word 72", the constants sparsity and smoothness, and the arrays of the machine."""
        arrays = _svm.weights(self)
        assert self.coder_ is not None  # for the type checker
        constants = np.array([self.coder_.sparsity, self.coder_.smoothness])
        return {"dictionary": self.coder_.dictionary, "constants": constants, **arrays}

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> SparseMDMO:
        """Takes over what `weights` gave.

        Raises:
            BadInput: they are another method's, or do not fit the settings.
        """
        of_machine = {name: array for name, array in weights.items() if name not in ("dictionary", "constants")}
        dictionary, constants = (np.asarray(weights.get(name, ())) for name in ("dictionary", "constants"))
        machine = None
        if dictionary.ndim == 2 and dictionary.shape[1] == 2 * MDMO_REGIONS and constants.shape == (2,):
            machine = _svm.from_arrays(of_machine, len(dictionary), self.classes, _svm.kernels_of(self))
        if machine is None or self.words not in (0, len(dictionary)):
            raise BadInput(
                f"the weights of {type(self).__name__} for {self.classes} classes, kernel "
                + " or ".join(_svm.kernels_of(self)),
                ", ".join(f"{name} of shape {np.shape(value)}" for name, value in sorted(weights.items())) or "none",
                "give the weights of this method, and its settings",
            )
        self.coder_ = self._coder(dictionary, *map(float, constants))
        self.machine_, self.kernel_ = machine, machine.kernel
        return self
