"""Equations: the syntax of reactions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exodiff.core.equations import Burst, Equation, Term, parse_equation
from exodiff.core.errors import ConfigError
from exodiff.core.expressions import Number, parse


@pytest.mark.parametrize(
    ("text", "reactants", "products"),
    [
        ("A -> B", (Term("A"),), (Term("B"),)),
        ("A ->", (Term("A"),), ()),
        ("-> B", (), (Term("B"),)),
        ("2 A -> C", (Term("A", 2),), (Term("C"),)),
        ("A + B->C", (Term("A"), Term("B")), (Term("C"),)),
        ("tumour -> tumour + EV", (Term("tumour"),), (Term("tumour"), Term("EV"))),
        ("A + B + A -> 3 C + C", (Term("A", 2), Term("B")), (Term("C", 4),)),
        ("mvb -> 20 EV", (Term("mvb"),), (Term("EV", 20),)),
    ],
)
def test_an_equation_is_read_as_written(text, reactants, products):
    assert parse_equation(text, "w") == Equation(reactants, products)


def test_bursts_carry_expressions():
    equation = parse_equation("mvb -> poisson(2 * (b + 1)) EV + geometric(20) EV + loaded(0.01, max(m, 10)) dose", "w")
    assert equation.products == (
        Term("EV", 1, Burst("poisson", (parse("2 * (b + 1)", "w"),))),
        Term("EV", 1, Burst("geometric", (Number(20.0),))),
        Term("dose", 1, Burst("loaded", (Number(0.01), parse("max(m, 10)", "w")))),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "->",
        " -> ",
        "A",
        "A + B",
        "A -> B -> C",
        "A <-> B",
        "A => B",
        "A = B",
        "A >- B",
        "A + -> B",
        "+ A -> B",
        "A -> + B",
        "A B -> C",
        "A -> 2",
        "0 A -> B",
        "1.5 A -> B",
        "-1 A -> B",
        "2*A -> B",
        "9999999 A -> B",
        "poisson(2) A -> B",
        "A -> poisson() B",
        "A -> poisson(1, 2) B",
        "A -> loaded(0.1) B",
        "A -> binomial(2) B",
        "A -> poisson(conc(EV)) B",
        "A -> poisson(2 B",
        "A -> poisson(lambda: 1) B",
        "A -> 2 poisson(3) B",
        "a.b.c.d -> e",
        "lambda -> B",
        "hill -> B",
        "t -> B",
        "__a -> B",
        "A -> B; C",
        "é -> B",
        "A -> " + "B + " * 60 + "B",
        "A -> B" + " " * 3000,
        "A -> 600000 B + 600000 B",
        "A -> )B(",
        "∅ -> B",
    ],
)
def test_a_malformed_equation_is_refused_in_one_line(text):
    with pytest.raises(ConfigError) as refused:
        parse_equation(text, "reactions.r.equation")
    assert str(refused.value).startswith("reactions.r.equation: ")
    assert "\n" not in str(refused.value)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["A", "B", "->", "+", " ", "2", "poisson(", ")", "loaded(0.1,", "plasma.EV", "\n", "é"]))
)
def test_any_text_gives_an_equation_that_reads_back_or_a_config_error(pieces):
    try:
        equation = parse_equation("".join(pieces), "w")
    except ConfigError:
        return
    assert parse_equation(str(equation), "w") == equation
