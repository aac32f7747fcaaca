from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yaml.nodes import ScalarNode

from secguard.yamlsource import MAX_DEPTH, Section, Source, parse, position_inside

pytestmark = pytest.mark.once


def faults(text: str, max_bytes: int = 10_000) -> list[str]:
    source = Source(text)
    assert parse(source, max_bytes) is None
    return [str(p) for p in source.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "line 1, column 1: found nothing; expected a mapping"),
        ("- 1\n", "found a list of 1; expected a mapping"),
        ("a: b: c", "line 1, column 5: not YAML"),
        ("a: 'x", "not YAML"),
        ("a: &x [1]\nb: *x", "line 1, column 4: anchors and aliases"),
        ("a: !!python/object:os.system {}", "line 1, column 4: the tag"),
        ("a: 1\n---\nb: 2", "line 2, column 1: not YAML"),
        ("a: 1\nb: \x01", "line 2, column 4: the character U+0001 is not allowed"),
        ("a: \ud800", "the character U+D800 is not allowed"),
        ("[" * 5000, f"nested more than {MAX_DEPTH} deep"),
        ("a: [" + "1," * 25_000 + "1]", "the document has"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_place(text, expected):
    assert expected in faults(text)[0]


def test_too_many_values_are_refused():
    assert "more than 20,000 values" in faults("a: [" + "1," * 25_000 + "1]", 10**6)[0]


def section(text: str) -> Section:
    source = Source(text)
    node = parse(source, 10_000)
    assert node is not None
    return Section(source, node, "the thing")


def test_values_are_taken_by_type():
    found = section("name: x\ncount: 7\nflag: true\nword: two\nwords: [one, two]\nsub: {k: v}\nrows: [{a: b}]\n")
    assert found.take_text("name") == "x"
    assert found.take_count("count", 1, 9) == 7
    assert found.take_bool("flag") is True
    assert found.take_choice("word", ["one", "two"]) == "two"
    assert found.take_choices("words", ["one", "two"]) == ("one", "two")
    sub = found.take_section("sub", "the sub")
    assert sub is not None
    assert sub.take_text("k") == "v"
    assert [r.what for r in found.take_sections("rows", "row", 5)] == ["row 1"]
    found.close()
    assert found.source.problems == []


def test_every_fault_is_kept_in_the_order_of_the_text():
    found = section("zeta: 1\ncount: many\nname: 7\nflag: maybe\nword: tow\nwords: [one, one]\n")
    found.take_text("name")
    found.take_count("count", 1, 9)
    found.take_bool("flag")
    found.take_choice("word", ["one", "two"])
    found.take_choices("words", ["one", "two"])
    found.take_text("missing", required=True)
    found.close()
    told = [str(p) for p in found.source.problems]
    assert told == [
        "line 1, column 1: the thing has no key 'zeta'. Known keys: name, count, flag, word, words, missing",
        "line 1, column 1: the thing needs the key 'missing'",
        "line 2, column 8: 'count' is 'many'; expected a whole number from 1 to 9",
        "line 3, column 7: 'name' of the thing is '7'; expected a text (in quotes)",
        "line 4, column 7: 'flag' of the thing is 'maybe'; expected true or false",
        "line 5, column 7: 'word' is 'tow' (did you mean 'two'?); expected one of one, two",
        "line 6, column 14: 'one' stands twice in 'words'",
    ]


def test_a_key_that_stands_twice_is_a_fault():
    found = section("a: 1\na: 2\n")
    assert [str(p) for p in found.source.problems] == ["line 2, column 1: the key 'a' stands twice in the thing"]


@pytest.mark.parametrize(
    ("text", "part", "place"),
    [
        ("k: finding.x", "x", (1, 12)),
        ("k: 'it''s finding.x'", "x", (1, 19)),
        ('k: "a\\tb \\"c\\" x"', "x", (1, 16)),
        ("k: |\n  first line\n  then x\n", "x", (3, 8)),
        ("k: >-\n  first line\n\n    then x\n", "x", (4, 10)),
        ("k: |2+\n    two x\n", "x", (2, 9)),
        ("k: first\n   and x", "x", (2, 8)),
        ('k: "first\n   and \\\n   x"', "x", (3, 4)),
        ("k: 'first\n\n   x'", "x", (3, 4)),
    ],
)
def test_a_place_inside_a_scalar_is_found_however_it_is_written(text, part, place):
    node = section(text).node_of("k")
    assert isinstance(node, ScalarNode)
    assert position_inside(text, node, node.value.index(part)) == place


words = st.lists(st.text(alphabet="abcdef.=&|'\"\\", min_size=1, max_size=6), min_size=1, max_size=8)


@given(words, st.sampled_from(["|", "|-", ">", ">-", "|4", ">2+"]), st.randoms(use_true_random=False), st.data())
def test_places_in_block_scalars_point_at_the_same_character(parts, header, random, data):
    indent = " " * int(next((c for c in header if c.isdigit()), "3"))
    lines = [""]
    for part in parts:
        lines[-1] = f"{lines[-1]} {part}".strip()
        if random.random() < 0.4:
            lines.append("")
    text = f"k: {header}\n" + "".join(f"{indent}{line}\n" if line else "\n" for line in lines)
    node = section(text).node_of("k")
    assert isinstance(node, ScalarNode)
    offset = data.draw(st.integers(0, len(node.value) - 1).filter(lambda i: not node.value[i].isspace()))
    line, column = position_inside(text, node, offset)
    assert text.split("\n")[line - 1][column - 1] == node.value[offset]


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text):
    source = Source(text)
    node = parse(source, 10_000)
    assert (node is None) is bool(source.problems)
