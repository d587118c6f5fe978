"""Masked versions of annotated sets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from srn.datasets.catalogue import open_faces
from srn.datasets.manifest import CLIP_MANIFEST, MANIFEST, read_visible
from srn.datasets.pts_folder import read_pts_folder
from srn.datasets.report import ReadingReport
from srn.datasets.three_hundred_vw import read_300vw
from srn.errors import DataError, InputError
from srn.media.pictures import read_image, write_image
from srn.media.pts import read_pts, write_pts
from srn.synthesis import masked
from srn.synthesis.masked import DRAWN, MIXED, MaskedVersions, mask_clips, mask_samples
from srn.synthesis.wardrobe import MaskWardrobe


@pytest.fixture(scope="session")
def wardrobe(shared_data: Path) -> MaskWardrobe:
    return MaskWardrobe.load(shared_data / "occluders" / "masks")


@pytest.mark.parametrize("kind", [DRAWN, MIXED])
def test_a_masked_set_has_the_same_points_and_is_the_same_bytes_each_time(
    kind: str, shared_data: Path, wardrobe: MaskWardrobe, tmp_path: Path
) -> None:
    samples = read_pts_folder(shared_data / "300W" / "ibug", ReadingReport(), root=shared_data / "300W")[:4]
    for name in ("a", "b"):
        assert mask_samples(samples, tmp_path / name, kind=kind, wardrobe=wardrobe, seed=3) == []
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 2 * len(samples) + 1
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    visible = read_visible(tmp_path / "a")
    for sample in samples:
        stem = tmp_path / "a" / "ibug" / sample.path.stem
        np.testing.assert_allclose(read_pts(f"{stem}.pts"), sample.landmarks, atol=5e-4)
        changed = np.abs(read_image(f"{stem}.jpg").astype(int) - sample.load()).max(axis=2) > 60
        assert changed.any()
        flags = visible[f"ibug/{sample.path.stem}"]
        mouth = list(sample.scheme.components["mouth"])
        assert flags.shape == (68,)
        assert not flags[mouth].all()
        assert flags[list(sample.scheme.components["brows"])].mean() > 0.5


def test_a_part_of_a_set_gets_the_masks_of_the_whole(shared_data: Path, wardrobe: MaskWardrobe, tmp_path: Path) -> None:
    samples = read_pts_folder(shared_data / "300W" / "ibug", ReadingReport(), root=shared_data / "300W")[:3]
    mask_samples(samples, tmp_path / "all", kind=MIXED, wardrobe=wardrobe)
    mask_samples(samples[2:], tmp_path / "last", kind=MIXED, wardrobe=wardrobe)
    name = f"ibug/{samples[2].path.stem}.jpg"
    assert (tmp_path / "all" / name).read_bytes() == (tmp_path / "last" / name).read_bytes()


def test_masks_that_lie_off_leave_points_as_they_are(shared_data: Path, wardrobe: MaskWardrobe, tmp_path: Path) -> None:
    samples = read_pts_folder(shared_data / "300W" / "ibug", ReadingReport(), root=shared_data / "300W")[:1]
    for misfit in (0.0, 0.05):
        mask_samples(samples, tmp_path / str(misfit), kind=MIXED, wardrobe=wardrobe, misfit=misfit)
    straight, off = (tmp_path / str(misfit) / "ibug" / samples[0].path.stem for misfit in (0.0, 0.05))
    assert Path(f"{straight}.pts").read_bytes() == Path(f"{off}.pts").read_bytes()
    differs = np.abs(read_image(f"{straight}.jpg").astype(int) - read_image(f"{off}.jpg")).max(axis=2) > 60
    assert differs.sum() > 50
    straight_mask, off_mask = (
        (tmp_path / str(misfit) / "manifest.csv").read_text().splitlines()[1].split(",") for misfit in (0.0, 0.05)
    )
    assert straight_mask[2:4] == off_mask[2:4]  # the same template, by the same seed
    assert (straight_mask[4], off_mask[4]) == ("0.0", "0.05")


def test_our_masks_hide_what_the_authors_masks_hide(shared_data: Path, wardrobe: MaskWardrobe) -> None:
    """On the authors' own 30 pictures, with the same kind of template: the covered pixels agree by more than half."""
    from srn.synthesis.masks import fit_mask, turned_side

    root = shared_data / "masked_300W"
    agreement = []
    for sample in read_pts_folder(root / "ibug", ReadingReport(), root=root):
        clean = read_image(shared_data / "300W" / "ibug" / sample.path.name)
        theirs = np.abs(clean.astype(int) - sample.load()).max(axis=2) > 40
        template = wardrobe.kinds["surgical_blue"][turned_side(sample.landmarks, sample.scheme)]
        ours = fit_mask(clean.copy(), sample.landmarks, sample.scheme, template)
        agreement.append((ours & theirs).sum() / (ours | theirs).sum())
    assert len(agreement) == 30
    assert np.mean(agreement) > 0.68


def test_templates_are_asked_for_where_they_are_needed(shared_data: Path, tmp_path: Path) -> None:
    samples = read_pts_folder(shared_data / "300W" / "ibug", ReadingReport(), root=shared_data / "300W")[:1]
    with pytest.raises(InputError, match="templates"):
        mask_samples(samples, tmp_path, kind="surgical")
    with pytest.raises(DataError, match=r"key_points\.csv"):
        MaskWardrobe.load(tmp_path)


@pytest.fixture
def videos(tmp_path: Path, face: np.ndarray) -> Path:
    """Two videos of three and two frames in 300VW's extracted layout: a grey picture, a face that moves."""
    shape = face * 100 + 100
    for video, count in (("first", 3), ("second", 2)):
        for number in range(1, count + 1):
            picture = np.full((200, 220, 3), 128, np.uint8)
            write_image(tmp_path / "in" / video / "imgs" / f"{number:06d}.png", picture)
            write_pts(tmp_path / "in" / video / "annot" / f"{number:06d}.pts", shape + [3 * number, number])
    return tmp_path / "in"


def test_a_person_wears_one_mask_for_a_whole_video(videos: Path, tmp_path: Path) -> None:
    clips, _ = read_300vw(videos)
    steps = []

    assert mask_clips(clips, tmp_path / "out", seed=5, progress=lambda: steps.append(1)) == []

    masked, report = read_300vw(tmp_path / "out")
    assert (len(steps), report.problems) == (5, [])
    assert [(clip.name, clip.numbers.tolist()) for clip in masked] == [("first", [1, 2, 3]), ("second", [1, 2])]
    for before, after in zip(clips, masked, strict=True):
        np.testing.assert_allclose(after.landmarks, before.landmarks, atol=1e-3)
        # The face moves by (3, 1) a frame and so does the mask; JPEG and sub-pixel placing leave some grey levels.
        first, second = (after.frame(i).astype(int) for i in (0, 1))
        assert (np.abs(first - 128).max(axis=2) > 60).sum() > 500
        here, later = first[40:180, 40:180], second[41:181, 43:183]
        assert np.median(np.abs(here - later)[np.abs(here - 128) > 60]) < 12
    colors = [clip.frame(0)[np.abs(clip.frame(0).astype(int) - 128).max(axis=2) > 60].mean(axis=0) for clip in masked]
    assert np.abs(colors[0] - colors[1]).max() > 10  # another person, another mask


def test_the_masked_version_of_videos_has_one_mask_a_person(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_faces(videos, kind="300vw")
    made = MaskedVersions(tmp_path / "made")(dataset)
    assert (made.kind.name, [sample.video for sample in made.samples]) == (
        "masked-300vw",
        ["first/first"] * 3 + ["second/second"] * 2,
    )
    colors = []
    for sample in made.samples:
        image = sample.load().astype(int)
        colors.append(np.median(image[np.abs(image - 128).max(axis=2) > 60], axis=0))
    same, others = colors[:3], colors[3:]
    assert np.ptp(same, axis=0).max() < 6
    assert np.abs(np.mean(same, axis=0) - np.mean(others, axis=0)).max() > 10
    # A mask that other code would paint is not taken from an earlier run.
    assert MaskedVersions(tmp_path / "made")(dataset).root == made.root
    monkeypatch.setattr(masked, "_code_digest", lambda: "other code")
    assert MaskedVersions(tmp_path / "made")(dataset).root != made.root


def test_what_was_hidden_before_stays_hidden(videos: Path, tmp_path: Path) -> None:
    """A mask hides the mouth; that a hand hides the brows was annotated, and is still so."""
    clip = read_300vw(videos)[0][0]
    brows, mouth = (list(clip.scheme.components[name]) for name in ("brows", "mouth"))
    hidden = np.zeros(68, bool)
    hidden[brows] = True
    sample = replace(clip.samples()[0], occluded=hidden)

    mask_samples([sample], tmp_path / "still")
    mask_clips([replace(clip, occluded=np.tile(hidden, (len(clip), 1)))], tmp_path / "moving")

    (visible,) = read_visible(tmp_path / "still").values()
    (masked,), _ = read_300vw(tmp_path / "moving")
    assert masked.occluded is not None
    for flags in (visible, *~masked.occluded):
        assert not flags[brows].any()
        assert not flags[mouth].any()
        assert flags.any()


def test_a_finished_video_is_not_made_again_and_an_unfinished_one_is(videos: Path, tmp_path: Path) -> None:
    clips, _ = read_300vw(videos)
    out = tmp_path / "out"
    mask_clips(clips, out, seed=5)
    content = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    kept, lost = out / "first" / "imgs" / "000001.jpg", out / "second" / "imgs" / "000001.jpg"
    kept.write_bytes(b"as it was")
    lost.unlink()
    (out / "second" / CLIP_MANIFEST).unlink()

    mask_clips(clips, out, seed=5)

    assert kept.read_bytes() == b"as it was"
    assert lost.read_bytes() == content[lost]
    mask_clips(clips, out, seed=6)  # another seed is another set
    assert kept.read_bytes() not in {b"as it was", content[kept]}


@pytest.mark.parametrize("at", [0, 1, 4])
def test_a_table_never_stands_beside_pictures_of_another_run(videos: Path, tmp_path: Path, at: int) -> None:
    """Interrupted while the set is made anew with another seed, no table says that it is the old one, or whole."""
    clips, _ = read_300vw(videos)
    samples = [sample for clip in clips for sample in clip.samples()]
    stills, moving = tmp_path / "stills", tmp_path / "moving"

    def interrupted(make: Callable[..., list[str]], out: Path) -> None:
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            if steps > at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make(out, seed=6, progress=step)

    def files(out: Path) -> dict[Path, bytes]:
        return {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    for make, out in ((partial(mask_samples, samples), stills), (partial(mask_clips, clips), moving)):
        make(out, seed=5)
        whole = files(out)
        interrupted(make, out)
        clip = "second" if at < 3 else "first"  # the one that is not being made
        assert list(out.rglob("*.csv")) == ([] if out == stills else [moving / clip / CLIP_MANIFEST])
        make(out, seed=5)
        assert files(out) == whole


def test_a_further_face_takes_the_place_of_no_other_picture(videos: Path, tmp_path: Path) -> None:
    """The second face of `a.png` is no `a_2`, where that is a picture of its own."""
    clips, _ = read_300vw(videos)
    one = clips[0].samples()[0]
    named = [replace(one, path=tmp_path / f"{name}.png", source=one.load) for name in ("a", "a", "a_2", "a")]
    assert mask_samples(named, tmp_path / "out") == []
    assert sorted(path.stem for path in (tmp_path / "out").rglob("*.jpg")) == ["a", "a_2", "a_3", "a_4"]
    assert len(read_visible(tmp_path / "out")) == 4


@pytest.mark.parametrize(
    ("kind", "templates", "message"),
    [
        ("silk", MaskWardrobe({"cloth": {}}, {}), "mask kind: expected one of cloth, found 'silk'"),
        ("patterned", MaskWardrobe({"cloth": {}}, {}), "mask kind: expected one of cloth, found 'patterned'"),
        (MIXED, None, "--templates: expected a folder of mask templates for the kind 'mixed', found none"),
    ],
)
def test_a_kind_that_is_none_costs_no_older_set(
    videos: Path, tmp_path: Path, kind: str, templates: MaskWardrobe | None, message: str
) -> None:
    clips, _ = read_300vw(videos)
    for make, table in (
        (partial(mask_samples, clips[0].samples()), tmp_path / "out" / MANIFEST),
        (partial(mask_clips, clips), tmp_path / "out" / "first" / CLIP_MANIFEST),
    ):
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text("older")
        with pytest.raises(InputError, match=message):
            make(tmp_path / "out", kind=kind, wardrobe=templates)
        assert table.read_text() == "older"


@pytest.mark.parametrize("name", ["set/a.jpg", "set/a.pts", "manifest.csv"])
def test_files_of_others_are_not_replaced(videos: Path, tmp_path: Path, name: str) -> None:
    clips, _ = read_300vw(videos)
    one = clips[0].samples()[0]
    sample = replace(one, path=tmp_path / "a.png", subset="set", source=one.load)
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    with pytest.raises(InputError, match=f"an empty or new folder, or that of a masked set, found another {name}"):
        mask_samples([sample], out)
    (out / "first").mkdir()
    with pytest.raises(InputError, match="an empty or new folder, or that of masked clips, found another first"):
        mask_clips(clips, out)
    assert [path.read_text() for path in out.rglob("*") if path.is_file()] == ["mine"]


def test_two_processes_do_not_mask_into_one_folder(videos: Path, tmp_path: Path) -> None:
    """A lock is for a process, and a record lock of the same process is no obstacle: another one holds it."""
    held = "import sys; from pathlib import Path; from srn.files import held_folder\n"
    held += "with held_folder(Path(sys.argv[1]), 'a masked set', ()): print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", held, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    clips, _ = read_300vw(videos)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="expected a masked set that no other process holds, found one at work"):
            mask_samples(clips[0].samples(), tmp_path / "out")
        holder.communicate()
    assert mask_samples(clips[0].samples(), tmp_path / "out") == []  # what it left is ours
    assert not (tmp_path / "out" / ".lock").exists()


def test_a_frame_that_cannot_be_read_is_named_and_left_out(videos: Path, tmp_path: Path) -> None:
    clips, _ = read_300vw(videos)
    broken = videos / "first" / "imgs" / "000002.png"
    broken.write_bytes(b"no picture")

    (line,) = mask_clips(clips, tmp_path / "out")

    assert str(broken) in line
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 4
