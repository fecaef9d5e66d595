"""The published maps: both arrangements, and a precise word about every wrong copy."""

import csv
import shutil

import cv2
import numpy as np
import pytest

from microexpr import datasets
from microexpr.datasets import megc2019_flow
from microexpr.errors import BadInput, DatasetNotFound
from tests.fake import megc2019_flow as fake


@pytest.fixture(scope="module")
def replica(tmp_path_factory):
    return fake.by_list(tmp_path_factory.mktemp("maps") / "flat")


@pytest.fixture
def copy(replica, tmp_path):
    return shutil.copytree(replica, tmp_path / "copy")


def first_map(root):
    return next(iter(sorted(root.glob("*/*.png"))))


def edit_table(root, change):
    table = root / fake.TABLE
    with table.open(newline="") as stream:
        rows = list(csv.reader(stream))
    change(rows)
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def test_reads_442_clips_of_68_subjects_in_the_official_order(replica):
    clips = megc2019_flow.read(replica)
    assert len(clips) == 442
    assert len({clip.subject for clip in clips}) == 68
    assert [(c.dataset, c.key.split("/")[1], c.key.split("/")[2]) for c in clips] == [row[:3] for row in fake.rows()]
    assert [megc2019_flow.EMOTIONS.index(clip.emotion) for clip in clips] == [row[3] for row in fake.rows()]
    assert len({clip.key for clip in clips}) == 442


def test_channels_are_u_v_strain(replica):
    clip = megc2019_flow.read(replica)[0]
    name = f"{clip.subject.split('/')[1]}_{clip.key.split('/')[2]} .png"
    blue, green, red = np.moveaxis(cv2.imread(str(replica / "STSNet_whole_norm_u_v_os" / name)), 2, 0)
    np.testing.assert_array_equal(clip.flow.channels, np.stack([red, green, blue]))


def test_both_arrangements_give_the_same_clips(replica, tmp_path):
    flat, folded = megc2019_flow.read(replica), megc2019_flow.read(fake.by_fold(tmp_path / "folds"))
    assert flat == folded
    for one, other in zip(flat, folded, strict=True):
        np.testing.assert_array_equal(one.flow.channels, other.flow.channels)


def test_maps_beside_the_list_are_read_too(copy):
    for file in copy.glob("*/*.png"):
        file.rename(copy / file.name)
    assert len(megc2019_flow.read(copy)) == 442


def test_empty_folder(tmp_path):
    with pytest.raises(BadInput, match="an empty folder"):
        megc2019_flow.read(tmp_path)


def test_half_the_maps_missing_says_how_many_and_which(copy):
    files = sorted(copy.glob("*/*.png"))
    for file in files[::2]:
        file.unlink()
    with pytest.raises(BadInput, match=r"got 221 without a file .* the first '.* \.png'"):
        megc2019_flow.read(copy)


def test_a_row_without_a_file_is_named(copy):
    edit_table(copy, lambda rows: rows.append(["casme2", "sub99", "EP77_77", "0", "", "", ""]))
    with pytest.raises(BadInput, match=r"'sub99_EP77_77 \.png'"):
        megc2019_flow.read(copy)


def test_a_file_without_a_row_is_named(copy):
    shutil.copy(first_map(copy), first_map(copy).with_name("sub77_EP00 .png"))
    with pytest.raises(BadInput, match=r"'sub77_EP00 \.png'"):
        megc2019_flow.read(copy)


def test_another_size_names_the_file(copy):
    file = first_map(copy)
    cv2.imwrite(str(file), np.zeros((32, 30, 3), np.uint8))
    with pytest.raises(BadInput, match=r"expected 28x28 pixels, got 30x32 in .*png"):
        megc2019_flow.read(copy)


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_a_file_that_is_no_picture_is_named(copy, content):
    first_map(copy).write_bytes(content)
    with pytest.raises(BadInput, match="can't be decoded"):
        megc2019_flow.read(copy)


@pytest.mark.parametrize("picture", [np.zeros((28, 28), np.uint8), np.zeros((28, 28, 3), np.uint16)])
def test_gray_and_16_bit_pictures_are_named(copy, picture):
    cv2.imwrite(str(first_map(copy)), picture)
    with pytest.raises(BadInput, match=r"8 bits with 3 channels, got uint(8 with 1|16 with 3) channels in .*png"):
        megc2019_flow.read(copy)


def test_two_folders_of_maps_are_told_apart(copy):
    other = copy / "three_norm"
    other.mkdir()
    shutil.copy(first_map(copy), other)
    with pytest.raises(BadInput, match="every map once"):
        megc2019_flow.read(copy)


def test_a_list_that_is_no_text_is_named(copy):
    (copy / fake.TABLE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=fake.TABLE):
        megc2019_flow.read(copy)


def test_a_changed_label_breaks_table_2(copy):
    def relabel(rows):
        rows[1][3] = str((int(rows[1][3]) + 1) % 3)

    edit_table(copy, relabel)
    with pytest.raises(BadInput, match=r"expected 88-32-25 clips of 24 subjects in casme2 .*Table 2"):
        megc2019_flow.read(copy)


def test_a_lost_subject_breaks_table_2(tmp_path):
    root = fake.by_fold(tmp_path / "folds")
    shutil.rmtree(root / "s16")
    with pytest.raises(BadInput, match="of 16 subjects in smic"):
        megc2019_flow.read(root)


def test_wrong_columns_are_named(copy):
    edit_table(copy, lambda rows: rows[0].__setitem__(2, "name"))
    with pytest.raises(BadInput, match="filename_o"):
        megc2019_flow.read(copy)


def test_a_label_that_is_none_is_named_with_its_line(copy):
    edit_table(copy, lambda rows: rows[5].__setitem__(3, "happy"))
    with pytest.raises(BadInput, match="'happy' in line 6"):
        megc2019_flow.read(copy)


def test_a_row_listed_twice_is_named(copy):
    edit_table(copy, lambda rows: rows.append(rows[1]))
    with pytest.raises(BadInput, match="twice"):
        megc2019_flow.read(copy)


def test_part_keeps_one_database(replica):
    data = datasets.load("megc2019-flow", replica, part="samm")
    assert {clip.dataset for clip in data.clips} == {"samm"}
    assert len(data.clips) == 133
    with pytest.raises(BadInput, match="casme2, samm, smic"):
        datasets.load("megc2019-flow", replica, part="cohn-kanade")


def test_root_comes_from_the_environment_then_the_config(replica, tmp_path, monkeypatch):
    with pytest.raises(DatasetNotFound, match="MICROEXPR_MEGC2019_FLOW is not set"):
        datasets.load("megc2019-flow")
    config = tmp_path / "microexpr" / "config.toml"
    config.parent.mkdir()
    config.write_text(f'[roots]\nmegc2019-flow = "{replica.as_posix()}"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert len(datasets.load("megc2019-flow").clips) == 442
    monkeypatch.setenv("MICROEXPR_MEGC2019_FLOW", str(tmp_path / "nowhere"))
    with pytest.raises(DatasetNotFound, match="nowhere is not a folder"):
        datasets.load("megc2019-flow")


def test_a_broken_config_is_named(tmp_path, monkeypatch):
    config = tmp_path / "microexpr" / "config.toml"
    config.parent.mkdir()
    config.write_text("roots = ]")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(BadInput, match=r"config\.toml"):
        datasets.load("megc2019-flow")
