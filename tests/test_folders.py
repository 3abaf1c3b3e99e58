"""Folders of long jobs: complete or not there, resumed only by the same job, damage noticed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from lucent.errors import InputError, LucentWarning, StorageError
from lucent.folders import WorkFolder, begun, check_part, finished, read_json, slug, write_json

PLAN = {"layers": ["a", "b"], "settings": {"steps": 3}}


def opened(path, plan=PLAN, **options):
    return WorkFolder.opened(path, "sweep", plan, **options)


def filled(path, text="hello"):
    with opened(path) as folder, folder.part("0") as part:
        (part / "sub").mkdir()
        (part / "sub" / "file.txt").write_text(text)


@pytest.mark.parametrize("name", ["a", "mixed4a", "features.5", "layer1.0.conv-2"])
def test_plain_names_are_their_own_slugs(name):
    assert slug(name) == name


ODD = [
    "a/b",
    "a_b",
    "a\\b",
    "A",
    "a",
    "..",
    ".",
    "",
    "a.",
    "<script>",
    "ä",
    "ö",
    "x" * 300,
    "x" * 301,
]


def test_no_two_names_have_the_same_slug():
    slugs = [slug(name) for name in [*ODD, *map(slug, ODD)]]
    plain = [name for name in ODD if slug(name) == name]
    assert len({one.lower() for one in slugs}) == len(slugs) - len(plain)
    assert all(one.isascii() and len(one) < 120 and one[0] not in ".-" for one in slugs)


def test_a_part_appears_when_it_is_complete(tmp_path):
    filled(tmp_path / "job")
    with opened(tmp_path / "job") as folder:
        assert folder.done("0")
        assert not folder.done("1")
        assert (tmp_path / "job" / "0" / "sub" / "file.txt").read_text() == "hello"


def test_a_part_that_failed_leaves_nothing(tmp_path):
    with opened(tmp_path / "job") as folder:
        with pytest.raises(KeyboardInterrupt), folder.part("0") as part:
            (part / "file.txt").write_text("half")
            raise KeyboardInterrupt
        assert sorted(os.listdir(tmp_path / "job")) == [".lock", "plan.json"]


def test_what_a_killed_job_left_is_removed(tmp_path):
    filled(tmp_path / "job")
    (tmp_path / "job" / ".part-1").mkdir()
    (tmp_path / "job" / ".part-1" / "half").write_text("")
    (tmp_path / "job" / ".plan-x.json").write_text("")
    with opened(tmp_path / "job") as folder:
        assert sorted(os.listdir(tmp_path / "job")) == [".lock", "0", "plan.json"]
        assert folder.done("0")


@pytest.mark.parametrize("text", ["jello", "hello there", None])
def test_a_damaged_part_is_removed_with_a_warning(tmp_path, text):
    filled(tmp_path / "job")
    file = tmp_path / "job" / "0" / "sub" / "file.txt"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(StorageError, match=r"file\.txt is damaged"):
        check_part(tmp_path / "job" / "0")
    with opened(tmp_path / "job") as folder:
        with pytest.warns(LucentWarning, match=r"file\.txt is damaged.*made again"):
            assert not folder.done("0")
        assert not (tmp_path / "job" / "0").exists()


@pytest.mark.parametrize("text", ["[]", '{"sub/file.txt": 5}', '{"sub/file.txt": [5]}'])
def test_a_damaged_list_of_files_is_damage(tmp_path, text):
    filled(tmp_path / "job")
    (tmp_path / "job" / "0" / "part.json").write_text(text)
    with opened(tmp_path / "job") as folder, pytest.warns(LucentWarning, match="what files"):
        assert not folder.done("0")


def test_a_damaged_plan_is_an_error_that_says_so(tmp_path):
    filled(tmp_path / "job")
    file = tmp_path / "job" / "plan.json"
    content = read_json(file)
    for lost in content:
        write_json(file, {key: value for key, value in content.items() if key != lost})
        with pytest.raises(StorageError, match=r"plan\.json is damaged"):
            opened(tmp_path / "job").__enter__()


def test_a_job_goes_on_with_its_own_plan_only(tmp_path):
    filled(tmp_path / "job")
    other = {"layers": ["a", "b"], "settings": {"steps": 4}}
    with (
        pytest.raises(InputError, match=r"another plan \(settings\.steps: 3 before, 4 now\)"),
        opened(tmp_path / "job", other),
    ):
        pass
    with pytest.raises(InputError, match="holds a sweep, not a collection"):
        WorkFolder.opened(tmp_path / "job", "collection", PLAN).__enter__()


def test_other_conditions_are_a_warning(tmp_path):
    with opened(tmp_path / "job", made_with={"threads": 1}):
        pass
    with opened(tmp_path / "job", made_with={"threads": 1}):
        pass
    with (
        pytest.warns(LucentWarning, match="threads: 1 before, 2 now"),
        opened(tmp_path / "job", made_with={"threads": 2}),
    ):
        pass


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match=r"not empty, and no sweep .*'thesis\.tex'"):
        opened(tmp_path).__enter__()
    with pytest.raises(InputError, match=r"no folder .*thesis\.tex.*File exists"):
        opened(tmp_path / "thesis.tex").__enter__()
    with pytest.raises(InputError, match="Not a directory.*name another"):
        opened(tmp_path / "thesis.tex" / "job").__enter__()
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    source = (
        "import sys; from lucent.folders import WorkFolder\n"
        f"with WorkFolder.opened(sys.argv[1], 'sweep', {PLAN!r}): pass"
    )
    with opened(tmp_path / "job"):
        run = subprocess.run(
            [sys.executable, "-c", source, tmp_path / "job"], capture_output=True, text=True
        )
    assert "Another process is at work" in run.stderr


def test_a_finished_folder_says_what_it_is(tmp_path):
    with pytest.raises(InputError, match=r"no folder of a sweep: there is no plan\.json"):
        finished(tmp_path, "sweep")
    with opened(tmp_path / "job") as folder:
        assert not folder.finished
        with pytest.raises(InputError, match="not finished: run again"):
            finished(tmp_path / "job", "sweep")
        folder.finish({"pictures": 3})
        assert folder.finished
    plan, manifest = finished(tmp_path / "job", "sweep")
    assert (plan, manifest["pictures"]) == (PLAN, 3)
    content = read_json(tmp_path / "job" / "plan.json")
    write_json(tmp_path / "job" / "plan.json", content | {"format": 99})
    with pytest.raises(InputError, match="newer lucent"):
        finished(tmp_path / "job", "sweep")
    (tmp_path / "job" / "plan.json").write_text("{")
    with pytest.raises(StorageError, match="cannot be read as JSON"):
        finished(tmp_path / "job", "sweep")


def test_a_job_that_goes_on_is_not_finished(tmp_path):
    assert begun(tmp_path / "job", "sweep") is None
    filled(tmp_path / "job")
    assert begun(tmp_path / "job", "sweep") == PLAN
    with pytest.raises(InputError, match="holds a sweep, not a collection"):
        begun(tmp_path / "job", "collection")
    with opened(tmp_path / "job") as folder:
        folder.finish({})
        folder.remove("0")
        assert not folder.finished
        folder.finish({})
        with folder.part("0"):
            assert not folder.finished


def test_a_full_disk_leaves_what_is_finished(tmp_path):
    filled(tmp_path / "job")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(tmp_path / "job") as folder:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            with (
                pytest.raises(StorageError, match=r"no room .* run the same again"),
                folder.part("1") as part,
            ):
                (part / "big").write_bytes(bytes(2000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert folder.done("0")
        assert not folder.done("1")


def test_numbers_that_json_does_not_know_are_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert os.listdir(tmp_path) == []
