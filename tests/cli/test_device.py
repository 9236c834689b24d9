"""`neurosim device`: numbers, plots, and what is refused."""

from __future__ import annotations

import json

import pytest


def test_a_sweep_and_its_plot(call, tmp_path):
    code, out, _ = call("device", "vteam", "--plot", tmp_path / "a.svg", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["model"] == "VTEAM"
    assert found["state"] == {"least": 0.0, "most": 3e-9, "last": pytest.approx(0.0, abs=1e-12)}
    assert found["loop_area"] > 0
    assert call("device", "vteam", "--plot", tmp_path / "b.svg")[0] == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.svg").stat().st_size > 10_000


def test_pulses(call, tmp_path):
    code, out, _ = call("device", "stanford_pku", "--pulses", 5, "--level", -1.35, "--width", 1e-6, "--start", 0,
                        "--plot", tmp_path / "p.png", "--json")
    assert code == 0
    states = json.loads(out)["states"]
    assert len(states) == 5
    assert states == sorted(states)
    assert states[-1] > 0.2e-9
    assert (tmp_path / "p.png").read_bytes()[1:4] == b"PNG"
    code, out, _ = call("device", "vteam", "--pulses", 2, "--set", "crossbar.vteam.v_off=10")
    assert code == 0
    assert "2 pulses" in out


@pytest.mark.parametrize(("arguments", "said"), [
    (["pcm_joshi"], "does not say how its devices move"), (["mismatch"], "does not say how"),
    (["vteam", "--period", "-1"], "--period is -1"), (["vteam", "--plot", "x.gif"], "names no kind of picture"),
    (["stanford_pku", "--amplitude", "80"], "too fast to follow"),
    (["stanford_pku", "--pulses", "3", "--level", "1e5", "--json"], "no finite answer at 100000 V"),
])
def test_what_is_refused(call, arguments, said):
    code, out, err = call("device", *arguments)
    assert (code, out) == (2, "")
    assert said in err
