"""Mel-frequency cepstral coefficients of speech, as TensorFlow's audio functions define them by default.

With windows of N = 480 samples (30 ms at 16 kHz), steps of 160 (10 ms), K = 512 (the next power of two), 40 bands:

1. ``w_n = 1/2 - 1/2 cos(2 pi n / N)``, the periodic Hann window; windows lie whole within the signal;
2. ``S_k = |DFT_K(w x)_k|``, k = 0 .. K/2: the magnitude, not the power;
3. ``M_m = sum_k T_mk S_k`` with triangles T of height 1 over the mel scale ``mel(f) = 1127 ln(1 + f / 700 Hz)``, whose
   corners lie evenly in mel from 125 Hz to 3800 Hz; the constant part k = 0 is left out;
4. ``C_j = sqrt(2/40) sum_m ln(M_m + 1e-12) cos(pi j (m + 1/2) / 40)``, j = 0 .. 39: all of them, the zeroth one with
   the same factor as the others.

Source: the choices of Buechel, Faber, Muir, ICLR 2022 (speech task), with the mel scale and the scaled DCT of the
Hidden Markov Model Toolkit (Young et al., The HTK Book), as documented for tensorflow.signal.
"""

from __future__ import annotations

import numpy as np

RATE = 16_000  # samples per second
WINDOW, STEP, SIZE, BANDS = 480, 160, 512, 40
LOWEST, HIGHEST = 125.0, 3800.0  # Hz
FLOOR = 1e-12


def mel(frequency: np.ndarray) -> np.ndarray:
    """The mel scale of frequencies in Hz.

    >>> round(float(mel(1000.0)), 2)
    999.99
    """
    return 1127.0 * np.log1p(np.asarray(frequency) / 700.0)


def triangles() -> np.ndarray:
    """Weights of the spectral lines in each band, `[257, 40]`."""
    lines = mel(np.arange(SIZE // 2 + 1) * (RATE / SIZE))[:, None]
    corners = np.linspace(mel(LOWEST), mel(HIGHEST), BANDS + 2)
    low, centre, high = corners[:-2], corners[1:-1], corners[2:]
    weights = np.maximum(0, np.minimum((lines - low) / (centre - low), (high - lines) / (high - centre)))
    weights[0] = 0
    return weights


def mfcc(signal: np.ndarray) -> np.ndarray:
    """Coefficients `[1 + (samples - 480) // 160, 40]` of a signal in -1 .. 1 at 16 kHz, float64.

    >>> mfcc(np.zeros(16000)).shape
    (98, 40)
    """
    from scipy.fft import dct
    from scipy.signal.windows import hann

    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(signal, np.float64), WINDOW)[::STEP]
    spectrum = np.abs(np.fft.rfft(frames * hann(WINDOW, sym=False), SIZE))
    bands = np.log(spectrum @ triangles() + FLOOR)
    return dct(bands, type=2) / np.sqrt(2 * BANDS)
