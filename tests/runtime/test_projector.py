"""A projector of the bundle: copied to the cache, named there, left out where the user says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_bundle import make_bundle
from solofile.runtime import projector, settings
from solofile.runtime.container import Bundle
from solofile.runtime.errors import CacheError
from solofile.runtime.projector import Placed
from solofile.runtime.selection import Place

PART = "models/mmproj-x.gguf"
DATA = b"GGUF and what a projector is made of" * 100


@pytest.fixture
def place(tmp_path: Path) -> Place:
    source = tmp_path / "x.gguf"
    source.write_bytes(DATA)
    arguments = ("--mmproj", PART, "-c", "99")
    path = make_bundle(tmp_path / "bundle", companions={PART: source}, arguments=arguments)
    cache = tmp_path / "cache"
    cache.mkdir()
    return Place(Bundle.open(path), cache, tmp_path)


def placed(place: Place, *words: str, said: list[str] | None = None) -> Placed:
    launch = settings.resolve(words, place.bundle.manifest, {})
    return projector.placed(launch, place, (said if said is not None else []).append)


def test_it_goes_to_the_cache_once(place: Place) -> None:
    found = placed(place, "--server")
    digest = place.bundle.part(PART).sha256
    path = place.cache / "models" / digest / "mmproj-x.gguf"
    assert path.read_bytes() == DATA
    assert found.digest == digest
    assert found.launch.core == ("--mmproj", str(path), "-c", "99")
    assert found.lock is not None
    before = path.stat().st_ino
    again = placed(place, "--server")
    assert path.stat().st_ino == before
    assert again.launch.core == found.launch.core


def test_what_was_changed_is_made_again(place: Place) -> None:
    first = placed(place)
    assert first.lock is not None
    first.lock.close()  # else it is waited for
    path = Path(first.launch.core[1])
    path.parent.chmod(0o700)
    path.chmod(0o600)
    path.write_bytes(b"x")
    said: list[str] = []
    assert Path(placed(place, said=said).launch.core[1]).read_bytes() == DATA
    assert said == [f"{path} in the cache was damaged, so it was made again."]


def test_without_it(place: Place) -> None:
    for words in (("--no-mmproj",), ("--mmproj-auto", "--no-mmproj")):
        found = placed(place, *words)
        assert PART not in found.launch.core
        assert "--mmproj" not in found.launch.core
    assert not (place.cache / "models").exists()
    assert placed(place, "--no-mmproj", "--mmproj-auto").digest  # the last word counts


def test_one_of_the_users(place: Place, tmp_path: Path) -> None:
    own = str(tmp_path / "own.gguf")
    found = placed(place, "--mmproj", own)
    assert (found.launch.core[-2:], found.digest) == (("--mmproj", own), "")
    assert placed(place, "-mm", "models/none.gguf").digest == ""  # no part of this bundle
    assert not (place.cache / "models").exists()


def test_a_cache_that_cannot_be_written(place: Place) -> None:
    (place.cache / "models").write_text("in the way")
    with pytest.raises(CacheError, match="cannot be written"):
        placed(place)
