"""What a condition may make a gate do: refused when it is written, before any image waits for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.policies.costs import MAX_CHARACTERS, MAX_STEPS, TooMuch, steps_of
from secguard.policies.expressions import parse
from secguard.policies.language import PolicyError, parse_policy

LONG = f"[{','.join(['1'] * 300)}]"


def policy(*conditions: str) -> str:
    rules = "".join(
        f"  - {{id: r{n}, each: finding, when: '{c}', effect: block, message: m}}\n" for n, c in enumerate(conditions)
    )
    return f"name: mine\nrules:\n{rules}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('["aaaaaaaaaaaaaaaaaaaa"]' + ".map(x, x + x)" * 40 + ".exists(x, x == finding.title)", "puts together"),
        ("image.tags" + ".map(x, x + x)" * 9 + ".exists(x, x == finding.title)", "puts together"),
        ('[["a"]]' + ".map(l, l.map(x, x + x))" * 20 + ".exists(l, size(l) > 1)", "puts together"),
        ('["a"]' + f".map(x, {' + '.join('x' * 40)})" * 3 + ".exists(x, x == finding.title)", "puts together"),
        ('[["a"]]' + ".map(l, [l[0] + l[0]])" * 20 + ".exists(l, l[0] == finding.title)", "puts together"),
        (f"{LONG}.all(x, {LONG}.all(y, x == y)) || finding.overdue", "steps"),
        (f"{LONG}" + ".map(x, x + 1)" * 50 + ".exists(x, x == counts.total)", "steps"),
        (f"image.tags.exists(t, {LONG}.exists(x, size(t) == x))", "steps"),
        (f"[{','.join(['[1,2,3]'] * 90)}].all(l, {LONG}.exists(x, x in l))", "steps"),
    ],
)
def test_what_holds_up_a_gate_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(TooMuch, match=words) as caught:
        steps_of(parse(text))
    assert 0 <= caught.value.at < len(text)
    with pytest.raises(PolicyError, match="at most") as refused:
        parse_policy(policy(text))
    assert any(words in str(problem) and problem.line == 3 for problem in refused.value.problems)


@pytest.mark.parametrize(
    "text",
    [
        'finding.severity in ["critical", "high"] && finding.fix_available',
        'image.production && image.tags.all(t, t == "latest")',
        "image.labels.exists(k, image.tags.exists(t, t == image.labels[k]))",
        'finding.title.contains("a" + finding.name + "b")',
        'finding.sources.map(s, s + "!").exists(s, s == "trivy!")',
        "finding.vulnerability in [" + ", ".join(f'"CVE-2026-{n}"' for n in range(100)) + "]",
    ],
)
def test_what_people_write_is_taken(text: str) -> None:
    assert steps_of(parse(text)) <= MAX_STEPS


def test_rules_that_are_each_small_enough_are_bounded_together() -> None:
    one = "image.labels.exists(k, image.tags.exists(t, t == image.labels[k] && size(t) > {0}))"
    with pytest.raises(PolicyError, match="with it the conditions can take"):
        parse_policy(policy(*[one.format(n) for n in range(20)]))
    parse_policy(policy(*[one.format(n) for n in range(5)]))


def test_what_was_kept_before_is_still_judged_by() -> None:
    text = policy(f"{LONG}.all(x, {LONG}.all(y, x == y)) || finding.overdue")
    with pytest.raises(PolicyError):
        parse_policy(text)
    assert parse_policy(text, is_kept=True).rules


pieces = st.recursive(
    st.sampled_from(["x", '"abc"', "x + x", 'x + "abcdefghij"', "x + x + x"]),
    lambda inner: st.builds("({0} + {1})".format, inner, inner),
    max_leaves=4,
)


@given(st.lists(pieces, min_size=1, max_size=6), st.integers(1, 30))
def test_no_text_grows_past_what_was_reckoned(bodies: list[str], length: int) -> None:
    """Held against the engine: what is taken never makes a longer text than the bound."""
    import cel

    text = f'["{"a" * length}"]' + "".join(f".map(x, {body})" for body in bodies)
    try:
        steps_of(parse(text))
    except TooMuch:
        return
    (made,) = cel.evaluate(text)
    assert len(made) <= MAX_CHARACTERS
