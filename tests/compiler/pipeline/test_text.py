"""Pipelines as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.compiler.pipeline.steps import Cut, Needy, Options, as_plugins
from yocc.compiler.pipeline import pipeline as module
from yocc.compiler.pipeline.passes import Pass
from yocc.compiler.pipeline.pipeline import Pipeline, pass_from_options, print_pass
from yocc.errors import OptionError


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "known_passes", as_plugins)


_FLOATS = st.floats(allow_nan=False)
_PASSES = st.one_of(
    st.builds(
        Options,
        count=st.integers(),
        ratio=_FLOATS,
        on=st.booleans(),
        text=st.text(),
        maybe=st.none() | _FLOATS,
        word=st.none() | st.text(),
        choice=st.sampled_from(["linear", "log2"]),
        bits=st.sampled_from([4, 8]),
        seldom=st.sampled_from([None, "a", "b"]),
        made=st.text(alphabet='{}=,"\\ none'),
    ),
    st.builds(Needy, ratio=st.floats(0, 1)),
    st.builds(Cut, keep=st.integers(1, 64)),
)


@pytest.mark.slow
@given(st.lists(_PASSES, max_size=4))
def test_what_a_pipeline_prints_it_parses(passes: list[Pass]) -> None:
    pipeline = Pipeline(tuple(passes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "known_passes", as_plugins)
        assert Pipeline.parse(str(pipeline)) == pipeline


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", ()),
        ("options", (Options(),)),
        ("options{}", (Options(),)),
        ("  options { count = 4 , ratio = 1e-3 } , cut ", (Options(count=4, ratio=1e-3), Cut())),
        ("options{bits=4,choice=log2,on=true}", (Options(bits=4, choice="log2", on=True),)),
        ("options{maybe=none,word=none}", (Options(),)),
        ('options{word="none"}', (Options(word="none"),)),
        ('options{text="a, b{c=\\"d\\"}"}', (Options(text='a, b{c="d"}'),)),
        ("options{text=/some/path-1.2}", (Options(text="/some/path-1.2"),)),
        ("cut,cut{keep=8},cut", (Cut(), Cut(keep=8), Cut())),
        ("options{ratio=inf}", (Options(ratio=math.inf),)),
    ],
)
def test_text_is_read(text: str, passes: tuple[Pass, ...]) -> None:
    assert Pipeline.parse(text).passes == passes


def test_only_what_differs_from_the_default_is_printed() -> None:
    assert print_pass(Options()) == "options"
    assert print_pass(Options(count=4, on=True, bits=4)) == "options{count=4,on=true,bits=4}"
    assert print_pass(Needy(ratio=0.25)) == "needy{ratio=0.25}"
    assert str(Pipeline((Options(), Cut(keep=2)))) == "options,cut{keep=2}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optoins", "There is no pass 'optoins'. Did you mean 'options'?"),
        ("zzz", "There is no pass 'zzz'. Known: cut, needy, options."),
        ("options{", "Expected ',' in the pipeline before '{'."),
        ("options{count=4", "Expected ',' in the pipeline before '{count=4'."),
        ("options}", "Expected ',' in the pipeline before '}'."),
        ("options cut", "Expected ',' in the pipeline before 'cut'."),
        ("options,", "The pipeline ends with a comma. Remove it or name another pass."),
        ("options,,cut", "Cannot read the pipeline at ',cut'. Write it like 'simplify,prune{ratio=0.4}'."),
        (",options", "Cannot read the pipeline at ',options'. Write it like 'simplify,prune{ratio=0.4}'."),
        ("{count=3}", "Cannot read the pipeline at '{count=3}'. Write it like 'simplify,prune{ratio=0.4}'."),
        ("options{count}", "Cannot read the options 'count' of 'options'. Write them like {ratio=0.4,bits=8}."),
        ("options{count=}", "Cannot read the options 'count=' of 'options'. Write them like {ratio=0.4,bits=8}."),
        ("options{count=1=2}", "Cannot read the options 'count=1=2' of 'options'. Write them like {ratio=0.4,bits=8}."),
        (
            "options{count=1 on=true}",
            "Cannot read the options 'count=1 on=true' of 'options'. Write them like {ratio=0.4,bits=8}.",
        ),
        ("options{count=1,count=2}", "The option 'count' of 'options' is given twice."),
        ("options{cuont=1}", "The pass 'options' has no option 'cuont'. Did you mean 'count'?"),
        ("options{count=1.5}", "options.count cannot be '1.5'. Give a value of type int."),
        ("options{ratio=much}", "options.ratio cannot be 'much'. Give a value of type float."),
        ("options{maybe=much}", "options.maybe cannot be 'much'. Give a value of type float."),
        ("options{on=yes}", "options.on cannot be 'yes'. Use true or false."),
        ("options{choice=cubic}", "options.choice cannot be 'cubic'. Use one of linear, log2."),
        ("options{bits=5}", "options.bits cannot be '5'. Use one of 4, 8."),
        ("options{seldom=c}", "options.seldom cannot be 'c'. Use one of a, b."),
        ('options{text="\\x"}', 'options.text cannot be "\\x". Inside quotes write it as JSON does.'),
        ("needy", "The pass 'needy' needs a value for 'ratio'."),
        ("needy{ratio=1.2}", "A ratio of 1.2 is not between 0 and 1."),
    ],
)
def test_each_mistake_has_its_message(text: str, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Pipeline.parse(text)
    assert str(caught.value) == message


def test_options_make_a_pass_directly() -> None:
    assert pass_from_options(Needy, {"ratio": "0.5"}) == Needy(ratio=0.5)
