from __future__ import annotations

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.policies.expressions import MAX_DEPTH, ExpressionError, Literal, canonical, children, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b == 'x' && c in [1, 2]", "((a.b == 'x') && (c in [1,2]))"),
        ("a || b && c", "(a || (b && c))"),
        ("a && b && c", "((a && b) && c)"),
        ("!a.b == c", "(!(a.b) == c)"),
        ("a + b * c - d", "((a + (b * c)) - d)"),
        ("a ? b : c ? d : e", "(a?b:(c?d:e))"),
        ("a.f(x, y.z)[0]", "a.f(x,y.z)[0]"),
        ("- - 1 < 0x1F", "(-(-1) < 31)"),
        ("-9223372036854775808 < 0", "(-9223372036854775808 < 0)"),
        ("{'a': 1,}.a == 1.5e3", "({'a':1}.a == 1500.0)"),
        ("true != false // why\n || null == a", "((true != false) || (None == a))"),
        (r"r'\d' + '''x'y''' + '\x41\u00e9\101\n'", "(('\\\\d' + \"x'y\") + 'AéA\\n')"),
    ],
)
def test_trees(text, expected):
    assert canonical(parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("", 0, "found the end; expected a value"),
        ("a b", 2, "found 'b'; expected an operator or the end"),
        ("a == ", 5, "found the end; expected a value"),
        ("(a", 2, "expected ')'"),
        ("a.", 2, "expected the name of a field"),
        ("a == 'x", 5, "never ends"),
        ("a # b", 2, "'#' has no meaning here"),
        ("a = b", 2, "'=' has no meaning here"),
        ("1u == a", 1, "found 'u' after a number"),
        ("9223372036854775808 > 1", 0, "outside 64 bits"),
        (r"a == '\q'", 5, "is no escape of CEL"),
        ("for == 1", 0, "reserved word"),
        ("a ? b", 5, "expected ':'"),
        ("[1, , 2]", 4, "expected a value"),
    ],
)
def test_a_fault_is_told_with_its_place(text, at, message):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert caught.value.at == at
    assert message in caught.value.message


@pytest.mark.parametrize(
    "text", ["(" * 900, "!" * 1900 + "a", "-" * 1900 + "a", "a" + ".b" * 900, "a" + "+a" * 900, "[" * 999]
)
def test_nothing_nests_without_bound(text):
    with pytest.raises(ExpressionError, match=f"more than {MAX_DEPTH} deep"):
        parse(text)


def test_what_is_too_long_is_refused():
    with pytest.raises(ExpressionError, match="at most 2,000"):
        parse("a" * 2001)


def test_blanks_quotes_comments_and_parentheses_do_not_tell_conditions_apart():
    assert canonical(parse("a.b=='x'&&(c)")) == canonical(parse('a . b == "x" // note\n && c'))
    assert canonical(parse("(a || b) && c")) != canonical(parse("a || b && c"))


def test_children_are_what_stands_directly_inside():
    tree = parse("f(a, 1) ? b[0] : {'k': c}")
    assert [canonical(c) for c in children(tree)] == ["f(a,1)", "b[0]", "{'k':c}"]
    assert children(Literal(0, 1)) == ()


@given(st.text(max_size=60) | st.text(alphabet="ab.()[]{}'\"\\&|!=<>+-*/%?:, \n10rintrue", max_size=40))
def test_any_text_is_read_or_refused_with_a_place_inside_it(text):
    try:
        tree = parse(text)
    except ExpressionError as e:
        place = e.at
    else:
        place = tree.at
    assert 0 <= place <= len(text)


atoms = st.sampled_from(["true", "false", "1", "2", "-3", "1.5", "'x'", '"y"', "[1,2]", "['x']"])
trees = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "||", "==", "!=", "<", "+", "*", "in"]), inner),
        st.builds("{} {} {}".format, inner, st.sampled_from(["&&", "||", "==", "<", "-"]), inner),
        st.builds("!({})".format, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=8,
)


def value_of(text: str) -> object:
    try:
        return cel.evaluate(text)
    except Exception as e:  # noqa: BLE001 - the engine's many kinds of refusal are the answer here
        return type(e).__name__


@given(st.text(alphabet="ab\\\"'rnx4u0 ", max_size=12))
def test_text_is_the_engines_text(text):
    """Where both take it, it means the same; the engine takes nothing as a text that is something else here."""
    try:
        tree = parse(text)
    except ExpressionError:
        return
    if isinstance(tree, Literal) and isinstance(tree.value, str):
        assert value_of(text) in (tree.value, "ValueError")


@pytest.mark.parametrize("text", [r'r"a\"', r'"""a\\"""', r"'a\\'", r'r"""a\"""', r'"\"a\""'])
def test_backslashes_before_quotes(text):
    tree = parse(text)
    assert isinstance(tree, Literal)
    assert tree.value == cel.evaluate(text)


@given(trees)
def test_the_tree_is_the_engines_tree(text):
    """Fully parenthesised from our tree, the engine computes what it does from the text."""
    assert value_of(canonical(parse(text))) == value_of(text)
