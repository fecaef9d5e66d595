"""A folder within, above or beside the root of a recorded set, or another set's: which one to give is said."""

import pytest

from microexpr import datasets
from microexpr.datasets import _nearby
from microexpr.errors import BadInput

# Data set -> (folder of its root, a table or nothing, a picture); made of empty files.
TREES = {
    "smic": ("SMIC", "", "SMIC_all_raw/HS/s1/micro/negative/s1_ne_01/image034208.bmp"),
    "casme2": ("CASME2", "CASME2-coding-20140508.xlsx", "CASME2_RAW_selected/sub01/EP02_01f/img46.jpg"),
    "samm": ("SAMM_2018", "SAMM_Micro_FACS_Codes_v2.xlsx", "006/006_1_2/006_05562.jpg"),
    "casme3": (
        *("CASME3", "annotation/partA/cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"),
        "part_A/data/part_A/spNO.1/a/color/175.jpg",
    ),
    "casme-sq": ("CASME_sq", "CAS(ME)^2code_final.xlsx", "rawpic/s15/15_0101disgustingteeth/img001.jpg"),
    "samm-lv": ("SAMMLV", "SAMM_LongVideos_V3_Release.xlsx", "SAMM_longvideos/006_1/006_1_0001.jpg"),
    "mmew": ("MMEW_2020", "MMEW_Micro_Exp.xlsx", "Micro_Expression/anger/S01-07-001/1.jpg"),
    "casme": ("CASME", "casme.xlsx", "CASME_raw_selected/sub01/EP01_5/EP01_5-113.jpg"),
    "4dme": ("4DME", "4DME_Labelling_Micro_release v1.xlsx", "gray_micro/S08/S08_001_01_1/90.jpg"),
    "dfme": ("DFME_2024", "training_full_with_AU.xlsx", "DFME_train/sub0003_01/00000.png"),
}
recorded = pytest.mark.parametrize("name", TREES)


def made(place, name, with_tree=True):
    folder, table, picture = TREES[name]
    for file in filter(None, (table, picture if with_tree else "")):
        (place / folder / file).parent.mkdir(parents=True, exist_ok=True)
        (place / folder / file).touch()
    return place / folder


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """One folder with the roots of all sets."""
    place = tmp_path_factory.mktemp("data") / "faces"
    for name in TREES:
        made(place, name)
    return place


def told(name, folder, **options):
    with pytest.raises(BadInput) as error:
        datasets.load(name, folder, **options)
    return str(error.value)


def test_every_recorded_set_is_known():
    recorded = {name for name in datasets.names() if hasattr(datasets.adapter(name), "survey")}
    assert recorded - {"3db"} == set(TREES) == set(_nearby.KNOWN) - {"megc2019-flow"}


@recorded
def test_every_folder_within_names_the_root(everything, name):
    folder, _, picture = TREES[name]
    root = everything / folder
    inside = (root / picture).parent
    while inside != root:
        assert told(name, inside).endswith(f"give {root}"), inside
        inside = inside.parent


@recorded
def test_the_folders_above_name_the_root(tmp_path, name):
    root = made(tmp_path / "data" / "faces", name)
    assert told(name, root.parent).endswith(f"give {root}")
    assert told(name, root.parent.parent).endswith(f"give {root}")


@recorded
def test_a_sibling_is_named_and_the_right_one_beside_it(everything, name):
    own, _, _ = TREES[name]
    for other, (folder, _, _) in TREES.items():
        if other != name:
            message = told(name, everything / folder)
            this = f"this is {_nearby.KNOWN[other].title}: name the data set {other}, or give {everything / own}"
            assert message.endswith(this), other


@recorded
def test_another_set_is_named_where_the_right_one_is_not_in_sight(tmp_path, name):
    other = "casme2" if name != "casme2" else "samm"
    root = made(tmp_path / "here" / "alone", other)
    title = _nearby.KNOWN[name].title
    this = f"this is {_nearby.KNOWN[other].title}: name the data set {other}, or give {title}"
    # The temporary folders of other tests lie further away than a message looks.
    assert told(name, root).endswith(this)


@pytest.mark.parametrize("name", [name for name in TREES if name not in ("smic", "casme3")])
def test_a_table_without_its_tree(tmp_path, name):
    root = made(tmp_path / "here", name, with_tree=False)
    assert told(name, root).endswith("copy it there, as it was distributed")


def test_another_tree_is_a_setting(tmp_path):
    root = made(tmp_path, "casme2")
    assert told("casme2", root, tree="cropped").endswith("set tree=raw-selected, which is there")
    root = made(tmp_path, "casme3")
    assert told("casme3", root, tree="clips").endswith("set tree=recordings, which is there")
    root = made(tmp_path, "casme-sq")
    assert told("casme-sq", root, tree="cropped").endswith("set tree=rawpic, which is there")
    root = made(tmp_path, "smic")
    assert told("smic", root, camera="NIR").endswith("set camera=HS tree=raw, which is there")


def test_a_table_above_the_tree_is_seen(tmp_path):
    root = made(tmp_path, "casme2")
    (root / "CASME2").mkdir()
    (root / "CASME2_RAW_selected").rename(root / "CASME2" / "CASME2_RAW_selected")
    assert told("casme2", root / "CASME2").endswith(f"give {root}, which holds it")
