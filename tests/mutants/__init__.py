"""Small faults put into the rooms that keep a lab safe: the tests have to notice them.

python -m tests.mutants                 300 of them, drawn by a seed, and the branch coverage
python -m tests.mutants --count 20 --only labnode/board/interlocks.py
"""
