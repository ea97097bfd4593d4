from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deeprec_env import InputError, load_scenario
from deeprec_env.scenario import preset_text
from deeprec_env.yaml_text import parse_yaml


def test_a_key_given_twice_is_named_with_file_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text(
        preset_text("wnd").replace("    qps: 2068.25\n", "    qps: 2068.25\n    'qps': 3\n"), encoding="utf-8"
    )
    with pytest.raises(InputError) as caught:
        load_scenario(path)
    assert str(caught.value) == f"scenario {path} line 9: got 'qps'; must be given once; line 8 has it already"


@pytest.mark.parametrize("text", ["{a: 1, a: 2}", "- {b: {a: 1, a: 1}}", "? a\n: 1\n? a\n: 2", "1: x\n1: y"])
def test_equal_keys_are_refused_at_any_depth(text: str) -> None:
    with pytest.raises(InputError, match="already"):
        parse_yaml(text, "scenario", "mine.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}",
        "x: &x {b: 1}\ny: &y {c: 2, <<: *x, b: 4}\nd: {<<: [*x, *y], c: 5}\ne: *y",
        "{a: 1, 'b': [a, a], c: {a: 2}}",
        "1: x\n'1': y",
        "",
    ],
)
def test_what_is_not_given_twice_reads_as_before(text: str) -> None:
    assert parse_yaml(text, "scenario", "mine.yaml") == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["a: [", "a: !!python/name:os.system x", "a: *nowhere"])
def test_what_is_no_plain_yaml_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"scenario: got 'mine.yaml(, line 1)?'; must be YAML"):
        parse_yaml(text, "scenario", "mine.yaml")


def test_the_command_line_refuses_it_too() -> None:
    with pytest.raises(InputError, match="must be given once; line 1 has it already"):
        load_scenario("wnd", ["workload.arrivals={kind: poisson, qps: 3, qps: 4}"])


@pytest.mark.parametrize("text", ["010", "-017", "1:30", "1:30.5", "0b11", "9" * 500, "!!int abc"])
def test_numbers_of_another_base_are_refused_with_their_line(text: str) -> None:
    with pytest.raises(InputError, match=r"^scenario mine.yaml line 2: got .*; must be a decimal number"):
        parse_yaml(f"a: 1\nb: [{text}]", "scenario", "mine.yaml")


def test_decimal_numbers_and_texts_are_what_they_were() -> None:
    text = "[0, -3, +4, 1_000, 0x1F, 1.5, -1.0e+3, .inf, '010', '1:30', 08, 1e3, ~, yes]"
    assert parse_yaml(text, "scenario", "mine.yaml") == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["[" * 1500 + "]" * 1500, "{a: " * 1500 + "1" + "}" * 1500, "- " * 3000 + "1"])
def test_yaml_nested_without_end_is_one_line(text: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_yaml(text, "scenario", "mine.yaml")
    assert len(str(raised.value)) < 200


def test_a_date_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="must be YAML"):
        parse_yaml("a: 2020-13-45", "scenario", "mine.yaml")
