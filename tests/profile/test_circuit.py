"""Circuit-level chips: the shipped tables are what is reported, a mask of synapse words becomes part of the profile."""

from __future__ import annotations

import numpy as np
import pytest

from neurosim.devices import table_currents
from neurosim.errors import NeurosimError
from neurosim.profile import load_profile, profile_path, profile_rows, write_word_mask

CHIPS = ("dynap_se1", "dynap_se2")


@pytest.mark.parametrize(("bias", "coarse", "fine", "amperes"), [
    ("leak", 2, 4, 48e-12), ("gain", 3, 40, 6.3e-9), ("refractory", 2, 45, 0.89e-9),
    ("spike_threshold", 3, 40, 2.15e-9), ("ampa_tau", 2, 30, 108e-12), ("pulse", 3, 200, 25.9e-9),
])
def test_codes_of_a_published_network_give_the_currents_reported_for_them(bias, coarse, fine, amperes):
    """Core biases of Maryada et al., converted with the lab's table; the profile's table is its reported outline."""
    circuit = load_profile("dynap_se2").circuit
    found = getattr(circuit.bias, bias)
    assert table_currents(circuit, found)[coarse, fine] == pytest.approx(amperes, rel=0.06)


def test_dynap_se1_is_base_times_fine_over_255():
    circuit = load_profile("dynap_se1").circuit
    table = table_currents(circuit, circuit.bias.gain)
    assert table.shape == (8, 256)
    assert table[3, 51] == pytest.approx(6.5e-9 / 5)


def word_chip(tmp_path, good, file="words.h5", name="dynap_se2"):
    write_word_mask(tmp_path / "words.h5", good, "measured here")
    path = tmp_path / "mine.toml"
    path.write_text(profile_path(name).read_text() + f'\n[circuit.words]\nfile = "{file}"\n')
    return path


def test_a_word_mask_beside_the_profile_becomes_part_of_it(tmp_path):
    good = np.random.default_rng(0).random((4, 256, 64)) < 0.7
    profile = load_profile(word_chip(tmp_path, good))
    np.testing.assert_array_equal(profile.circuit.words.good, good)
    assert profile.hash != load_profile("dynap_se2").hash
    (tmp_path / "words.h5").unlink()  # not needed again
    changed = profile.with_values({"circuit.temperature.operating": 320.0})
    np.testing.assert_array_equal(changed.circuit.words.good, good)
    (row,) = (row for row in profile_rows(profile) if row.key == "circuit.words")
    assert row.source == "measured here"
    assert "70%" in row.value


def test_other_words_are_another_chip(tmp_path):
    halves = np.ones((4, 256, 64, 2), bool)
    one = load_profile(word_chip(tmp_path, halves))
    halves[2, 3, 4, 0] = False
    other = load_profile(word_chip(tmp_path, halves))
    assert one.hash != other.hash


def test_a_mask_that_is_named_anew_takes_the_place_of_that_before(tmp_path):
    """In a file upon another, and by its key: what was read of the first mask does not stand for the second."""
    rng = np.random.default_rng(0)
    old, new = (rng.random((4, 256, 64)) < 0.7 for _ in range(2))
    base = word_chip(tmp_path, old)
    write_word_mask(tmp_path / "new.h5", new, "")
    above = tmp_path / "above.toml"
    above.write_text('base = "./mine.toml"\nname = "above"\n[circuit.words]\nfile = "new.h5"\n')
    changed = load_profile(base).with_values({"circuit.words.file": str(tmp_path / "new.h5")})
    for found in (load_profile(above), changed):
        np.testing.assert_array_equal(found.circuit.words.good, new)
        assert found.circuit.words.source == ""
    above.write_text('base = "./mine.toml"\nname = "above"\n[circuit.temperature]\noperating = 320.0\n')
    np.testing.assert_array_equal(load_profile(above).circuit.words.good, old)


@pytest.mark.parametrize(("good", "file", "said"), [
    (np.ones((4, 256, 64), bool), "other.h5", "an HDF5 file with a data set good_words"),
    (np.ones((2, 256, 64), bool), "words.h5", r"good_words of \[4, 256, 64\]"),
    (np.ones((4, 256), bool), "words.h5", r"good_words as bool"),
])
def test_a_word_mask_that_cannot_be_is_refused(tmp_path, good, file, said):
    with pytest.raises(NeurosimError, match=said):
        load_profile(word_chip(tmp_path, good, file))


@pytest.mark.parametrize(("change", "said"), [
    ({"circuit.table.n.floor": {"values": [1.0]}}, "as many numbers"),
    ({"circuit.table.n.fall": {"values": [0.6] * 6}}, "a fall from 0"),
    ({"circuit.mismatch.leak": {"device": -0.1}}, "circuit.mismatch.leak.device"),
    ({"circuit.feedback": "sigmoid"}, "bias.feedback_gain"),
    ({"circuit.size.words": 0}, "circuit.size.words"),
    ({"circuit.mismatch.distribution": "normal"}, "truncated_normal"),
    ({"circuit.mismatch.distribution": "truncated_normal", "circuit.mismatch.leak": {"device": 0.5}},
     r"relative spreads up to 0\.326 .* mismatch\.leak is 0\.5"),
    ({"circuit.mismatch.distribution": "truncated_normal", "circuit.mismatch.area": 0.25}, r"mismatch\.pulse is 0\.4"),
    ({"circuit.mismatch.distribution": "truncated_normal", "circuit.mismatch.leak": {"die": 0.3},
      "circuit.temperature.operating": 260.0}, r"mismatch\.leak is 0\.346"),
    ({"family": "abstract"}, 'family = "mixed_signal"'),
])
def test_faults_are_told(change, said):
    with pytest.raises(NeurosimError, match=said):
        load_profile("dynap_se2").with_values(change)
