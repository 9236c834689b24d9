"""Networks of circuits on chips of circuits: round trips, limits, yield masks, refusals that say what and how much."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import neurosim as ns
from neurosim.mapping import Configuration, chip_fields
from neurosim.mapping.biases import OFF, settings_of
from neurosim.profile import profile_path, write_word_mask

SE2, SE1 = ns.load_profile("dynap_se2"), ns.load_profile("dynap_se1")
SCALE = {"dynap_se1": 100e-12, "dynap_se2": 40e-9}


def signed(profile: ns.Profile, outputs: int, inputs: int, density: float = 1.0, way: str = "weight", seed: int = 0
           ) -> dict[str, np.ndarray]:
    """A normal matrix as excitation and inhibition."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(0, SCALE[profile.name], (outputs, inputs)) * (rng.random((outputs, inputs)) < density)
    return {f"{way}_ampa": np.maximum(matrix, 0), f"{way}_gaba": np.maximum(-matrix, 0)}


def chain(profile: ns.Profile, hidden: int = 20, inputs: int = 12, classes: int = 5, **fields: object) -> ns.Network:
    """Two populations, the first recurrent; weights of four kinds in the second."""
    own = {**chip_fields(profile), **fields}
    second = signed(profile, classes, hidden, 0.5, seed=2)
    extra = signed(profile, classes, hidden, 0.3, seed=3)
    return ns.Network.sequential({
        "hidden": ns.DPINeuron(**own, **signed(profile, hidden, inputs, 0.8),
                               **signed(profile, hidden, hidden, 0.3, "recurrent", 1)),
        "out": ns.DPINeuron(**own, **second, weight_nmda=extra["weight_ampa"], weight_shunt=extra["weight_gaba"])},
        (inputs,), dt=1e-3, readout="max")


def chip_with(tmp_path, good: np.ndarray, **values: object) -> ns.Profile:
    write_word_mask(tmp_path / "words.h5", good, "a test")
    path = tmp_path / "mine.toml"
    path.write_text(profile_path("dynap_se2").read_text() + '\n[circuit.words]\nfile = "words.h5"\n')
    return ns.load_profile(path).with_values(values) if values else ns.load_profile(path)


@pytest.mark.parametrize("profile", [SE1, SE2], ids=lambda profile: profile.name)
def test_network_to_configuration_and_back(tmp_path, profile):
    network = chain(profile, i_dc=3e-12, i_weight_ahp=2e-9)
    mapped = ns.map_network(network, profile)
    back = mapped.configuration.to_network(profile)
    assert [(node.name, node.inputs) for node in back.nodes] == [(node.name, node.inputs) for node in network.nodes]
    assert (back.dt, back.readout, back.input_shape) == (network.dt, network.readout, network.input_shape)
    for array in mapped.arrays:
        np.testing.assert_allclose(getattr(back[array.layer], array.parameter), array.nominal, rtol=1e-6)
        assert array.error < 0.2
        assert array.devices == array.entries.size
    for setting in settings_of(profile.circuit):
        wanted, made = (getattr(net["hidden"], setting.field) for net in (network, back))
        assert made == pytest.approx(wanted, rel=0.03), setting.bias
    mapped.configuration.save(tmp_path / "chip.json")
    assert Configuration.load(tmp_path / "chip.json") == mapped.configuration
    again = ns.map_network(back, profile)
    assert again.configuration == mapped.configuration, "what is on the chip stays as it is"
    assert max(array.error for array in again.arrays) < 1e-6


def test_the_report_says_how_far_each_core_is_from_what_any_currents_could_do():
    mapped = ns.map_network(chain(SE2), SE2)
    assert set(mapped.core_errors) == set(np.unique(mapped.configuration.words.core).tolist())
    for core, (off, least) in mapped.core_errors.items():
        assert 0 < least < off < 2 * least, "the bound says something"
        assert f"core {core}: weights off by {off:.2%} (rms); no base currents get below {least:.2%}" in str(mapped)
    assert ns.map_network(chain(SE1), SE1).core_errors == {}, "a weight is a word written several times"


def test_a_configuration_obeys_the_chip():
    mapped = ns.map_network(chain(SE2), SE2)
    conf, size = mapped.configuration, SE2.circuit.size
    words = conf.words
    place = list(zip(words.core, words.neuron, words.word, strict=True))
    assert len(set(place)) == len(place)
    assert words.word.max() < size.words.value
    assert words.tag.max() < size.tags.value
    assert words.mask.min() >= 1
    assert words.mask.max() <= 15
    used = sorted({core for where in conf.places.values() for core in where[:, 0]})
    assert (conf.bases[used] >= 0).all()
    assert (np.delete(conf.codes, used, axis=0) == OFF).all()
    # every tag that a core is sent belongs to one source, and somebody listens there
    for core in range(4):
        sent = [tags[(bits >> core & 1).astype(bool)] for tags, bits in (
            (conf.input_tags, conf.input_cores), *((conf.tags[name], conf.targets[name]) for name in conf.places))]
        sent = np.concatenate(sent)
        assert np.unique(sent).size == sent.size
        assert set(words.tag[words.core == core]) == set(sent)


def test_populations_with_other_biases_get_other_cores_and_mixed_neurons_too():
    fields = chip_fields(SE2)
    leaks = np.where(np.arange(30) % 2, 1.0, 2.0) * fields["i_tau_mem"]
    layer = ns.DPINeuron(**{**fields, "i_tau_mem": leaks}, weight_ampa=np.full((30, 2), 1e-8))
    net = ns.Network.sequential({"n": layer}, (2,), dt=1e-3)
    conf = ns.map_network(net, SE2).configuration
    cores = conf.places["n"][:, 0]
    assert len(set(cores[::2])) == len(set(cores[1::2])) == 1
    assert cores[0] != cores[1]
    back = conf.to_network(SE2)["n"].i_tau_mem
    np.testing.assert_allclose(back, leaks, rtol=0.1)


def test_equal_biases_share_a_core_where_cores_are_few():
    one_core = SE2.with_values({"circuit.size.cores": 1})
    conf = ns.map_network(chain(one_core), one_core).configuration
    assert {core for where in conf.places.values() for core in where[:, 0]} == {0}
    assert len({tuple(where) for name in conf.places for where in conf.places[name]}) == 25
    network = chain(one_core)
    other = ns.DPINeuron(**{**network["out"].arrays(), **network["out"].settings(), "i_tau_mem": 1e-10})
    network = ns.Network.sequential({"hidden": network["hidden"], "out": other}, (12,), dt=1e-3)
    with pytest.raises(ns.NeurosimError, match="2 different sets of biases for 25 neurons"):
        ns.map_network(network, one_core)


def test_words_that_do_not_work_are_never_used(tmp_path):
    good = np.random.default_rng(0).random((4, 256, 64)) < 0.4
    profile = chip_with(tmp_path, good)
    words = ns.map_network(chain(profile), profile).configuration.words
    assert good[words.core, words.neuron, words.word].all()


def test_words_that_work_for_half_of_the_tags(tmp_path):
    """Dies of a lab: hardly a word good for all tags, most good for one half."""
    rng = np.random.default_rng(1)
    half = rng.integers(0, 2, (4, 256, 64))
    good = np.stack([half == 0, half == 1], axis=3) & (rng.random((4, 256, 64, 1)) < 0.9)
    good[:, 40:] = False
    profile = chip_with(tmp_path, good)
    words = ns.map_network(chain(profile, hidden=30, inputs=40), profile).configuration.words
    assert good[words.core, words.neuron, words.word, words.tag // 1024].all()
    assert set(words.tag // 1024) == {0, 1}, "neither half alone has enough words"


def test_cores_without_a_good_word_are_left_out(tmp_path):
    good = np.ones((4, 256, 64), bool)
    good[[0, 2]] = False
    profile = chip_with(tmp_path, good)
    conf = ns.map_network(chain(profile), profile).configuration
    assert {core for where in conf.places.values() for core in where[:, 0]} == {1, 3}


def test_too_many_synapses_are_refused_with_a_table():
    fields = chip_fields(SE2)
    weight = np.zeros((40, 100))
    weight[:, :50] = 1e-8
    weight[7, :70] = weight[9, :66] = 1e-8
    net = ns.Network.sequential({"a": ns.DPINeuron(**fields, weight_ampa=weight)}, (100,), dt=1e-3)
    with pytest.raises(ns.NeurosimError) as error:
        ns.map_network(net, SE2)
    text = str(error.value)
    assert re.search(r"neuron +needed +available", text)
    assert re.search(r"a\[7\] +70 +64", text)
    assert re.search(r"a\[9\] +66 +64", text)
    assert "2 of 40 neurons have too many synapses" in text
    assert "prune the weights" in text


def test_a_mask_with_too_few_words_is_refused_with_a_table(tmp_path):
    good = np.zeros((4, 256, 64), bool)
    good[..., :6] = True
    profile = chip_with(tmp_path, good)
    with pytest.raises(ns.NeurosimError, match=r"available.*\n.* 6\n(.|\n)*20 of 25 neurons|25 of 25"):
        ns.map_network(chain(profile), profile)


def test_too_few_tags_are_refused():
    profile = SE2.with_values({"circuit.size.tags": 16})
    with pytest.raises(ns.NeurosimError, match="no tag each of 16"):
        ns.map_network(chain(profile), profile)


def test_repeated_words_take_no_more_than_there_are():
    network = ns.Network.sequential({"a": ns.DPINeuron(**chip_fields(SE1), **signed(SE1, 30, 40))}, (40,), dt=1e-3)
    words = ns.map_network(network, SE1).configuration.words
    taken = np.bincount(words.neuron)
    assert 55 < taken.max() <= 64
    with pytest.raises(ns.NeurosimError, match="too many synapses"):
        ns.map_network(ns.Network.sequential({"a": ns.DPINeuron(
            **chip_fields(SE1), weight_ampa=np.full((3, 65), 1e-10))}, (65,), dt=1e-3), SE1)


@pytest.mark.parametrize(("layers", "said"), [
    ([ns.Linear(np.eye(3)), ns.LIF(0.9)], "a LIF is no circuit of this chip"),
    ([ns.DPINeuron(weight_ampa=np.eye(3) * 1e-9, c_mem=7.7e-12)], "c_mem is 7.7e-12, the chip's is 3e-12"),
    ([ns.DPINeuron(weight_ampa=np.eye(3) * 1e-9, synapse_model="linear")], "exact equation"),
    ([ns.DPINeuron()], "takes currents, the chip takes spikes"),
    ([ns.DPINeuron(weight_ampa=np.full((1100, 3), 1e-9))], "1100 neurons, the chip has 4 cores of 256"),
])
def test_what_is_no_circuit_of_the_chip_is_refused(layers, said):
    network = ns.Network.sequential(layers, (3,), dt=1e-3)
    with pytest.raises(ns.NeurosimError, match=re.escape(said)):
        ns.map_network(network, SE2, level="circuit")


def test_levels():
    network = chain(SE2)
    with pytest.raises(ns.NeurosimError, match='level="circuit"'):
        ns.map_network(network, SE2, level="neuron")
    with pytest.raises(ns.NeurosimError, match="allowed: neuron, circuit"):
        ns.map_network(network, SE2, level="spice")
    with pytest.raises(ns.NeurosimError, match="take dynap_se1 or dynap_se2"):
        ns.map_network(network, ns.load_profile("pcm_hermes"))
    assert "base currents" in str(ns.map_network(network, SE2))


def test_a_configuration_of_another_profile_or_with_a_lost_tag_is_refused(tmp_path):
    conf = ns.map_network(chain(SE2), SE2).configuration
    with pytest.raises(ns.NeurosimError, match="for another profile"):
        conf.to_network(SE2.with_values({"circuit.temperature.operating": 310.0}))
    path = tmp_path / "c.json"
    conf.save(path)
    data = json.loads(path.read_text())
    data["words"]["tag"][0] = 2047
    path.write_text(json.dumps(data))
    with pytest.raises(ns.NeurosimError, match="listens to tag 2047"):
        Configuration.load(path).to_network(SE2)


@pytest.mark.parametrize(("text", "said"), [
    ("[1, 2]", "not a configuration"), ("{", "not a configuration"), ('{"format": "x"}', "not a configuration"),
    ('{"format": "neurosim-configuration", "format_version": 9}', "another version"),
    ('{"format": "neurosim-configuration", "format_version": 1, "codes": 3}', "its keys are not"),
])
def test_files_that_are_no_configuration_are_refused(tmp_path, text, said):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(ns.NeurosimError, match=said):
        Configuration.load(path)
    with pytest.raises(ns.NeurosimError, match="no such file"):
        Configuration.load(tmp_path / "none.json")
