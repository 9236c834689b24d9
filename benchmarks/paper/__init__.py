"""The experiments of Buechel, Faber and Muir (ICLR 2022), and what goes beyond them.

    python -m benchmarks.paper.sweep EXPERIMENT      settings of every method, chosen on validation data
    python -m benchmarks.paper.table1 EXPERIMENT     accuracy on many dies, method by method and seed by seed
    python -m benchmarks.paper.curves EXPERIMENT     worst-case attacks and loss landscapes of what table1 trained
    python -m benchmarks.paper.page                  docs/paper.md from all results that are there

Each writes one small file per result under `benchmarks/paper/results`, and goes on where it was interrupted: what is
there already is not computed again (a sweep of another budget or seed begins anew). Models and checkpoints lie in
`--work`, which is not committed.
"""
