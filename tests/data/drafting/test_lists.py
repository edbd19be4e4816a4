"""Which texts are lists: tags are, categories in natural language are not."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wukongctl.data.drafting.lists import ListFormat, list_format

CATEGORIES = """\
Not in universe|Never married|Married-civilian spouse present|Married-spouse absent|Divorced|Widowed
Separated|Children or Armed Forces|Full-time schedules|Not in labor force
PT for non-econ reasons usually FT|Unemployed full-time|PT for econ reasons usually PT
Unemployed part- time|Bachelors degree(BA AB BS)|High school graduate|Some college but no degree
Associates degree-academic program|Masters degree(MA MS MEng MEd MSW MBA)|Doctorate degree(PhD EdD)
7th and 8th grade|10th grade|11th grade|9th grade|Householder|Child <18 never marr not in subfamily
Spouse of householder|Nonfamily householder|Other Rel <18 never marr child of subfamily RP
Grandchild <18 never marr child of subfamily RP|Private|Self-employed-not incorporated
Local government|State government|Federal government|Without pay|Nonfiler|Joint both under 65|Single
Joint both 65+|Head of household|Joint one under 65 & one 65+|United-States|Puerto-Rico
Trinadad&Tobago|Outlying-U S (Guam USVI etc)|Korea, Republic of|Congo, Democratic Republic of
Bolivia, Plurinational State of|Venezuela, Bolivarian Republic of|Bonaire, Sint Eustatius and Saba
New Zealand|Papua New Guinea|Guinea|Equatorial Guinea|Guinea-Bissau|South Africa|South Sudan|Sudan
North Macedonia|Saudi Arabia|Executive, admin and managerial|Sales, retail|Sales, wholesale
Retail manager|Sales manager|Manager|Sales assistant|Machine operators assmblrs & inspctrs
Adm support including clerical|Software engineer|Senior software engineer|Hospital services
Wholesale trade|Retail trade|Finance insurance and real estate|Business and repair services
Other professional services|Construction|Education|Medical except hospital
Personal services except private HH|dark red|light red|dark blue|light blue|red|blue|green
dark green|light green|bright red|New York, NY|Portland, OR|Portland, ME|Springfield, IL
Springfield, MA|Paris; France|London; United Kingdom|one-way|two-way|N/A
""".replace("\n", "|").split("|")[:-1]
SEPARATORS = ("|", ";", ",", ", ", " ")


@given(
    names=st.sets(st.sampled_from(CATEGORIES), min_size=2),
    blank=st.booleans(),
    seed=st.integers(0, 99),
)
def test_categories_in_words_are_never_split(names: set[str], *, blank: bool, seed: int) -> None:
    pick = random.Random(seed)
    assert list_format({f"{' ' * blank}{name}": pick.randrange(1, 5000) for name in sorted(names)}) is None


@settings(deadline=None)
@given(
    separator=st.sampled_from(SEPARATORS),
    tags=st.sets(st.text("abcdxyz0123456789_-", min_size=1, max_size=8), min_size=6, max_size=40),
    most=st.integers(3, 6),
    is_sorted=st.booleans(),
    seed=st.integers(0, 99),
)
def test_columns_of_tags_are_lists(
    separator: str, tags: set[str], most: int, *, is_sorted: bool, seed: int
) -> None:
    pick = random.Random(seed)
    known = [f"t{tag}" for tag in sorted(tags)]  # never a function word
    texts: Counter[str] = Counter()
    for _ in range(3000):
        chosen = pick.sample(known, pick.randint(1, most))
        texts[separator.join(sorted(chosen) if is_sorted else chosen)] += 1
    found = list_format(texts)
    assert found is not None
    assert found.separator == separator.strip() or found.separator == separator
    assert most - 1 <= found.items <= most


@pytest.mark.parametrize(("separator", "fixed"), [("|", False), ("|", True), (" ", True), (",", False)])
def test_long_histories_are_lists(separator: str, *, fixed: bool) -> None:
    """Nearly unique texts in order of time, possibly all truncated to twenty items."""
    pick = random.Random(0)
    texts = {
        separator.join(
            str(int(100 * pick.paretovariate(0.8)) % 3000)
            for _ in range(20 if fixed else pick.randint(5, 40))
        ): 1
        for _ in range(1000)
    }
    found = list_format(texts)
    assert found is not None
    assert (found.separator, found.items >= 20) == (separator, True)


@pytest.mark.parametrize(
    "text",
    [
        lambda pick: f"{pick.choice('abcdefgh')}|{pick.choice('uvwxyz')}",  # a key of two parts
        lambda pick: (
            f"{pick.choice(['Ann', 'Bob', 'Eve', 'Lee'])} {pick.choice(['Smith', 'Jones', 'Lee', 'Poe'])}"
        ),
        lambda pick: f"{pick.uniform(40, 60):.2f},{pick.uniform(-5, 5):.2f}",  # coordinates
        lambda pick: " ".join(f"{pick.randrange(100):02}" for _ in range(5)),  # telephone numbers
        lambda pick: f"{pick.randrange(1, 29)} {pick.choice(['Jan', 'Feb', 'Mar'])} 2024",
        lambda pick: pick.choice(["a|b", "c"]),  # too few texts
    ],
)
def test_texts_with_separators_that_are_not_lists(text: object) -> None:
    pick = random.Random(0)
    assert callable(text)
    assert list_format(Counter(text(pick) for _ in range(2000))) is None


def test_empty_texts_are_not_lists() -> None:
    assert list_format({}) is None
    assert list_format({"|": 3, "||": 2, " ": 1, ",": 1, ";": 1, "^": 1, "|;|": 1}) is None


def test_items_are_the_95th_percentile() -> None:
    texts = {"a": 90, "b": 5, "a|b": 3, "b|a|c": 1, "c|a": 1, "c|b|a|d": 1, "d|c": 2, "a|d|b": 1}
    assert list_format(texts) == ListFormat("|", 2)
