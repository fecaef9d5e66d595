"""Pictures and flow fields on disk."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from microexpr.errors import BadInput
from microexpr.motion.color import flow_to_color
from microexpr.motion.files import read_flo, read_picture, save_flow, write_flo, write_picture


@pytest.fixture
def flow() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 5, 7)).astype(np.float32)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (12, 9, 3), dtype=np.uint8)


def test_flo_golden_bytes(tmp_path: Path) -> None:
    """Written by hand: "PIEH", width 2, height 1, then u v of the left pixel and u v of the right one."""
    content = b"PIEH" + struct.pack("<ii", 2, 1) + struct.pack("<ffff", 1.0, -2.0, 0.5, 4.0)
    path = tmp_path / "a.flo"
    path.write_bytes(content)
    flow = read_flo(path)
    np.testing.assert_array_equal(flow, [[[1.0, 0.5]], [[-2.0, 4.0]]])
    assert flow.dtype == np.float32
    write_flo(tmp_path / "b.flo", flow)
    assert (tmp_path / "b.flo").read_bytes() == content


def test_flo_round_trip_is_exact(tmp_path: Path, flow: np.ndarray) -> None:
    flow[0, 0, 0] = 1e-42  # a subnormal
    write_flo(tmp_path / "a.flo", flow)
    np.testing.assert_array_equal(read_flo(str(tmp_path / "a.flo")), flow)


def test_broken_flo_files_are_named(tmp_path: Path, flow: np.ndarray) -> None:
    path = tmp_path / "a.flo"
    write_flo(path, flow)
    whole = path.read_bytes()
    broken = [b"", whole[:11], b"HEIP" + whole[4:], whole[:-1], whole + b"\0"]
    broken.append(whole[:4] + struct.pack("<ii", -7, -5) + whole[12:])
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(BadInput, match=r"a\.flo"):
            read_flo(path)
    with pytest.raises(BadInput, match="missing"):
        read_flo(tmp_path / "missing.flo")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".PNG"])
def test_pictures_come_back_exactly_and_as_rgb(tmp_path: Path, picture: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"Gesicht ä{suffix}"  # names beyond ASCII must work
    write_picture(path, picture)
    np.testing.assert_array_equal(read_picture(path), picture)
    with Image.open(path) as independent:
        np.testing.assert_array_equal(np.asarray(independent.convert("RGB")), picture)


def test_jpeg_comes_back_nearly(tmp_path: Path) -> None:
    red = np.full((16, 16, 3), (200, 30, 60), np.uint8)
    write_picture(tmp_path / "a.jpg", red)
    assert np.abs(read_picture(tmp_path / "a.jpg").astype(int) - red).max() <= 3


def test_gray_is_repeated_and_alpha_dropped(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture[..., 0]).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "gray.png"), np.repeat(picture[..., :1], 3, axis=2))
    alpha = np.arange(108, dtype=np.uint8).reshape(12, 9, 1)
    Image.fromarray(np.concatenate([picture, alpha], axis=2)).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "alpha.png"), picture)


def test_a_photograph_is_turned_upright(tmp_path: Path, picture: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: the row 0 of the file is the right side of the scene
    Image.fromarray(picture).save(tmp_path / "phone.jpg", exif=exif)
    assert read_picture(tmp_path / "phone.jpg").shape == (9, 12, 3)


def test_more_than_eight_bits_are_refused(tmp_path: Path, picture: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), picture.astype(np.uint16) * 16)
    with pytest.raises(BadInput, match=r"deep\.png with uint16.*12 bits"):
        read_picture(tmp_path / "deep.png")
    cv2.imwrite(str(tmp_path / "float.tif"), picture.astype(np.float32))
    with pytest.raises(BadInput, match="float32"):
        read_picture(tmp_path / "float.tif")


def test_what_is_no_picture_is_named(tmp_path: Path, picture: np.ndarray) -> None:
    write_picture(tmp_path / "whole.png", picture)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_bytes(b"not a picture")
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:150])
    for name in ("missing.png", "empty.png", "text.jpg", "half.png", "."):
        path = tmp_path / name
        with pytest.raises(BadInput, match=re.escape(str(path))):
            read_picture(path)


def test_a_jpeg_that_was_cut_off_is_refused(tmp_path: Path, picture: np.ndarray) -> None:
    write_picture(tmp_path / "whole.jpg", np.tile(picture, (8, 8, 1)))
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(BadInput, match=r"half\.jpg"):
        read_picture(tmp_path / "half.jpg")


def test_save_flow_goes_by_the_suffix(tmp_path: Path, flow: np.ndarray) -> None:
    for name in ("a.flo", "a.npy", "a.PNG"):
        save_flow(tmp_path / name, flow)
    np.testing.assert_array_equal(read_flo(tmp_path / "a.flo"), flow)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), flow)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.PNG"), flow_to_color(flow))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.PNG", "a.flo", "a.npy"]  # no temporary file


@pytest.mark.parametrize("name", ["a.gif", "a", "a.flo.txt"])
def test_unknown_suffix_is_refused_before_anything_is_written(tmp_path: Path, flow: np.ndarray, name: str) -> None:
    with pytest.raises(BadInput, match="suffix"):
        save_flow(tmp_path / name, flow)
    with pytest.raises(BadInput, match="suffix"):
        write_picture(tmp_path / name, flow_to_color(flow))
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path, flow: np.ndarray) -> None:
    (tmp_path / "folder.flo").mkdir()
    for name in ("missing/a.flo", "folder.flo"):
        with pytest.raises(BadInput, match=name):
            save_flow(tmp_path / name, flow)
    with pytest.raises(BadInput, match=r"missing/a\.png"):
        write_picture(tmp_path / "missing" / "a.png", flow_to_color(flow))
    assert [path.name for path in tmp_path.rglob("*")] == ["folder.flo"]
