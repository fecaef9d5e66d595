"""The pictures docs/images/feature-*.png: what the hand-crafted features see of one rendered smile.

    python docs/make_feature_pictures.py [--out docs/images]

Every picture is drawn from what the feature's own functions return.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from make_pictures import BAR, GAP, GROUND, NAMED_BAR, PANEL, WIDTH, arrow, dark, paper, put
from PIL import Image

from microexpr.datasets import synthetic
from microexpr.datasets._face import Identity
from microexpr.datasets._render import Movement, RenderedFrames
from microexpr.faces.regions import mdmo_regions, mean_landmarks
from microexpr.kernels import lbp
from microexpr.kernels.histogram import block_bounds, block_sums
from microexpr.methods import bi_woof, mdmo, sparse_mdmo
from microexpr.motion.color import flow_to_color
from microexpr.motion.flow import flow_between, strain
from microexpr.video import canvas
from microexpr.video.canvas import BLUE, INK, ORANGE, PAPER, RULE, SOFT, write
from microexpr.video.draw import _with_wheel

SIZE = 224  # pixels of a frame
LENGTH, APEX = 60, 28
SMILE = Movement(0, APEX, LENGTH - 1, ("6", "12"), 2.0, 0.05)
STEP = 6  # gray levels; finer is sensor noise

# Of LBP-TOP: the column that is shown over time, its rows, and the block whose histograms are shown, (row, column).
COLUMN, ROWS, BLOCK, BLOCKS, RADIUS = 70, (98, 146), (4, 2), 8, 3
# Of Bi-WOOF: what its rows of blocks show.
FACE_ROWS = ("forehead", "eyes", "cheeks", "mouth", "chin")
# Of MDMO: pixels of the longest arrow, and words of the dictionary.
LONGEST, WORDS = 40, 32


@dataclass(frozen=True)
class Shown:
    """The clip: its frames, gray and in color, and the flow from the first to each later one."""

    frames: list[np.ndarray]
    flows: np.ndarray

    @property
    def gray(self) -> np.ndarray:
        return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in self.frames])

    @property
    def apex(self) -> np.ndarray:
        """The flow from the first frame to the apex."""
        return self.flows[APEX - 1]


def rendered(movement: Movement | None, subject: int = 0) -> RenderedFrames:
    movements = () if movement is None else (movement,)
    return RenderedFrames(LENGTH, movements, Identity((0, subject)), (0, subject), head_pixels=0.0)


def shown(frames: RenderedFrames) -> Shown:
    pictures = [frames.read(number) for number in range(LENGTH)]
    return Shown(pictures, np.stack([flow_between(pictures[0], picture) for picture in pictures[1:]]))


def faded(frame: np.ndarray, share: float = 0.6) -> np.ndarray:
    """A gray frame that lies behind something."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, axis=2)
    return np.rint((1 - share) * gray + share * 255).astype(np.uint8)


def hue(degrees: float, saturation: float = 1.0) -> tuple[int, int, int]:
    """The color of a direction on the wheel: 0 is right, 90 down."""
    vector = saturation * np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
    red, green, blue = flow_to_color(vector.reshape(2, 1, 1), peak=1.0)[0, 0]
    return int(red), int(green), int(blue)


def grid_lines(picture: np.ndarray, left: float, count: int, color: tuple[int, int, int]) -> None:
    """Blocks over a panel."""
    for number in range(1, count):
        at = PANEL * number / count
        canvas.fill(picture, left + at, GAP, 1, PANEL, color, 0.55)
        canvas.fill(picture, left, GAP + at, PANEL, 1, color, 0.55)


def raster(values: np.ndarray, width: int = 2 * PANEL, height: int = 2 * PANEL) -> np.ndarray:
    """A small array as a picture of this size whose cells can be seen."""
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST)


def caption(picture: np.ndarray, words: str, left: float, top: float) -> None:
    write(picture, words, left, top, SOFT, 14)


# --- LBP-TOP ---


def code_colors(start: float, sense: int) -> np.ndarray:
    """The color of each of the 256 codes: the side of the brighter neighbors as a hue.

    White has no side, gray has several. Neighbor p lies at `start` + `sense` 45 p degrees on the picture, 90 down.
    """
    colors = np.full((256, 3), 178, np.uint8)
    for code in range(256):
        bits = code >> np.arange(8) & 1
        ones = int(bits.sum())
        if ones in (0, 8):
            colors[code] = 255
        elif (bits != np.roll(bits, 1)).sum() == 2:
            first = next(number for number in range(8) if bits[number] and not bits[number - 1])
            middle = 45 * (first + (ones - 1) / 2)
            colors[code] = hue(start + sense * middle, 1 - abs(ones - 4) / 5)
    return colors


# XY and XT are shown with x to the right, YT with time to the right; y, and the time of XT, grow downwards.
COLORS_OF = {"XY": code_colors(0, -1), "XT": code_colors(0, -1), "YT": code_colors(90, 1)}


def lbp_picture(smile: Shown, still: np.ndarray) -> np.ndarray:
    """A frame and a column over time, their codes, and the histograms of one block."""
    volume = smile.gray
    picture = paper(WIDTH, 2 * GAP + PANEL + 30 + 212)
    put(picture, smile.frames[APEX], GAP, "apex, 8x8 blocks")
    grid_lines(picture, GAP, BLOCKS, PAPER)
    ends = lbp.spans(SIZE - 2 * RADIUS, BLOCKS, 0.0) + RADIUS
    (top, bottom), (left, right) = ends[BLOCK[0]], ends[BLOCK[1]]
    canvas.fill(picture, GAP + COLUMN - 1, GAP + ROWS[0], 2, ROWS[1] - ROWS[0], BLUE)
    flat = np.full((SIZE, SIZE, 3), 255, np.uint8)
    flat[RADIUS:-RADIUS, RADIUS:-RADIUS] = COLORS_OF["XY"][lbp.codes(volume, "XY")[APEX - RADIUS]]
    lefts = [GAP + number * (PANEL + GAP) for number in range(4)]
    put(picture, _with_wheel(flat), lefts[1], "its codes: hue is the brighter side")
    for at, color in ((lefts[0], ORANGE), (lefts[1], INK)):
        canvas.frame(picture, at + left - 2, GAP + top - 2, right - left + 4, bottom - top + 4, color, 3)
    rows = slice(*ROWS)
    column = volume[RADIUS:-RADIUS, rows, COLUMN].T.astype(float)
    stretched = (column - column.min()) / np.ptp(column)
    put(picture, raster(np.rint(255 * stretched).astype(np.uint8)), lefts[2], "the blue line over time")
    codes = lbp.codes(volume, "YT")[:, ROWS[0] - RADIUS : ROWS[1] - RADIUS, COLUMN - RADIUS].T
    put(picture, raster(COLORS_OF["YT"][codes]), lefts[3], "its codes: motion tilts an edge")
    lbp_bars(picture, volume, still, 2 * GAP + PANEL + 38)
    return picture


def lbp_bars(picture: np.ndarray, volume: np.ndarray, still: np.ndarray, top: int) -> None:
    """The three histograms of the block, and those of a still face as marks."""
    moved, rest = (lbp.histograms(given)[0, BLOCK[0], BLOCK[1]].reshape(3, -1) for given in (volume, still))
    bins = lbp.bins_of_codes(8, "uniform")
    code_of = [int(np.flatnonzero(bins == number)[0]) for number in range(moved.shape[1])]
    *uniform, others = range(len(code_of))
    uniform.sort(key=lambda number: (code_of[number].bit_count(), code_of[number]))
    width, height = (WIDTH - 4 * GAP) / 3, 120
    titles = ("XY: what is there", "XT: what moves sideways", "YT: what moves up and down")
    for plane, title in enumerate(titles):
        left, ground = GAP + plane * (width + GAP), top + 30 + height
        write(picture, title, left, top, INK, 15)
        canvas.fill(picture, left, top + 30, width, height, GROUND)
        peak = 1.08 * max(given[plane, uniform].max() for given in (moved, rest))
        step = width / len(code_of)
        for place, number in enumerate([*uniform, others]):
            x, tall = left + place * step, height * min(moved[plane, number] / peak, 1)
            red, green, blue = (int(level) for level in COLORS_OF[title[:2]][code_of[number]])
            no_side = red == green == blue
            canvas.fill(picture, x + 0.5, ground - tall, step - 1, tall, BAR if no_side else (red, green, blue))
            at = height * rest[plane, number] / peak
            if at <= height:
                canvas.fill(picture, x, ground - at - 1, step, 2, INK)
        if moved[plane, others] > peak:
            words = f"{100 * moved[plane, others]:.0f} %"
            write(picture, words, left + width - step - 4, top + 32, SOFT, 12, align=1.0)
        canvas.fill(picture, left, ground, width, 1, SOFT)
    words = (
        "59 bins for each plane of the orange block: the bars are this clip, the marks the same face without a smile"
    )
    caption(picture, words, GAP, top + 30 + height + 9)


# --- Bi-WOOF ---


def wedge(
    picture: np.ndarray, center: Sequence[float], radius: float, start: float, color: tuple[int, int, int]
) -> None:
    """A sector of 45 degrees."""
    angles = np.radians(start + np.linspace(0, 45, 10))
    points = np.array([center, *(np.array(center) + radius * np.stack([np.cos(angles), np.sin(angles)], 1))])
    cv2.fillPoly(picture, [np.rint(16 * points).astype(np.int32)], color, cv2.LINE_AA, 4)


def roses(picture: np.ndarray, left: float, histograms: np.ndarray, scale: np.ndarray) -> None:
    """A histogram of every block: the area of a sector is its share, times `scale`."""
    side = PANEL / len(histograms)
    for row, column in np.ndindex(*scale.shape):
        center = left + (column + 0.5) * side, GAP + (row + 0.5) * side
        for number, share in enumerate(histograms[row, column]):
            start = -180 + 45 * number
            wedge(picture, center, 0.56 * side * math.sqrt(share * scale[row, column]), start, hue(start + 22.5))


def bi_woof_picture(smile: Shown) -> np.ndarray:
    """The flow, its local histograms, the strain of the blocks, and both together."""
    flow, count = smile.apex, 5
    picture = paper(WIDTH, 2 * GAP + PANEL + 30 + 166)
    lefts = [GAP + number * (PANEL + GAP) for number in range(4)]
    put(picture, _with_wheel(flow_to_color(flow)), lefts[0], "flow, 5x5 blocks")
    local = bi_woof.local_histograms(flow)
    bounds = block_bounds(SIZE, count, 1)
    weights = block_sums(strain(flow), bounds, bounds)
    weights /= weights.max()
    put(picture, faded(smile.frames[APEX]), lefts[1], "direction, weighted by magnitude")
    put(
        picture,
        np.kron(255 * (1 - 0.75 * weights), np.ones((45, 45))).astype(np.uint8),
        lefts[2],
        "strain of the blocks",
    )
    put(picture, faded(smile.frames[APEX]), lefts[3], "weighted by both")
    for left in lefts:
        grid_lines(picture, left, count, SOFT if left != lefts[2] else PAPER)
    roses(picture, lefts[1], local, np.full((count, count), 0.8))
    roses(picture, lefts[3], local, weights)
    feature = bi_woof.features(flow).reshape(count**2, 8)
    top, height, left = 2 * GAP + PANEL + 56, 96, GAP
    step = (WIDTH - 2 * GAP) / feature.size
    canvas.fill(picture, left, top, WIDTH - 2 * GAP, height, GROUND)
    for number, value in enumerate(feature.ravel()):
        tall = height * value / (1.05 * feature.max())
        block, sector = divmod(number, 8)
        if number % (8 * count) == 0:
            canvas.fill(picture, left + number * step, top, 1, height, RULE)
            write(picture, FACE_ROWS[block // count], left + number * step + 6, top - 22, SOFT, 13)
        color = hue(-180 + 45 * sector + 22.5)
        canvas.fill(picture, left + number * step, top + height - tall, max(step - 1, 1), tall, color)
    canvas.fill(picture, left, top + height, WIDTH - 2 * GAP, 1, SOFT)
    caption(picture, "the feature: 8 directions of each of 25 blocks, row by row", left, top + height + 8)
    return picture


# --- MDMO ---


def outlines(picture: np.ndarray, left: int, regions: np.ndarray, color: tuple[int, int, int]) -> None:
    """The borders of the regions over a panel."""
    place = picture[GAP : GAP + PANEL, left : left + PANEL]
    border = (regions != np.roll(regions, 1, 0)) | (regions != np.roll(regions, 1, 1))
    place[border] = np.rint(0.35 * place[border] + 0.65 * np.array(color)).astype(np.uint8)


def middles(regions: np.ndarray) -> np.ndarray:
    """(x, y) of each region."""
    return np.array([np.argwhere(regions == number).mean(axis=0)[::-1] for number in range(1, regions.max() + 1)])


def region_arrows(picture: np.ndarray, left: int, places: np.ndarray, found: np.ndarray) -> None:
    """The (rho, theta) of every region; blue where a region moves at least a quarter as much as the strongest."""
    strongest = found[:, 0].max()
    for (x, y), (rho, theta) in zip(places, found, strict=True):
        start, length = (left + x, GAP + y), LONGEST * rho / strongest
        end = start[0] + length * math.cos(theta), start[1] + length * math.sin(theta)
        arrow(picture, start, end, BLUE if rho > strongest / 4 else INK)


def dictionary() -> sparse_mdmo.Coder:
    """Words learned from rendered clips of other people and other expressions."""
    clips = synthetic.read(subjects=4, clips_per_subject=6, seed=1)
    coder = sparse_mdmo.Coder(np.zeros((0, 72)))
    atoms = np.concatenate([sparse_mdmo.features_of_clip(clip) for clip in clips])
    return coder.learned(coder.prepared(atoms), WORDS, 20, 0)


def distances(motions: np.ndarray) -> np.ndarray:
    """Between all frames, 0 to 2: |a - b|^2 / (|a|^2 + |b|^2), and 0 where nothing moves in both."""
    squares = (motions**2).sum(axis=1)
    sums = squares[:, None] + squares
    apart = ((motions[:, None] - motions) ** 2).sum(axis=2)
    return np.divide(apart, sums, out=np.zeros_like(apart), where=sums > 0)


def mdmo_picture(smile: Shown) -> np.ndarray:
    """Main directions at the apex, on the average and frame by frame; below, what Sparse MDMO makes of the frames."""
    regions = mdmo_regions(mean_landmarks(SIZE), (SIZE, SIZE))
    found, places = mdmo.directions(smile.flows), middles(regions)
    picture = paper(WIDTH, 3 * GAP + 2 * PANEL + 66)
    lefts = [GAP + number * (PANEL + GAP) for number in range(4)]
    put(picture, _with_wheel(flow_to_color(smile.apex)), lefts[0], "flow at the apex, 36 regions")
    outlines(picture, lefts[0], regions, INK)
    for left, shape, words in (
        (lefts[1], found[APEX - 1], "main direction in each of them"),
        (lefts[2], mdmo.averaged(found), "MDMO: the mean over all frames"),
    ):
        put(picture, faded(smile.frames[APEX], 0.35), left, words)
        outlines(picture, left, regions, PAPER)
        region_arrows(picture, left, places, shape)
    rho, theta = found.transpose(2, 1, 0)
    put(
        picture,
        raster(flow_to_color(rho * np.stack([np.cos(theta), np.sin(theta)]))),
        lefts[3],
        "36 regions down, frames across",
    )
    atoms, coder = sparse_mdmo.features(smile.flows), dictionary()
    top = 2 * GAP + PANEL + 34
    apart = distances(sparse_mdmo.sparse(atoms, coder.beta, coder.still)[1])
    put(picture, dark(apart), lefts[0], "any two frames: white is alike", top=top)
    codes = np.abs(coder.codes(coder.prepared(atoms)))
    used = np.flatnonzero(codes.max(axis=0) > 0.05)
    used = used[np.argsort(codes[:, used].argmax(axis=0), kind="stable")]
    left, width = lefts[1], 2 * PANEL + GAP
    picture[top : top + PANEL, left : left + width] = raster(dark(codes[:, used].T), width, PANEL)[..., None]
    canvas.frame(picture, left, top, width, PANEL, RULE)
    caption(picture, f"sparse codes: {len(used)} of {WORDS} learned words, frame by frame", left, top + PANEL + 7)
    step, pooled = PANEL / len(used), codes[:, used].max(axis=0)
    canvas.fill(picture, lefts[3], top, PANEL, PANEL, GROUND)
    for number, value in enumerate(pooled):
        length = 0.96 * PANEL * value / pooled.max()
        canvas.fill(picture, lefts[3], top + number * step + 1, length, step - 2, NAMED_BAR)
    caption(picture, "Sparse MDMO: the largest of each", lefts[3], top + PANEL + 7)
    return picture


def save(picture: np.ndarray, file: Path) -> None:
    """A small file: gray levels in steps."""
    levels = np.minimum(STEP * np.rint(picture / STEP), 255)
    levels[picture == 255] = 255  # the paper stays white
    Image.fromarray(levels.astype(np.uint8)).save(file, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images", metavar="DIR")
    options = parser.parse_args()
    smile = shown(rendered(SMILE))
    still = shown(rendered(None)).gray
    pictures = {
        "lbp-top": lbp_picture(smile, still),
        "bi-woof": bi_woof_picture(smile),
        "mdmo": mdmo_picture(smile),
    }
    for name, picture in pictures.items():
        save(picture, options.out / f"feature-{name}.png")


if __name__ == "__main__":
    main()
