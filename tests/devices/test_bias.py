"""Bias generators: the reported facts of the tables, and a search that finds the nearest code of all."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neurosim.devices import bias_currents, nearest_codes

FULL = np.array([71.8e-12, 573e-12, 4.57e-9, 36.4e-9, 290e-9, 2.28e-6])
FLOOR = np.linspace(0.49e-12, 1.08e-12, 6)


def test_a_segmented_table_falls_seven_times_and_by_no_more_than_stated():
    table = bias_currents(FULL, FLOOR, np.full(6, 0.055))
    np.testing.assert_allclose(table[:, 0], FLOOR)
    np.testing.assert_allclose(table[:, 255], FULL)
    ratio = table[:, 1:] / table[:, :-1] - 1
    for row in ratio:
        assert (np.flatnonzero(row < 0) + 1).tolist() == [32, 64, 96, 128, 160, 192, 224]
    np.testing.assert_allclose(ratio.min(axis=1), -0.055)


def test_a_line_is_base_times_fine_over_255():
    table = bias_currents(np.array([15e-12, 24e-6]), np.zeros(2))
    np.testing.assert_allclose(table, np.array([[15e-12], [24e-6]]) * np.arange(256) / 255)


@given(st.lists(st.floats(-13, -5), min_size=1, max_size=5), st.sampled_from([None, 0.0, 0.055, 0.3]))
def test_nearest_codes_are_those_of_a_search_over_all(logs, fall):
    table = bias_currents(FULL, FLOOR * (fall is not None), None if fall is None else np.full(6, fall))
    wanted = 10.0 ** np.array(logs)
    coarse, fine = nearest_codes(table, wanted)
    assert coarse.shape == fine.shape == wanted.shape
    positive = np.where(table > 0, table, np.nan)
    best = np.nanmin(np.abs(np.log(positive.reshape(-1)[:, None] / wanted)), axis=0)
    np.testing.assert_allclose(np.abs(np.log(table[coarse, fine] / wanted)), best, atol=1e-12)
