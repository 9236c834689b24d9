"""How the kernels are compiled: serial, without the GIL, cached on disk.

Numba counts references to arrays with atomic operations, also within a kernel's loops, where they cost more than the
neurons. A kernel here allocates nothing and so needs none of it: `_nrt=False`, as in numba's own sorts. No
`fastmath`: the order of the floating-point operations is part of the result.
"""

from __future__ import annotations

from numba import njit

kernel = njit(nogil=True, cache=True, _nrt=False)
#: a part of a kernel, put into it before it is compiled
part = njit(inline="always")
