"""Expressions: what is read, what is refused, and what the numbers and dimensions are."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exodiff.core.dimensions import DIMENSIONLESS, PER_VOLUME, TIME, dimension
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import (
    NO_FORMS,
    OBSERVABLE_FORMS,
    Binary,
    Name,
    Number,
    evaluate,
    infer_dimension,
    names,
    parse,
    to_text,
    walk,
)
from exodiff.core.syntax import FORMS, FUNCTIONS


def value(text, **variables):
    return evaluate(parse(text, "w"), lambda node: variables[node.name], np)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("2 ^ 3 * 2", 16),
        ("-2 ** 2", -4),
        ("2 ^ -1", 0.5),
        ("8 / 2 / 2", 2),
        ("1 - 2 - 3", -4),
        ("min(3, 2, 4) + max(1, 5)", 7),
        ("where(3 > 2, 10, 20)", 10),
        ("where(3 <= 2, 10, 20)", 20),
        ("hill(3, 3, 4)", 0.5),
        ("hill(6, 3, 2)", 0.8),
        ("hill_down(6, 3, 2)", 0.2),
        ("hill_down(6, 3, 2, floor=0.5)", 0.6),
        ("saturate(1, 3)", 0.25),
        ("sqrt(9) + log(1) + exp(0)", 4),
    ],
)
def test_arithmetic_means_what_it_says(text, expected):
    assert value(text) == pytest.approx(expected, rel=1e-12)


def test_a_tree_is_equal_and_hashed_by_value():
    assert parse("a*b + 1", "w") == parse(" a * b+1.0", "w")
    assert hash(parse("a*b + 1", "w")) == hash(parse("a*b+1", "w"))
    assert parse("a - (b - c)", "w") != parse("a - b - c", "w")
    assert parse("a ^ b ^ c", "w") == parse("a ** (b ** c)", "w")


def test_names_include_those_inside_forms_and_dotted_ones():
    expr = parse("k * conc(EV) + near(CTL) * plasma.EV + t", "w")
    assert names(expr) == {"k", "EV", "CTL", "plasma.EV", "t"}
    assert Name("CTL") in list(walk(expr))


def test_a_form_is_looked_up_as_a_whole():
    seen = []
    evaluate(parse("2 * conc(EV)", "w"), lambda node: seen.append(node) or 3.0, np)
    assert seen == [parse("conc(EV)", "w")]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        '__import__("os").system("ls")',
        "__import__(os)",
        "(1).__class__",
        "a.b.c.d",
        "a.__class__",
        "__a",
        "lambda x: x",
        "lambda: 1",
        "a[0]",
        "[1, 2]",
        "{1}",
        "'text'",
        "f'x'",
        "a if b else c",
        "a and b",
        "not a",
        "~a",
        "a // b",
        "a % b",
        "a @ b",
        "a := 1",
        "a, b",
        "*a",
        "a > b",
        "where(a, 1, 2)",
        "where(1 < a < 2, 1, 2)",
        "where(a > b, 1)",
        "f(x)",
        "hill(x, 1)",
        "hill(x, K=1, n=2)",
        "hill(*x)",
        "hill_down(x, 1, 2, low=3)",
        "hill_down(x, 1, 2, 0, floor=3)",
        "hill",
        "conc(2)",
        "conc(a + b)",
        "total(EV)",
        "exp(1)(2)",
        "(a)(b)",
        "1j",
        "True",
        "None",
        "...",
        "",
        "   ",
        "1 +",
        "a b",
        "2a",
        "((a)",
        "1e999",
        "9" * 400,
        "9**9**9",
        "2 ** 65",
        "x ** 1e9",
        "x ** (2 ** 3)",
        "x ** -65",
        "(9**60)**60",
        "(-8) ** 0.5",
        "1 / 0",
        "x * (1 / (2 - 2))",
        "1e200 * 1e200",
        "a; b",
        "a\n= b",
        "µ",
        "\u212a",
        "a\x00b",
        "x" * 2001,
        "(" * 90 + "x" + ")" * 91,
        "(" * 900 + "x" + ")" * 900,
        "-" * 1500 + "x",
        "+".join(["x"] * 400),
        "exp(" * 150 + "x" + ")" * 150,
    ],
)
def test_everything_outside_the_whitelist_is_refused_in_one_line(text):
    with pytest.raises(ConfigError) as refused:
        parse(text, "reactions.r.rate")
    line = str(refused.value)
    assert line.startswith("reactions.r.rate: ")
    assert "\n" not in line
    assert len(line) < 400


def test_a_sum_of_forty_terms_is_fine():
    assert len(names(parse(" + ".join(f"k{i}" for i in range(40)), "w"))) == 40


def test_forms_are_allowed_only_where_they_mean_something():
    parse("total(CAF) / mean(EV, tumour) + events(release, rim)", "w", forms=OBSERVABLE_FORMS)
    with pytest.raises(ConfigError, match="not allowed here"):
        parse("conc(EV)", "w", forms=OBSERVABLE_FORMS)
    with pytest.raises(ConfigError, match="not allowed here"):
        parse("near(EV)", "w", forms=NO_FORMS)


_WORDS = [*FUNCTIONS, *FORMS, "a", "b", "k_on", "t", "lambda", "if", "__import__", "floor", "plasma.EV", "1e308", "9"]
_SYMBOLS = [*list("+-*/^()<>=!.,:[]{}'\"@~%&|;# \n\t0123456789"), "**", "<=", "==", "->", "µ", "\x00", "é"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(_WORDS + _SYMBOLS), max_size=60).map("".join) | st.text(max_size=80))
def test_any_text_gives_a_tree_or_a_config_error_quickly(text):
    start = time.perf_counter()
    try:
        expr = parse(text, "w", forms=frozenset(FORMS))
    except ConfigError:
        pass
    else:
        assert parse(to_text(expr), "w", forms=frozenset(FORMS)) == expr
    assert time.perf_counter() - start < 2


_TREES = st.recursive(
    st.sampled_from(["a", "k", "2", "0.5", "1e-5", "conc(EV)"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})"),
        inner.map(lambda x: f"-({x})"),
        st.tuples(inner, st.sampled_from(["2", "-n", "(n + 1)"])).map(lambda p: f"(a + ({p[0]})) ^ {p[1]}"),
        st.tuples(inner, inner).map(lambda p: f"where({p[0]} < {p[1]}, {p[1]}, max({p[0]}, 1))"),
        inner.map(lambda x: f"hill_down({x}, K, n, floor=0.1)"),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(_TREES)
def test_the_written_text_reads_back_to_the_same_tree(text):
    try:
        expr = parse(text, "w")
    except ConfigError:  # a constant part such as 2 / (0.5 - 0.5)
        return
    assert parse(to_text(expr), "w") == expr


@pytest.mark.parametrize("function", ["hill", "hill_down", "saturate"])
def test_saturating_laws_stay_finite_and_in_0_to_1_in_float32(function):
    x = np.array([-5, 0, 1e-8, 1e-3, 1, 19.999, 20, 1e6, 1e30], np.float32)
    arguments = "x, K" if function == "saturate" else "x, K, n"
    for half in (1e-6, 20.0, 1e28):
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            y = value(f"{function}({arguments})", x=x, K=np.float32(half), n=np.float32(8))
        assert y.dtype == np.float32
        assert np.all((y >= 0) & (y <= 1))
    assert value("hill(x, 20, 4)", x=x)[:2].tolist() == [0, 0]
    assert value("hill_down(x, 20, 4)", x=x)[:2].tolist() == [1, 1]


def test_hill_keeps_its_relative_accuracy_where_it_is_small():
    x = np.array([0.01, 0.1, 1.0, 5.0], np.float32)
    r = x.astype(float) / 20
    # 4 log r is at most 31 and carries 2 ulp, so the relative error is below 31 * 2 * 6e-8, plus some ulp of exp.
    np.testing.assert_allclose(value("hill(x, 20, 4)", x=x), r**4 / (1 + r**4), rtol=5e-6)
    np.testing.assert_allclose(value("hill_down(y, 20, 4)", y=400 / x), r**4 / (1 + r**4), rtol=5e-6)


def test_hill_has_a_right_derivative_everywhere_also_at_zero_and_at_half():
    import jax  # noqa: PLC0415
    import jax.numpy as jnp  # noqa: PLC0415

    expr = parse("hill(x, K, n)", "w")

    def total(x, half):
        lookup = {"x": x, "K": half, "n": jnp.float32(4)}
        return evaluate(expr, lambda node: lookup[node.name], jnp)

    # d/dx at x = K is n / (4 K).
    assert jax.grad(total)(jnp.float32(20), jnp.float32(20)) == pytest.approx(4 / 80, rel=1e-5)
    assert jax.grad(total, 1)(jnp.float32(20), jnp.float32(20)) == pytest.approx(-4 / 80, rel=1e-5)
    for x, half in ((0.0, 20.0), (5.0, 0.0), (0.0, 0.0), (1e30, 1.0), (1e-30, 1.0)):
        for argument in (0, 1):
            assert np.isfinite(jax.grad(total, argument)(jnp.float32(x), jnp.float32(half)))


def dim(text):
    lookup = {"D": dimension(um=2, s=-1), "k": dimension(s=-1), "V": dimension(um=3), "t": TIME, "n": DIMENSIONLESS}
    return infer_dimension(
        parse(text, "w"), lambda node: lookup[node.name] if isinstance(node, Name) else PER_VOLUME, "w"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("D / V", dimension(um=-1, s=-1)),
        ("k * t", DIMENSIONLESS),
        ("k + 0", dimension(s=-1)),
        ("max(0, k)", dimension(s=-1)),
        ("where(n > 2, k, 0)", dimension(s=-1)),
        ("hill(conc(EV), 2 / V, n)", DIMENSIONLESS),
        ("sqrt(D * t)", dimension(um=1)),
        ("D ^ (1/2) * t ^ 0.5", dimension(um=1)),
        ("k ^ -2", dimension(s=2)),
        ("n ^ n", DIMENSIONLESS),
        ("exp(-k * t) * k", dimension(s=-1)),
        ("0", DIMENSIONLESS),
    ],
)
def test_dimensions_are_inferred_bottom_up(text, expected):
    assert dim(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "k + D",
        "k - 1",
        "min(k, n)",
        "where(n > k, 1, 2)",
        "where(n > 1, k, n)",
        "hill(conc(EV), 2, 4)",
        "hill(n, 2, k)",
        "exp(k)",
        "log(D)",
        "n ^ k",
        "k ^ n",
        "hill_down(n, 1, 2, k)",
        "saturate(n, k)",
    ],
)
def test_dimensions_that_do_not_fit_are_refused(text):
    with pytest.raises(ConfigError, match=r"^w: .*(mixes|dimensionless|power)"):
        dim(text)


def test_dimensions_read_well_and_are_equal_by_value():
    assert str(dimension(um=3, s=-1)) == "um^3/s"
    assert str(dimension(s=-1)) == "1/s"
    assert str(dimension(um=-3, s=-1)) == "1/(um^3 s)"
    assert str(dimension(um=2) ** 0.25) == "um^(1/2)"
    assert str(DIMENSIONLESS) == "dimensionless"
    assert dimension(um=3) / dimension(um=1) == dimension(um=2)
    assert dimension(um=1) * dimension(um=-1) == DIMENSIONLESS


def test_literals_take_the_dtype_of_what_they_meet():
    assert value("2 * x ^ 2 + 0.5", x=np.ones(3, np.float32)).dtype == np.float32
    assert parse("x ^ 2", "w") == Binary("**", Name("x"), Number(2.0))
