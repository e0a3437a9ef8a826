"""Lists of problems: by kind, causes first, counted."""

from __future__ import annotations

from burnish.data.problems import (
    NUM_EXAMPLES,
    Problem,
    UnusableError,
    count_kinds,
    describe_groups,
    group_problems,
    pick_examples,
    read_trouble,
    write_problems,
)

GONE = [Problem(f"{number}.png", "is not there") for number in range(30)]
STRAY = [Problem(f"x{number}.png", "has no label", is_cause=False) for number in range(40)]


def test_a_cause_comes_first_however_many_consequences_were_found_before_it() -> None:
    groups = group_problems([*STRAY, *GONE])
    assert [group.problems[0].kind for group in groups] == ["is not there", "has no label"]
    examples = pick_examples([*STRAY, *GONE])
    assert len(examples) == NUM_EXAMPLES
    assert [str(problem) for problem in examples[:2]] == [
        "0.png: is not there",
        "1.png: is not there",
    ]
    # Each kind has its share of the examples: none hides another.
    assert {problem.kind for problem in examples} == {"is not there", "has no label"}
    assert write_problems([*STRAY, *GONE], num=2).splitlines() == [
        "  is not there: 30, as",
        "    0.png",
        "    1.png",
        "    and 28 more",
        "  has no label: 40, as",
        "    x0.png",
        "    x1.png",
        "    and 38 more",
    ]
    assert count_kinds([*STRAY, *GONE]) == "is not there: 30; has no label: 40"


def test_as_many_kinds_as_there_are_problems_are_all_named() -> None:
    many = [Problem(f"{number}.png", f"has trouble {chr(97 + number)}") for number in range(26)]
    assert len(pick_examples(many)) == 26
    assert write_problems(many).splitlines()[0] == "  0.png: has trouble a"


def test_details_that_are_alike_stand_in_the_heading() -> None:
    alike = [Problem(name, "is a folder within a class", "; expected none") for name in "ab"]
    (group,) = describe_groups(alike)
    assert group == {
        "kind": "is a folder within a class; expected none",
        "num": 2,
        "examples": ["a", "b"],
    }
    (group,) = describe_groups([*alike, Problem("c", "is a folder within a class", " too")])
    assert group["kind"] == "is a folder within a class"
    assert group["examples"] == ["a; expected none", "b; expected none", "c too"]


def test_what_decoding_says_is_grouped_though_its_numbers_differ() -> None:
    said = [
        ("1.png", "has 9x9 = 81 pixels; at most 64 are decoded"),
        ("2.png", "has 8x9 = 72 pixels; at most 64 are decoded"),
        ("3.png", "is cut off or damaged (broken PNG file)"),
        ("4.png", "is cut off or damaged (unrecognized data stream)"),
        ("5.png", "is empty"),
    ]
    troubles = [read_trouble(name, why) for name, why in said]
    assert [len(group.problems) for group in group_problems(troubles)] == [2, 2, 1]
    for trouble, (name, why) in zip(troubles, said, strict=True):
        assert name in str(trouble)
        assert why in str(trouble)


def test_an_error_has_the_list_between_what_became_of_it_and_what_to_do() -> None:
    error = UnusableError("data: cannot be used: 1", [Problem("a", "is empty")], "Repair it.")
    assert str(error) == "data: cannot be used: 1\n  a: is empty\nRepair it."
    assert str(UnusableError("data: has none", [])) == "data: has none"
    assert str(UnusableError("none", [Problem("a", "is empty")])) == "none:\n  a: is empty"
