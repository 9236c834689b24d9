"""Profiles: what is shipped is whole, what is wrong is told, all of it at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurosim.errors import NeurosimError
from neurosim.network.layers import LAYERS
from neurosim.profile import Curve, Quantity, check_profile, load_profile, profile_names, profile_path, profile_rows
from neurosim.profile.schema import LayerName

BAD = """
name = "bad profile"
family = "crosbar"
colour = 3
[mismatch]
weigth = 0.1
tau_mem = {value = 1.0, cv = 0.3}
threshold = {value = 1, cv = -0.1}
bias = "many"
[limits]
fan_in = 0.5
tau_min = 1.0
tau_max = 0.02
[synapse]
levels = 0
[crossbar]
g_min = 25e-6
g_max = 20e-6
rows = 0
columns = 1
scale = "rows"
[crossbar.drift]
t0 = true
exponent_mean = {g_ref = 0, pieces = [{polynomial = [1]}]}
exponent_sd = {g_ref = 1e-6, pieces = [{log = [1, 2]}]}
"""


#: keys whose value is a word to choose, not a number
CHOICES = {"layers", "scale", "feedback", "coding", "table", "distribution", "input", "model", "tiles",
           "between", "level", "row_off", "kind", "converts", "signed", "range", "shared", "rounding",
           "serial", "clipped", "resistance", "window"}


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_number_says_where_it_comes_from(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.description
    for row in profile_rows(profile):
        assert row.meaning, row.key
        if row.key.split(".")[-1] not in CHOICES and not row.key.startswith("crossbar.cells."):
            assert len(row.source) > 10, row.key


def test_recalled_values_are_marked_assumed():
    assert load_profile("reram_neurram").crossbar.g_min.source.startswith("assumed: ")
    for name in ("dynap_se1", "dynap_se2"):
        for row in profile_rows(load_profile(name)):
            if row.key.startswith(("mismatch.", "circuit.mismatch.")) and row.key.split(".")[-1] not in CHOICES:
                assert row.source.startswith("assumed: "), row.key


def test_all_faults_are_told_at_once(tmp_path):
    path = write(tmp_path, BAD)
    with pytest.raises(NeurosimError) as error:
        load_profile(path)
    text = str(error.value)
    keys = ("name", "family", "colour", "mismatch.weigth", "mismatch.tau_mem", "mismatch.threshold.cv", "mismatch.bias",
            "limits.fan_in", "limits.tau_max", "synapse.levels", "crossbar.g_max", "crossbar.rows", "crossbar.columns",
            "crossbar.scale", "crossbar.drift.t0", "crossbar.drift.exponent_mean.g_ref",
            "crossbar.drift.exponent_sd.pieces[0]")
    for key in keys:
        assert f"\n  {key}: " in text, key
    assert text.startswith(str(path))
    assert "did you mean 'weight'?" in text
    assert "found 2e-05; expected more than g_min = 2.5e-05 S" in text
    assert check_profile(path) == text.splitlines()


@pytest.mark.parametrize(("text", "said"), [
    ("name = ", "not TOML"),
    ('family = "abstract"', "name: is missing"),
    ('name = "a"\nfamily = "abstract"\n[mismatch]\nweight = {value = 1, cv = 0.1, sd = 0.1}', "cv or sd, not both"),
    ('name = "a"\nfamily = "abstract"\n[mismatch]\nweight = {value = 0}', "a mean factor above 0"),
    ('name = "a"\nfamily = "abstract"\n[mismatch]\nweight = nan', "mismatch.weight: "),
    ('name = "a"\nfamily = "abstract"\n[mismatch]\nweight = {value = 1, cv = inf}', "mismatch.weight.cv: "),
    ('name = "a"\nfamily = "abstract"\n[mismatch]\nweight = {value = 1, distribution = "cauchy"}', "'lognormal'"),
    ('name = "a"\nfamily = "abstract"\n[limits]\nneurons = {value = 256, cv = 0.1}', "no spread here"),
    ('name = "a"\nfamily = "abstract"\n[crossbar]\ng_min=0\ng_max=1e-6\nrows=2\ncolumns=2', "family = \"crossbar\""),
    ('name = "a"\nfamily = "crossbar"\n[crossbar]\ng_min=0\ng_max=25\nrows=2\ncolumns=2', "25 uS is 25e-6"),
])
def test_one_fault_is_one_sentence(tmp_path, text, said):
    with pytest.raises(NeurosimError, match=re.escape(said)) as error:
        load_profile(write(tmp_path, text))
    assert len(str(error.value).splitlines()) <= 2


def test_numbers_bare_or_as_a_table_are_the_same(tmp_path):
    head = 'name = "a"\nfamily = "crossbar"\n[crossbar]\ng_min = 0\nrows = 128\ncolumns = 256\n'
    bare = load_profile(write(tmp_path, head + "g_max = 25e-6"))
    table = load_profile(write(tmp_path, head + 'g_max = {value = 25e-6, source = "here", note = "at 300 K"}'))
    assert bare.hash == table.hash
    assert table.crossbar.g_max == Quantity(value=25e-6, source="here", note="at 300 K")


def test_missing_files_and_names(tmp_path):
    with pytest.raises(NeurosimError, match="did you mean 'ideal'"):
        load_profile("ideel")
    with pytest.raises(NeurosimError, match="no such profile file"):
        load_profile(tmp_path / "none.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(NeurosimError, match="cannot be read"):
        load_profile(tmp_path / "folder.toml")
    assert check_profile(profile_path("pcm_hermes")) == []


def test_with_values_is_checked_like_a_file():
    profile = load_profile("pcm_hermes")
    changed = profile.with_values({"crossbar.levels": 16, "crossbar.g_max": {"value": 20e-6, "source": "here"}})
    assert changed.crossbar.levels.value == 16
    assert changed.crossbar.drift == profile.crossbar.drift
    assert changed.hash != profile.hash
    with pytest.raises(NeurosimError, match=r"crossbar\.level: this key is not known.*did you mean 'levels'"):
        profile.with_values({"crossbar.level": 16})


@given(st.floats(0, 2, allow_nan=False))
def test_with_mismatch_sets_weights_and_biases(zeta):
    profile = load_profile("dynap_se2").with_mismatch(zeta)
    assert profile.mismatch.weight.spread == profile.mismatch.bias.spread == zeta
    assert profile.mismatch.weight.distribution == "normal"
    assert profile.mismatch.tau_mem == load_profile("dynap_se2").mismatch.tau_mem


def test_hash_ignores_prose_only():
    profile = load_profile("mismatch")
    assert profile.with_values({"description": "other", "mismatch.weight.note": "seen"}).hash == profile.hash
    assert profile.with_values({"mismatch.weight.cv": 0.21}).hash != profile.hash


def test_curves_need_rising_pieces():
    with pytest.raises(ValueError, match="rising up_to"):
        Curve(g_ref=1.0, pieces=({"up_to": 0.5, "polynomial": [1.0]}, {"up_to": 0.4, "polynomial": [1.0]}))
    with pytest.raises(ValueError, match="low <= high"):
        Curve(g_ref=1.0, pieces=({"polynomial": [1.0], "clip": [2.0, 1.0]},))


def test_layer_names_of_the_schema_are_those_of_the_network():
    assert set(LayerName.__args__) == set(LAYERS)


def test_a_base_is_changed_key_by_key(tmp_path):
    """As `with_values` does it; another file in between; what says its source is exchanged whole."""
    pcm = load_profile("pcm_hermes")
    write(tmp_path, 'name = "mine"\nbase = "pcm_hermes"\nsources = ["mine"]\n[crossbar]\nrows = 64\n'
                    '[energy.conversion]\nmodel = "fixed"\nenergy = 1e-12\n')
    (tmp_path / "next.toml").write_text('name = "next"\nbase = "mine.toml"\n[crossbar]\ncolumns = 8\n'
                                        'g_max = {value = 5e-6, source = "measured"}\n')
    found = load_profile(tmp_path / "next.toml")
    assert (found.name, found.family, found.description) == ("next", "crossbar", "")
    assert found.sources == ("mine", *pcm.sources)
    assert found.hash == pcm.with_values({"crossbar.rows": 64, "crossbar.columns": 8, "crossbar.g_max": 5e-6}).hash
    assert found.crossbar.g_max.source == "measured"
    assert (found.energy.conversion.energy.nominal, found.energy.conversion.fom) == (1e-12, None)
    assert found.energy.cell == pcm.energy.cell


def test_faults_of_a_base(tmp_path):
    for text, fault in (('base = "pcm_hermse"', "did you mean 'pcm_hermes'"), ("base = 3", "base is 3"),
                        ('base = "none.toml"', "no such profile file"), ('base = "mine.toml"', "in a circle"),
                        ('base = "pcm_hermes"\nsources = 3', "sources: found 3"),
                        ('base = "pcm_hermes"\n[crossbar]\nrow = 3', r"crossbar.row: this key is not known")):
        with pytest.raises(NeurosimError, match=fault):
            load_profile(write(tmp_path, f'name = "mine"\n{text}\n'))


@pytest.mark.parametrize(("name", "bits"), [("pcm_hermes_8bit", (8, 8)), ("reram_neurram_4b6b", (4, 6))])
def test_chips_with_their_converters_are_else_the_chips(name, bits):
    chip, base = load_profile(name), load_profile(name.rsplit("_", 1)[0])
    assert (chip.dac.bits.value, chip.adc.bits.value) == bits
    assert (base.dac, base.adc) == (None, None)
    for section in ("crossbar", "energy", "timing", "area", "wires", "mismatch"):
        assert getattr(chip, section) == getattr(base, section)
