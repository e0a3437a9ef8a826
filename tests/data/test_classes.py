"""Names of classes: what is one class in several spellings, and what is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.data.formats import list_arrays, read_listing
from burnish.data.formats.classes import number_classes
from burnish.data.formats.options import ClassCase, ListingOptions
from burnish.data.load import load_images
from burnish.errors import DataError

from .made import make, png, write_csv, write_npz


def test_spaces_and_forms_of_unicode_never_tell_classes_apart() -> None:
    for class_case in ("auto", "join", "keep"):
        classes = number_classes(
            "here", ["caf\u00e9", "cafe\u0301 ", "tea", "tea"], class_case=class_case
        )
        assert classes.names == ("caf\u00e9", "tea")
        assert classes.labels.tolist() == [0, 0, 1, 1]
        (note,) = classes.notes
        assert note.startswith("2 spellings of 1 class were joined: 'cafe")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Cat", "cat", "cat", "dog"], ("cat", "dog")),
        (["cat", "Cat", "Cat", "CAT ", "dog"], ("Cat", "dog")),
        (["No finding", "no finding", "NO FINDING", "other"], ("NO FINDING", "other")),
        (["CO oxide", "Co oxide", "other"], None),
        (["No finding", "no finding", "other"], ("No finding", "other")),
        (["Straße", "STRASSE", "other"], ("other", "STRASSE")),
        (["train/Cat", "train/cat", "x"], ("train/Cat", "x")),
        # Letters stay apart, however they are written into the name.
        (["A", "a", "B"], ("A", "a", "B")),
        (["letter_A", "letter_a"], ("letter_A", "letter_a")),
        (["É", "é"], ("É", "é")),
        # Symbols, and letters within a word: nobody can tell.
        (["CO", "Co", "dog"], None),
        (["letterA", "lettera", "dog"], None),
        (["Vitamin A", "vitamin a", "dog"], None),
        # Each class in capitals and in small letters may be the very question.
        (["CAT", "cat", "DOG", "dog"], None),
        (["Cat", "cat", "Dog", "dog"], ("Cat", "Dog")),
    ],
)
def test_the_rule_for_names_that_differ_in_case(
    names: list[str], expected: tuple[str, ...] | None
) -> None:
    if expected is None:
        with pytest.raises(DataError, match=r'differ only in case: .*class_case = "join" \('):
            number_classes("here", names)
    else:
        assert number_classes("here", names).names == expected
    assert len(number_classes("here", names, "keep").names) == len({n.strip() for n in names})
    joined = number_classes("here", names, "join").names
    assert len({name.casefold() for name in joined}) == len(joined)


def test_what_was_joined_or_kept_apart_is_noted() -> None:
    classes = number_classes("here", ["Mild", "mild ", "mild", "A", "a"])
    assert classes.names == ("A", "a", "mild")
    assert classes.notes == (
        "3 spellings of 1 class were joined: 'Mild', 'mild', 'mild ' as 'mild'",
        "classes that differ in case alone stay apart: 'A' and 'a'; class_case = \"join\" makes "
        "them one",
    )
    assert number_classes("here", ["cat", "dog"]).notes == ()


@pytest.mark.parametrize(
    ("names", "message"),
    [(["cat", " "], "' ' is no name for a class"), (["cat", "d\x00g"], r"'d\\x00g' is no name")],
)
def test_class_names_that_are_refused(names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        number_classes("here", names)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.text(alphabet="aAbBcC _1", min_size=1, max_size=6), min_size=1, max_size=8))
def test_the_order_of_the_images_decides_nothing(names: list[str]) -> None:
    try:
        classes = number_classes("here", names)
    except DataError:
        with pytest.raises(DataError):
            number_classes("here", names[::-1])
        return
    again = number_classes("here", names[::-1])
    assert (again.names, again.notes) == (classes.names, classes.notes)
    assert again.labels.tolist() == classes.labels.tolist()[::-1]
    for name, label in zip(names, classes.labels, strict=True):
        assert classes.names[label].casefold() == name.strip().casefold()


def test_spellings_are_joined_in_every_format_and_noted_in_the_facts(tmp_path: Path) -> None:
    made = dataclasses.replace(make(), class_names=("Cat", "cat ", "dog"))
    folder = tmp_path / "folder"
    for index, image in enumerate(made.images):
        path = folder / made.class_of(index) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    for path in (
        folder,
        write_csv(tmp_path / "csv", made),
        write_npz(tmp_path / "data.npz", made),
    ):
        raw = load_images(path, cache_folder=tmp_path / "cache")
        assert raw.class_names == ("Cat", "dog")
        # Of a table the cells were trimmed before.
        assert "2 spellings of 1 class were joined: 'Cat', 'cat" in raw.facts.notes[0]
        kept = read_listing(path, class_case="keep")
        assert kept.class_names == ("Cat", "cat", "dog")
    listing = list_arrays(made.images, made.labels, made.class_names)
    assert listing.class_names == ("Cat", "dog")


def test_a_class_case_that_is_none() -> None:
    with pytest.raises(DataError, match="unknown class_case 'joined'; did you mean 'join'"):
        ListingOptions(class_case="joined")  # type: ignore[arg-type]
    case: ClassCase = "keep"
    assert ListingOptions(class_case=case).given() == {"class_case": "keep"}


def test_classes_that_are_one_number_are_noted() -> None:
    classes = number_classes("data", ["01", "1", "1.0", "2", "-1", "1e5", "nan", "NA", "true"])
    assert len(classes.names) == 9
    assert classes.notes == (
        "classes that are the same number stay apart: '01' and '1' and '1.0'; are they one class "
        "each? Then give them one name",
    )
    assert number_classes("data", ["00", "01", "10", "1a"]).notes == ()
