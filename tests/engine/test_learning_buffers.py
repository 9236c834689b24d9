"""Buffers that are used again: never while anyone holds them, and not for ever."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurosim.engine import learning_buffers
from neurosim.engine.learning_buffers import take

SHAPE = (300, 1000)  # above a megabyte


@pytest.fixture(autouse=True)
def _alone():
    learning_buffers._kept.clear()
    yield
    learning_buffers._kept.clear()


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_a_free_buffer_is_used_again_and_a_held_one_is_not() -> None:
    first = take(SHAPE, np.float32)
    where = address(first)
    assert first.shape == SHAPE
    assert first.flags.c_contiguous
    assert first.flags.writeable
    second = take(SHAPE, np.float32)
    assert address(second) != where
    del first
    assert address(take((1000, 300), np.float32)) == where


def test_a_view_or_a_tensor_holds_its_buffer() -> None:
    view = take(SHAPE, np.float64)[5:7, ::2]
    tensor = torch.from_numpy(take(SHAPE, np.float64)).unbind(0)[3]
    view[:], tensor[:] = 1.0, 2.0
    others = [take(SHAPE, np.float64) for _ in range(3)]
    for other in others:
        other[:] = 3.0
    assert (view == 1).all()
    assert (tensor == 2).all()


def test_small_arrays_are_not_kept() -> None:
    take((10,), np.float32)
    assert learning_buffers._kept == []


def test_several_passes_at_once_find_their_buffers_again() -> None:
    def several() -> set[int]:
        return {address(array) for array in [take((count, 1000), np.float32) for count in range(100, 1000, 100)] * 3}

    first = several()
    assert len(first) == 9
    assert all(several() == first for _ in range(5))


def test_new_sizes_push_out_what_lay_free_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_buffers, "_IDLE", 6_000_000)
    for count in (500, 800, 300):
        take((count, 1000), np.float32)
    assert [entry[0].nbytes for entry in learning_buffers._kept] == [3_200_000, 1_200_000]


def test_what_lies_free_is_let_go() -> None:
    take(SHAPE, np.float32)
    for _ in range(learning_buffers._PATIENCE + 2):
        take((500, 1000), np.float32)
    assert [entry[0].nbytes for entry in learning_buffers._kept] == [2_000_000]
