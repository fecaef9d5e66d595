"""Every registered data set, because it is registered; every recorded one on its replicas."""

import importlib
import pickle
from pathlib import Path

import cv2
import pytest

from microexpr import api, datasets
from microexpr.datasets import composite, doctor
from microexpr.errors import BadInput, DatasetNotFound, MicroexprError, UnknownName
from tests.replicas import shared

names = pytest.mark.parametrize("name", datasets.names())
RECORDED = [name for name in datasets.names() if hasattr(datasets.adapter(name), "survey")]
recorded = pytest.mark.parametrize("name", RECORDED)
MEMBERS = [name for name in RECORDED if name != "3db"]


def replica_of(name, kind, tmp_path_factory):
    """The root of a replica, by the module of the same name as the adapter; of the composite set, its members'."""
    if name == "3db":
        return {member: replica_of(member, kind, tmp_path_factory) for member in composite.MEMBERS}
    module = importlib.import_module(f"tests.fake.{datasets.DATASETS[name].rpartition('.')[2]}")
    if kind == "full":
        return shared(tmp_path_factory, module.full)
    return module.small(tmp_path_factory.mktemp(name))


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """Replicas with the published counts and empty files for pictures; made once."""
    made = {}
    return lambda name: made.setdefault(name, made.get(name) or replica_of(name, "full", tmp_path_factory))


@pytest.fixture(scope="module")
def small(tmp_path_factory, monkeypatch_module):
    """A few clips; noise in the place of rendered faces, which take long and are not looked at here."""
    made = {}
    return lambda name: made.setdefault(name, made.get(name) or replica_of(name, "small", tmp_path_factory))


@pytest.fixture(scope="module")
def monkeypatch_module(tmp_path_factory):
    from tests.fake import pictures

    def noise(folder, files, *_, gray=False, **__):
        source = tmp_path_factory.mktemp("noise") / f"picture{Path(files[0]).suffix}"
        pictures.linked(folder, files, pictures.noise(source, gray=gray))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "rendered", noise)
        yield


@names
def test_says_what_it_is_and_how_to_get_it(name):
    module = datasets.adapter(name)
    for constant in ("WHAT", "CITATION", "LICENCE", "HOW_TO_GET", "EXPECTED_TREE"):
        text = getattr(module, constant)
        assert isinstance(text, str)
        assert text.strip()
    assert set(module.CARRIES) <= {"frames", "flow"}
    assert module.__doc__
    described = api.describe_dataset(name)
    assert described["cite"] == module.CITATION


@names
def test_has_a_docs_section(name):
    page = Path(__file__).parent.parent / "docs" / "datasets.md"
    assert f"\n## `{name}`\n" in page.read_text(encoding="utf-8")


@names
def test_a_folder_of_something_else_is_told(name, tmp_path):
    (tmp_path / "holiday.txt").write_text("")
    members = getattr(datasets.adapter(name), "MEMBERS", None)
    with pytest.raises(MicroexprError) as told:
        datasets.load(name, tmp_path if members is None else dict.fromkeys(members, tmp_path))
    assert str(tmp_path) in str(told.value)


def test_a_composite_set_wants_a_folder_for_each_member(tmp_path):
    with pytest.raises(BadInput, match=r"a folder for each member of 3db, got .*; give --root casme2=DIR"):
        datasets.load("3db", tmp_path)
    with pytest.raises(BadInput, match="a folder for each member of 3db, got casme;"):
        datasets.load("3db", {"casme": tmp_path})
    with pytest.raises(BadInput, match="one folder for casme2"):
        datasets.load("casme2", {"smic": tmp_path})
    with pytest.raises(BadInput, match=r"a setting of a member of 3db .* got 'tree'"):
        datasets.load("3db", dict.fromkeys(("casme2", "smic", "samm"), tmp_path), tree="raw")


@names
def test_a_missing_root_says_what_is_expected(name, tmp_path):
    members = getattr(datasets.adapter(name), "MEMBERS", None)
    root = tmp_path / "none" if members is None else dict.fromkeys(members, tmp_path / "none")
    with pytest.raises(DatasetNotFound, match="expected") as told:
        datasets.load(name, root)
    name = next(iter(members)) if members else name  # the first member is missed first
    assert datasets.adapter(name).EXPECTED_TREE.split()[0] in str(told.value)


def test_an_unknown_name_gets_the_nearest_spelling():
    with pytest.raises(UnknownName, match="did you mean 'synthetic'"):
        datasets.load("sinthetic")


def test_part_of_a_set_that_has_none_is_refused():
    with pytest.raises(BadInput, match="synthetic"):
        datasets.load("synthetic", part="casme2")


# Recorded sets


def all_kinds(name):
    """The setting that gives every clip of a replica, where a set has macro-expressions, too."""
    return {"kind": "all"} if "kind" in getattr(datasets.adapter(name), "OPTIONS", {}) else {}


@recorded
@pytest.mark.parametrize("kind", ["full", "small"])
@pytest.mark.filterwarnings("ignore:partial copy")
def test_clips_are_what_every_protocol_takes_them_for(name, kind, full, small, request):
    root = (full if kind == "full" else small)(name)
    options = all_kinds(name) if (kind, name) != ("small", "mmew") else {}  # its small replica has no macro-expressions
    clips = datasets.load(name, root, **options).clips
    assert clips
    assert len({clip.key for clip in clips}) == len(clips)
    for clip in clips:
        assert clip.key.startswith(f"{clip.subject}/")
        assert clip.subject.startswith(f"{clip.dataset}/")
        assert clip.dataset in (MEMBERS if name == "3db" else [name])
        assert clip.emotion == clip.emotion.lower()
        assert clip.fps > 0
        assert clip.kind in ("micro", "macro")
        assert clip.objective_class in (None, *range(1, 8))
        numbers = [number for number in (clip.onset, clip.apex, clip.offset) if number is not None]
        assert numbers == sorted(numbers)
        if clip.onset is not None:
            assert clip.onset < clip.offset
            assert clip.apex is None or clip.onset < clip.apex
        for number in numbers:
            assert clip.frames.file(number).parent == clip.frames.folder
        assert clip.frames.shows in ("frame", "crop")
    first = pickle.loads(pickle.dumps(clips[0]))
    assert first == clips[0]
    assert first.frames == clips[0].frames


@recorded
def test_a_full_replica_is_whole_and_reading_it_opens_no_picture(name, full, monkeypatch):
    """The pictures are empty files: a decoder would refuse them, but not even that is tried."""
    root = full(name)
    opened = []
    monkeypatch.setattr(cv2, "imdecode", lambda *_: opened.append(1))
    found = doctor.check(name, root)
    assert found.healthy, [str(finding) for finding in found.findings if finding.level == "error"]
    published = getattr(datasets.adapter(name), "CLIPS", None)
    assert found.counts["clips"] == (published, published) or name == "dfme"  # whose usual split is a part of it
    assert opened == []


@recorded
@pytest.mark.filterwarnings("ignore:partial copy")
def test_the_pictures_of_a_clip_can_be_read(name, small):
    clips = datasets.load(name, small(name)).clips
    for clip in (clips[0], clips[-1]):
        for number in (clip.onset, clip.offset):
            picture = clip.frames.read(number)
            assert picture.dtype == "uint8"
            assert picture.shape == (48, 64, 3)


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.filterwarnings("ignore:partial copy", "ignore:.*left out")
def test_a_clip_without_pictures_is_an_error_of_its_own(name, tmp_path_factory, monkeypatch_module):
    """A clip that is gone stops the reading or is left out; the others stay."""
    root = replica_of(name, "small", tmp_path_factory)
    clips = datasets.load(name, root).clips
    # The last clip alone in its folder, or all that share it.
    folder = clips[-1].frames.folder
    gone = [clip.key for clip in clips if clip.frames.folder == folder]
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(BadInput, match="damaged=skip"):
        datasets.load(name, root)
    left = datasets.load(name, root, damaged="skip").clips
    assert [clip.key for clip in left] == [clip.key for clip in clips if clip.key not in gone]
    assert not doctor.check(name, root).healthy


@recorded
def test_unknown_settings_are_refused(name, full):
    with pytest.raises(BadInput, match="a setting of"):
        datasets.load(name, full(name), colour="red")


def test_settings_of_rendered_clips_come_as_text_from_the_command_line():
    data = datasets.load("synthetic", subjects="2", clips_per_subject="3", fps="100", crop="false")
    assert len(data.clips) == 6
    assert data.clips[0].fps == 100
    assert data.clips[0].frames.read(0).shape == (480, 640, 3)
    for setting, told in (
        ({"subject": "2"}, "a setting of synthetic"),
        ({"subjects": "two"}, "subjects of synthetic to be int"),
    ):
        with pytest.raises(BadInput, match=told):
            datasets.load("synthetic", **setting)


def test_a_composite_set_says_how_its_folders_are_given():
    told = api.describe_dataset("3db")["root"]
    assert told.startswith("--root casme2=DIR --root smic=DIR --root samm=DIR, or the environment variables MICROEXPR_")
    assert "MICROEXPR_3DB" not in told
